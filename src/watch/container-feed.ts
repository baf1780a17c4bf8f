import type { ChosenLabels } from '../inventory/container-identity.ts';
import type { ContainerFeed } from '../inventory/container-table.ts';

/** What a watch of a container runtime has to say of itself. */
export interface FeedObserver {
  /** It follows the runtime from now on. */
  feedFollows(feed: ContainerFeed, containers: number): void;
  feedLost(feed: ContainerFeed, reason: string, delayMs: number): void;
  /** Something that the runtime told could not be read. */
  feedSkipped(feed: ContainerFeed, reason: string): void;
}

export interface FeedTools {
  readonly chosenLabels: ChosenLabels;
  readonly observer: FeedObserver;
  readonly now: () => number;
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
  readonly random: () => number;
}

export interface FeedStatus {
  readonly works: boolean;
  readonly problem?: string;
}

const FIRST_MS = 500;
const LONGEST_MS = 30_000;
const LEAST_MS = 100;
/** A connection that held for so long was a good one: the next wait is short again. */
const GOOD_MS = 60_000;

/** Of more, the answers stay unknown. */
const MOST_WAITING = 256;

/** What an event makes worth asking for, one after the other. */
export class Questions {
  #waiting = 0;
  #last: Promise<void> = Promise.resolve();

  /** A failure changes nothing: that of the connection brings a new stock-taking. */
  ask(question: () => Promise<void>): void {
    if (this.#waiting >= MOST_WAITING) return;
    this.#waiting += 1;
    this.#last = this.#last
      .then(question)
      .catch(() => {})
      .finally(() => {
        this.#waiting -= 1;
      });
  }

  /** Resolves when all that were asked until now are done with. */
  get done(): Promise<void> {
    return this.#last;
  }
}

/**
 * Keeps one connection to a runtime: again after it broke, with growing waits and jitter, until the signal.
 *
 * @param follow connects, calls `follows` when it does follow, and returns when the runtime has ended the connection
 */
export async function keepFollowing(
  feed: ContainerFeed,
  { observer, now, sleep, random }: FeedTools,
  follow: (follows: (containers: number) => void, signal: AbortSignal) => Promise<void>,
  became: (status: FeedStatus) => void,
  signal: AbortSignal,
): Promise<void> {
  let failures = 0;
  while (!signal.aborted) {
    const begun = now();
    // What one connection began ends with it.
    const connection = new AbortController();
    let problem = 'the runtime ended the connection';
    try {
      const follows = (containers: number) => {
        became({ works: true });
        observer.feedFollows(feed, containers);
      };
      await follow(follows, AbortSignal.any([signal, connection.signal]));
    } catch (error) {
      problem = error instanceof Error ? error.message : String(error);
    }
    connection.abort();
    if (signal.aborted) return;
    failures = now() - begun > GOOD_MS ? 1 : failures + 1;
    const ceiling = Math.min(LONGEST_MS, FIRST_MS * 2 ** (failures - 1));
    const delayMs = Math.max(LEAST_MS, Math.round(random() * ceiling));
    became({ works: false, problem });
    observer.feedLost(feed, problem, delayMs);
    await sleep(delayMs, signal).catch(() => {});
  }
}
