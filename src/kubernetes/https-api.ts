import type { KubernetesApi, ListPage, Selection, WatchEvent, WatchSelection } from './api.ts';
import type { Credentials } from './credentials.ts';
import { type Call, HttpClient } from './http-client.ts';
import { LineReader } from './line-reader.ts';
import { ListScanner } from './list-scanner.ts';
import { badAnswer, isObject, refusalOf } from './status.ts';

export interface HttpsApiOptions {
  /** For a whole answer; a watch must begin in it. */
  readonly timeoutMs: number;
  /** Objects of one page. */
  readonly pageSize: number;
  /** For how long a watch is asked for, at least; twice as long at most, so that the agents of a cluster do not return together. */
  readonly watchMs: number;
  /** What a server may be late in ending a watch. */
  readonly graceMs: number;
  /** What may pass after a bookmark without the next: servers send one a minute. */
  readonly bookmarkMs: number;
  /** Bytes of an answer. */
  readonly answerLimit: number;
  /** Bytes of one event; an object may have 1.5 MiB in etcd, whose encoding is denser than JSON. */
  readonly lineLimit: number;
  /** In [0, 1). */
  readonly random: () => number;
}

/** Timeout and watch length are client-go's. */
const DEFAULTS: HttpsApiOptions = {
  timeoutMs: 30_000,
  pageSize: 250,
  watchMs: 300_000,
  graceMs: 30_000,
  bookmarkMs: 180_000,
  answerLimit: 64 << 20,
  lineLimit: 8 << 20,
  random: Math.random,
};

const EVENT_TYPES = ['ADDED', 'MODIFIED', 'DELETED', 'BOOKMARK'];
const PATCH_TYPES = {
  merge: 'application/merge-patch+json',
  'strategic-merge': 'application/strategic-merge-patch+json',
} as const;

export class HttpsApi implements KubernetesApi {
  readonly #options: HttpsApiOptions;
  readonly #client: HttpClient;

  constructor(credentials: Credentials, options: Partial<HttpsApiOptions> = {}) {
    this.#options = { ...DEFAULTS, ...options };
    this.#client = new HttpClient(credentials, this.#options);
  }

