import type { Ledger } from './ledger.ts';

/** What the store keeps, and for a while up to a 32nd more. An incident that a sink still waits for goes only when `pending` or `bytes` is exceeded. */
export interface RetentionLimits {
  readonly incidents: number;
  readonly ageMs: number;
  /** Per sink; beyond it the oldest deliveries are given up. */
  readonly pending: number;
  readonly bytes: number;
}

const DAY_MS = 86_400_000;

export const DISK_LIMITS: RetentionLimits = Object.freeze({
  incidents: 10_000,
  ageMs: 30 * DAY_MS,
  pending: 100_000,
  bytes: 512 * 1024 ** 2,
});

/** Where the disk cannot be used: memory is scarce on a machine that has OOM kills. */
export const MEMORY_LIMITS: RetentionLimits = Object.freeze({
  incidents: 1000,
  ageMs: 30 * DAY_MS,
  pending: 2000,
  bytes: 16 * 1024 ** 2,
});

/**
 * What tells of a whole cluster, from memory: a bad rollout kills on all of 5,000 nodes at once, and again. What a pod's status tells is
 * 1 KiB.
 */
export const CLUSTER_LIMITS: Omit<RetentionLimits, 'ageMs'> = Object.freeze({
  incidents: 10_000,
  pending: 20_000,
  bytes: 64 * 1024 ** 2,
});

/** How long a sink may be out of the configuration before what it still had to get is given up: a mistyped restart is mended by then. */
const REMOVED_SINK_MS = DAY_MS;

/** What only time changes is looked at so often: with each incident it took as long as storing it (0.2 ms of 0.4). */
const LOOK_MS = 60_000;
/**
 * By this part of it what is stored may exceed a limit before anything is done about it: to measure takes three statements, and to delete
 * 300 incidents together 2.5 ms instead of 50.
 */
const UNNOTICED = 1 / 32;

const ALWAYS = Number.MAX_SAFE_INTEGER;
const CHUNK = 100;

export type Dropped = (sink: string, count: number, reason: string) => void;

/** Keeps one ledger within its limits. */
export class Retention {
  readonly #limits: RetentionLimits;
  readonly #dropped: Dropped;
  #nextSearchAt = 0;
  #lookedAt = Number.NEGATIVE_INFINITY;
  #measuredAt = Number.NEGATIVE_INFINITY;

  constructor(limits: RetentionLimits, dropped: Dropped) {
    this.#limits = limits;
    this.#dropped = dropped;
  }

  enforce(ledger: Ledger, now: number): void {
    this.#boundAge(ledger, now);
    this.#boundQueues(ledger);
    this.#boundCount(ledger);
    this.#boundBytes(ledger);
  }

  #boundAge(ledger: Ledger, now: number): void {
    // A clock that was set back must not put it off.
    if (now >= this.#lookedAt && now < this.#lookedAt + LOOK_MS) return;
    this.#lookedAt = now;
    for (const { name, dropped } of ledger.queues.forgetSinks(now - REMOVED_SINK_MS))
      if (dropped > 0) this.#dropped(name, dropped, 'the sink is no longer configured');
    ledger.deleteSettled(now - this.#limits.ageMs, ALWAYS);
  }

  #boundQueues(ledger: Ledger): void {
    const limit = this.#limits.pending;
    if (ledger.count <= limit) return;
    for (const sink of ledger.queues.sinks) {
      const excess = ledger.queues.state(sink).depth - limit;
      if (excess > 0)
        this.#dropped(sink, ledger.queues.dropOldest(sink, excess), `more than ${limit} were waiting`);
    }
  }

  /** While a sink is down the oldest cannot go, and looking for others at every commit would read the whole table. */
  #boundCount(ledger: Ledger): void {
    const { incidents } = this.#limits;
    const excess = ledger.count - incidents;
    if (excess <= UNNOTICED * incidents || ledger.count < this.#nextSearchAt) return;
    const deleted = ledger.deleteSettled(ALWAYS, excess);
    this.#nextSearchAt = deleted < excess ? ledger.count + CHUNK : 0;
  }

  /** In small steps: the newest must not go with the oldest. */
  #boundBytes(ledger: Ledger): void {
    if (ledger.written < this.#measuredAt + UNNOTICED * this.#limits.bytes) return;
    this.#measuredAt = ledger.written;
    while (ledger.bytes() > this.#limits.bytes) {
      if (ledger.deleteSettled(ALWAYS, step(ledger.count)) > 0) continue;
      const [deepest] = ledger.queues.sinks
        .map((name) => ({ name, depth: ledger.queues.state(name).depth }))
        .sort((a, b) => b.depth - a.depth);
      if (deepest === undefined || deepest.depth === 0) return;
      const dropped = ledger.queues.dropOldest(deepest.name, step(deepest.depth));
      this.#dropped(deepest.name, dropped, `the store is larger than ${this.#limits.bytes} bytes`);
    }
  }
}

function step(count: number): number {
  return Math.min(CHUNK, Math.ceil(count / 10));
}
