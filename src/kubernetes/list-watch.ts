import { backoffMs, spreadWish } from '../net/backoff.ts';
import { ApiError, type KubernetesApi, type Selection } from './api.ts';
import { badAnswer, type OwnReason, reasonOf } from './status.ts';

/** Who is told of a set of objects. Each call is about what is, so it may be told twice; nothing of an object need be kept. */
export interface Follower<T> {
  /** A list begins: at the start, and when the server no longer knows what has happened since. It may begin again before it is complete. */
  began(): void;
  page(items: readonly T[]): void;
  /** The list is complete: what was not in its pages is gone. */
  synced(): void;
  added(object: T): void;
  modified(object: T): void;
  /** With its last state. */
  deleted(object: T): void;
}

/** What happens and is worth a log line and a metric. `path` is what is watched. */
export interface ListWatchObserver {
  listed(path: string, objects: number): void;
  /** Lists or watches again after `delayMs`. */
  listWatchFailed(path: string, reason: string, delayMs: number): void;
  /** It has to be listed again, because the server has forgotten what came after the last event. */
  listWatchOutdated(path: string, reason: string): void;
  /** The follower could not take it. */
  objectSkipped(path: string, reason: string): void;
}

export interface ListWatchTools {
  readonly observer: ListWatchObserver;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<unknown>;
  /** In [0, 1). */
  readonly random: () => number;
}

export interface ListWatchStatus {
  /** A list was complete once: the set may be behind, but is no longer unknown. */
  readonly synced: boolean;
  /** Milliseconds since the epoch, of the last word from the server. Where nothing happens it speaks about once a minute. */
  readonly lastContactAt: number | undefined;
  /** Why nothing is heard at the moment. */
  readonly problem: string | undefined;
}

/** A watch that lived so long, or told something, was a good one: the next wait is short again. */
const GOOD_MS = 10_000;
/** Watches that a server ends together (it stops) come back over this time. */
const SPREAD_MS = 500;

interface Metadata {
  readonly metadata?: { readonly resourceVersion?: unknown };
}

/**
 * Keeps one follower up to date with one set of objects, until told to stop: a list, then a watch from its version on. A watch that
 * breaks or ends goes on after the last event, with nothing lost and no list. Only where the server has forgotten that version
 * (410), or where its answers cannot be read, it lists again. Failures wait with full jitter (`backoffMs`), 410 too: when an API
 * server has restarted every agent of a cluster meets the same.
 */
export class ListWatch<T> {
  readonly #api: Pick<KubernetesApi, 'list' | 'watch'>;
  readonly #path: string;
  readonly #selection: Selection;
  readonly #follower: Follower<T>;
  readonly #tools: ListWatchTools;
  #version: string | undefined;
  #failures = 0;
  #synced = false;
  #lastContactAt: number | undefined;
  #problem: string | undefined = 'not listed yet';

  constructor(
    api: Pick<KubernetesApi, 'list' | 'watch'>,
    path: string,
    selection: Selection,
    follower: Follower<T>,
    tools: ListWatchTools,
  ) {
    this.#api = api;
    this.#path = path;
    this.#selection = selection;
    this.#follower = follower;
    this.#tools = tools;
  }

  get status(): ListWatchStatus {
    return { synced: this.#synced, lastContactAt: this.#lastContactAt, problem: this.#problem };
  }

  /** Resolves when the signal has ended it, and rejects never. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      let delayMs: number;
      try {
        this.#version ??= await this.#list(signal);
        await this.#watch(this.#version, signal);
        delayMs = Math.round(this.#tools.random() * SPREAD_MS);
      } catch (error) {
        if (signal.aborted) return;
        delayMs = this.#failed(error);
      }
      await this.#tools.sleep(delayMs, signal).catch((error: unknown) => {
        if (!signal.aborted) throw error;
      });
    }
  }

  async #list(signal: AbortSignal): Promise<string> {
    this.#tell(() => this.#follower.began());
    let version: string | undefined;
    let count = 0;
    for await (const { items, resourceVersion } of this.#api.list<T>(this.#path, this.#selection, signal)) {
      this.#heard();
      version ??= resourceVersion;
      count += items.length;
      this.#tell(() => this.#follower.page(items));
    }
    if (version === undefined) throw badAnswer(`${this.#path}: a list without a page`);
    this.#tell(() => this.#follower.synced());
    this.#synced = true;
    this.#tools.observer.listed(this.#path, count);
    return version;
  }

  async #watch(resourceVersion: string, signal: AbortSignal): Promise<void> {
    const { now } = this.#tools;
    let openedAt = Number.POSITIVE_INFINITY;
    let hasTold = false;
    const opened = () => {
      openedAt = now();
      this.#heard();
    };
    const selection = { ...this.#selection, resourceVersion, bookmarks: true, opened } as const;
    try {
      for await (const { type, object } of this.#api.watch<T>(this.#path, selection, signal)) {
        const version = (object as Metadata).metadata?.resourceVersion;
        if (typeof version !== 'string' || version === '')
          throw badAnswer(`${this.#path}: an event without a version`);
        this.#heard();
        hasTold = true;
        if (type === 'ADDED') this.#tell(() => this.#follower.added(object));
        else if (type === 'MODIFIED') this.#tell(() => this.#follower.modified(object));
        else if (type === 'DELETED') this.#tell(() => this.#follower.deleted(object));
        this.#version = version;
      }
    } finally {
      hasTold ||= now() - openedAt >= GOOD_MS;
      if (hasTold) this.#failures = 0;
    }
    if (!hasTold)
      throw new ApiError({ status: 0, reason: 'Ended', message: `${this.#path}: a watch ended at once` });
  }

  #heard(): void {
    this.#lastContactAt = this.#tools.now();
    this.#problem = undefined;
  }

  /** One object that cannot be taken must not keep all others from it for ever. */
  #tell(call: () => void): void {
    try {
      call();
    } catch (error) {
      this.#tools.observer.objectSkipped(this.#path, reasonOf(error));
    }
  }

  /** @returns after how many milliseconds to try again */
  #failed(error: unknown): number {
    const { observer, random } = this.#tools;
    this.#failures += 1;
    this.#problem = reasonOf(error);
    const wishMs = error instanceof ApiError ? error.retryAfterMs : undefined;
    const delayMs = backoffMs(this.#failures, random, spreadWish(wishMs, random));
    if (this.#version !== undefined && isOutdated(error)) {
      this.#version = undefined;
      observer.listWatchOutdated(this.#path, this.#problem);
    } else observer.listWatchFailed(this.#path, this.#problem, delayMs);
    return delayMs;
  }
}

/** The same version would meet the same answer. */
function isOutdated(error: unknown): boolean {
  const unreadable: OwnReason = 'BadAnswer';
  return error instanceof ApiError && (error.status === 410 || error.reason === unreadable);
}
