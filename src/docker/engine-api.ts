/**
 * The part of the Docker Engine API (https://docs.docker.com/reference/api/engine/) that is read, over its unix socket.
 * Paths have no version: the daemon answers with its newest, and refuses versions that are too old (below 1.44 since 29.0).
 * What is asked for has been the same since 1.24, except that answers may hold anything: the caller checks each field.
 */
import type { IncomingMessage } from 'node:http';
import { readLines } from '../net/read-lines.ts';

/** See net/lazy-builtins.ts: an import would load undici, too. */
const http = process.getBuiltinModule('node:http');

const CONTAINER_EVENTS = ['create', 'start', 'die', 'oom', 'destroy', 'rename'] as const;
export type DockerAction = (typeof CONTAINER_EVENTS)[number];

export interface DockerEvent {
  readonly action: DockerAction;
  readonly id: string;
  /** Name, image, exit code and all labels of the container, in one heap. */
  readonly attributes: Readonly<Record<string, unknown>>;
  /** Unix time, ms. */
  readonly at: number;
  /** Of the whole event, to recognise it when it is told again. */
  readonly line: string;
}

/** As of `GET /containers/ID/json`. */
export interface DockerContainer {
  readonly Id?: unknown;
  readonly Name?: unknown;
  /** The image's digest. */
  readonly Image?: unknown;
  readonly Config?: { readonly Image?: unknown; readonly Labels?: unknown };
  readonly State?: {
    readonly Running?: unknown;
    readonly ExitCode?: unknown;
    readonly StartedAt?: unknown;
    readonly FinishedAt?: unknown;
  };
}

/** status 0: no answer. */
class DockerError extends Error {
  readonly status: number;

  constructor(message: string, status = 0) {
    super(message);
    this.name = 'DockerError';
    this.status = status;
  }
}

/** A daemon that starts hundreds of containers at the same time takes seconds for an answer. */
const SILENCE_MS = 30_000;
/** Bytes. A list has 2 KiB for each container, an inspection 8 KiB. */
const MOST_BODY = 32 << 20;
/** Bytes. An event has half a KiB and all labels of its container. */
const MOST_EVENT = 1 << 20;

export class DockerEngine {
  readonly #socketPath: string;
  /** One connection for all questions. */
  readonly #agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  /** The ids of all containers, those that have ended included. */
  async containers(signal: AbortSignal): Promise<readonly unknown[]> {
    const list = await this.#json('/containers/json?all=1', signal);
    if (!Array.isArray(list)) throw new DockerError('the list of containers is no list');
    return list.map((entry) => (entry as { Id?: unknown } | null)?.Id);
  }

  /** @returns undefined where there is no such container any more */
  async container(id: string, signal: AbortSignal): Promise<DockerContainer | undefined> {
    try {
      const answer = await this.#json(`/containers/${encodeURIComponent(id)}/json`, signal);
      return typeof answer === 'object' && answer !== null ? answer : undefined;
    } catch (error) {
      if (error instanceof DockerError && error.status === 404) return undefined;
      throw error;
    }
  }

  /**
   * Resolves when the daemon listens to us: what happens from then on is told.
   *
   * @param since Unix time in seconds: the daemon tells again what it remembers (its last 256 events)
   * @param skipped called for what cannot be read
   * @returns ends when the daemon ends it; throws DockerError when the connection breaks
   */
  async events(
    since: number | undefined,
    skipped: (reason: string) => void,
    signal: AbortSignal,
  ): Promise<AsyncIterable<DockerEvent>> {
    const query = new URLSearchParams({
      filters: JSON.stringify({ type: ['container'], event: CONTAINER_EVENTS }),
      ...(since !== undefined && { since: since.toFixed(9) }),
    });
    const response = await this.#get(`/events?${query}`, signal, undefined);
    return parsedEvents(response, skipped);
  }

  close(): void {
    this.#agent.destroy();
  }

  async #json(path: string, signal: AbortSignal): Promise<unknown> {
    const response = await this.#get(path, signal, this.#agent);
    const text = await body(response, MOST_BODY);
    try {
      return JSON.parse(text);
    } catch {
      throw new DockerError('the answer is no JSON');
    }
  }

  async #get(
    path: string,
    signal: AbortSignal,
    agent: typeof http.Agent.prototype | undefined,
  ): Promise<IncomingMessage> {
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const request = http.get(
      { socketPath: this.#socketPath, path, signal, agent: agent ?? false, headers: { host: 'docker' } },
      resolve,
    );
    request.on('error', (error: NodeJS.ErrnoException) =>
      reject(new DockerError(error.code ?? error.message)),
    );
    request.setTimeout(SILENCE_MS, () => request.destroy(new Error('no answer within 30 s')));
    const response = await promise;
    // A stream of events may be silent for days.
    if (agent === undefined) request.setTimeout(0);
    const { statusCode = 0 } = response;
    if (statusCode === 200) return response;
    const said = await body(response, 4096).catch(() => '');
    throw new DockerError(`HTTP ${statusCode} ${said.trim()}`.trimEnd(), statusCode);
  }
}

async function* parsedEvents(
  response: IncomingMessage,
  skipped: (reason: string) => void,
): AsyncIterable<DockerEvent> {
  try {
    for await (const line of readLines(response, MOST_EVENT, () => skipped('longer than 1 MiB'))) {
      if (line === '') continue;
      const event = parsedEvent(line);
      if (event === undefined) skipped('no event of a container');
      else yield event;
    }
  } catch (error) {
    throw new DockerError((error as NodeJS.ErrnoException).code ?? (error as Error).message);
  }
}

interface RawEvent {
  readonly Action?: unknown;
  readonly Actor?: { readonly ID?: unknown; readonly Attributes?: unknown } | null;
  readonly time?: unknown;
  readonly timeNano?: unknown;
}

function parsedEvent(line: string): DockerEvent | undefined {
  let raw: RawEvent | null;
  try {
    raw = JSON.parse(line);
  } catch {
    return undefined;
  }
  const action = CONTAINER_EVENTS.find((name) => name === raw?.Action);
  const id = raw?.Actor?.ID;
  const attributes = raw?.Actor?.Attributes;
  const at = typeof raw?.timeNano === 'number' ? raw.timeNano / 1e6 : Number(raw?.time) * 1000;
  if (action === undefined || typeof id !== 'string' || !Number.isFinite(at)) return undefined;
  return {
    action,
    id,
    attributes: typeof attributes === 'object' && attributes !== null ? { ...attributes } : {},
    at: Math.floor(at),
    line,
  };
}

async function body(response: IncomingMessage, most: number): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > most) throw new DockerError(`an answer of more than ${most} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
