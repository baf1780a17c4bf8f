import type { FeedObserver } from '../../src/watch/container-feed.ts';

/** What one watch of a container runtime said of itself. */
export class FeedDiary implements FeedObserver {
  readonly follows: number[] = [];
  readonly lost: string[] = [];
  readonly delays: number[] = [];
  readonly skipped: string[] = [];

  feedFollows(_feed: string, containers: number): void {
    this.follows.push(containers);
  }

  feedLost(_feed: string, reason: string, delayMs: number): void {
    this.lost.push(reason);
    this.delays.push(delayMs);
  }

  feedSkipped(_feed: string, reason: string): void {
    this.skipped.push(reason);
  }
}