  async get<T>(path: string, signal?: AbortSignal): Promise<T> {
    return (await this.#client.json({ method: 'GET', path }, signal)) as T;
  }

  async create<T>(path: string, body: object, signal?: AbortSignal): Promise<T> {
    return (await this.#client.json({ method: 'POST', path, body }, signal)) as T;
  }

  async replace<T>(path: string, body: object, signal?: AbortSignal): Promise<T> {
    return (await this.#client.json({ method: 'PUT', path, body }, signal)) as T;
  }

  async patch<T>(
    path: string,
    body: object,
    type: keyof typeof PATCH_TYPES,
    signal?: AbortSignal,
  ): Promise<T> {
    const contentType = PATCH_TYPES[type];
    return (await this.#client.json({ method: 'PATCH', path, body, contentType }, signal)) as T;
  }

  /**
   * Two ways to list, because a server has two:
   *
   * - with a field selector from its watch cache (`resourceVersion=0`), whole, for there it knows no pages. From etcd, where a consistent
   *   list comes from before Kubernetes 1.31, it would read and decode every pod of the cluster to find those of one node, and do so
   *   for each of 5,000 agents that start together. The cache may be some moments old, that of another server older than what was
   *   seen before: the watch that follows tells again what is missing.
   * - without one in pages, consistent (no `resourceVersion`): these are the lists that do not fit into memory at once, and only
   *   one or two processes of a cluster ask for them.
   */
  async *list<T>(path: string, selection: Selection, signal?: AbortSignal): AsyncGenerator<ListPage<T>> {
    const { fieldSelector, labelSelector } = selection;
    const size =
      fieldSelector === undefined ? { limit: String(this.#options.pageSize) } : { resourceVersion: '0' };
    let next: string | undefined;
    do {
      const query = { fieldSelector, labelSelector, ...size, continue: next };
      const end = yield* this.#page<T>({ method: 'GET', path, query }, signal);
      if (end.next !== undefined && end.next === next) throw badAnswer(`${path}: a page that follows itself`);
      next = end.next;
    } while (next !== undefined);
  }

  /** Gives the items as they come, at least once, and returns the token of the page that follows. */
  async *#page<T>(
    call: Call,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<ListPage<T>, { readonly next: string | undefined }> {
    const scanner = new ListScanner(this.#options.lineLimit);
    // Servers tell the version before the items. Where one does not, the items wait for it.
    let waiting: T[] = [];
    let hasGiven = false;
    for await (const chunk of this.#client.bytes(call, signal)) {
      waiting = waiting.concat(readable(call.path, () => scanner.push(chunk)).filter(isObject) as T[]);
      const resourceVersion = textIn(scanner.head, 'resourceVersion');
      if (resourceVersion === undefined || waiting.length === 0) continue;
      hasGiven = true;
      yield { items: waiting, resourceVersion };
      waiting = [];
    }
    const list = readable(call.path, () => scanner.end());
    const resourceVersion = textIn(list, 'resourceVersion');
    const hasItems = isObject(list) && Array.isArray(list.items ?? []);
    if (resourceVersion === undefined || !hasItems) throw badAnswer(`${call.path}: no list`);
    if (waiting.length > 0 || !hasGiven) yield { items: waiting, resourceVersion };
    return { next: textIn(list, 'continue') };
  }

  async *watch<T>(
    path: string,
    { fieldSelector, labelSelector, resourceVersion, bookmarks, opened }: WatchSelection,
    signal: AbortSignal,
  ): AsyncGenerator<WatchEvent<T>> {
    const { watchMs, graceMs, bookmarkMs, lineLimit, random } = this.#options;
    const timeoutSeconds = Math.ceil((watchMs * (1 + random())) / 1000);
    const idleMs = timeoutSeconds * 1000 + graceMs;
    const query = {
      watch: '1',
      allowWatchBookmarks: String(bookmarks),
      fieldSelector,
      labelSelector,
      resourceVersion,
      timeoutSeconds: String(timeoutSeconds),
    };
    const stream = this.#client.stream({ method: 'GET', path, query }, signal, { idleMs, opened });
    const lines = new LineReader(lineLimit);
    for await (const { chunk, limitIdle } of stream)
      for (const line of linesOf(lines, chunk, path)) {
        const event = parsed<T>(line, path);
        // A server that sends bookmarks is never silent for long, so a connection on which nothing comes is dead.
        if (event.type === 'BOOKMARK') limitIdle(Math.min(bookmarkMs, idleMs));
        yield event;
      }
  }

  close(): void {
    this.#client.close();
  }
}

/** @throws ApiError for what cannot be read */
function readable<R>(path: string, read: () => R): R {
  try {
    return read();
  } catch (error) {
    throw badAnswer(`${path}: no list: ${(error as Error).message}`, 200, error);
  }
}

/** A text of the list's metadata that is not empty. */
function textIn(list: unknown, name: string): string | undefined {
  const metadata = isObject(list) ? list.metadata : undefined;
  const value = isObject(metadata) ? metadata[name] : undefined;
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function linesOf(lines: LineReader, chunk: Buffer, path: string): Iterable<string> {
  try {
    return [...lines.push(chunk)];
  } catch (error) {
    throw badAnswer(`${path}: ${(error as Error).message}`, 200, error);
  }
}

function parsed<T>(line: string, path: string): WatchEvent<T> {
  let event: unknown;
  try {
    event = JSON.parse(line);
  } catch (error) {
    throw badAnswer(`${path}: no JSON in a watch: ${line.slice(0, 100)}`, 200, error);
  }
  if (!isObject(event)) throw badAnswer(`${path}: no event in a watch: ${line.slice(0, 100)}`);
  const { type, object } = event;
  if (type === 'ERROR') throw refusalOf(object);
  if (!EVENT_TYPES.includes(String(type)) || !isObject(object))
    throw badAnswer(`${path}: no event in a watch: ${line.slice(0, 100)}`);
  return { type, object } as WatchEvent<T>;
}
