import type { ContainerFeed } from '../inventory/container-table.ts';
import type { Metrics } from '../metrics.ts';
import type { FeedObserver } from '../watch/container-feed.ts';
import type { Voice } from './voice.ts';

/** Of container runtimes. */
export class RuntimeEvents implements FeedObserver {
  readonly #voice: Voice;
  readonly #metrics: Metrics;

  constructor(voice: Voice, metrics: Metrics) {
    this.#voice = voice;
    this.#metrics = metrics;
  }

  feedFollows(feed: ContainerFeed, containers: number): void {
    this.#metrics.feedUp.set({ feed }, 1);
    this.#voice.forget(`feed ${feed} `);
    this.#voice.say('info', 'following the containers', { runtime: feed, containers });
  }

  feedLost(feed: ContainerFeed, reason: string, delayMs: number): void {
    this.#metrics.feedUp.set({ feed }, 0);
    this.#metrics.feedLosses.inc({ feed });
    this.#voice.repeat('warn', `feed ${feed} ${reason}`, 'containers cannot be followed, trying again', {
      runtime: feed,
      reason,
      wait_ms: delayMs,
    });
  }

  feedSkipped(feed: ContainerFeed, reason: string): void {
    this.#metrics.feedSkipped.inc({ feed });
    this.#voice.repeat('warn', `skipped ${feed}`, 'an event of a container runtime cannot be read', {
      runtime: feed,
      reason,
    });
  }
}
