import { backoffMs, LONGEST_WISH_MS, spreadWish } from '../net/backoff.ts';
import type { Outcome } from '../sink.ts';
import type { Settlement } from '../store.ts';
import { oneLine } from './reason.ts';

/** How an incident fared before. */
export interface Age {
  readonly attempts: number;
  /** Milliseconds since the epoch until which it was put off; 0 if it never was. */
  readonly nextAt: number;
}

/** One incident of a batch and what became of it. */
export interface Try extends Age {
  readonly id: string;
  readonly outcome: Outcome;
}

export interface Verdict {
  readonly settlements: readonly Settlement[];
  /** Incidents that were put off, as it seems now without fault. */
  readonly release: readonly string[];
  /** What becomes their `nextAt`. */
  readonly releaseAt: number;
  /** How long the sink is left alone now. */
  readonly pauseMs: number;
  /** How long the first of those that are to be tried again waits. */
  readonly delayMs: number;
}

/** After so many failures an incident no longer gets the benefit of the doubt. */
const PATIENCE = 3;
const NO_RELEASE = { release: [], releaseAt: 0 };

/**
 * When to try what again, for one sink.
 *
 * Where nothing of a batch gets through, the sink itself is taken to be at fault: everything waits and keeps its place. Where
 * the rest gets through, only the failed ones wait. From the third failure on incidents are tried one by one, and one that
 * still fails is passed by others. From then on it is a suspect: it travels alone, about once a minute, and says nothing about
 * the sink. If several were passed by before one got through, it was the sink after all, and they get their places back, once.
 * If it was a single one, nobody knows: it is tried at once, before all that came after it, but still as a suspect.
 */
export class Pace {
  readonly #batchSize: number;
  readonly #random: () => number;
  /** In a row, with nothing getting through. */
  #failures = 0;
  #size: number;
  /** Since something last got through. */
  readonly #passedBy = new Set<string>();
  readonly #released = new Set<string>();
  #aloneUntil = 0;

  constructor(batchSize: number, random: () => number) {
    this.#batchSize = batchSize;
    this.#random = random;
    this.#size = batchSize;
  }

  /** How many incidents to try together. */
  get size(): number {
    return this.#size;
  }

  /** For how many milliseconds the server still wishes to be left alone. */
  aloneMs(now: number): number {
    const ms = this.#aloneUntil - now;
    return ms > 0 && ms <= LONGEST_WISH_MS ? ms : 0;
  }

  /** How many of those that are due travel together: a suspect can neither spoil a batch nor be spoilt by one. */
  together(due: readonly Age[]): number {
    const suspect = due.findIndex(isSuspect);
    return suspect < 0 ? due.length : Math.max(1, suspect);
  }

  /** For a failure that is no incident's fault: how long to wait. */
  afterFailure(): number {
    this.#failures += 1;
    return backoffMs(this.#failures, this.#random);
  }

  /** @param othersWait whether there is anything that could pass by */
  judge(tries: readonly Try[], now: number, othersWait: () => boolean): Verdict {
    const wishes = tries.map(({ outcome }) => (outcome.kind === 'retry' && outcome.afterMs) || 0);
    const wishMs = spreadWish(Math.max(0, ...wishes), this.#random);
    if (wishMs > 0) this.#aloneUntil = now + wishMs;
    return tries.some(({ outcome }) => outcome.kind !== 'retry')
      ? this.#someGotThrough(tries, now, wishMs)
      : this.#nothingGotThrough(tries, now, wishMs, othersWait);
  }

  #someGotThrough(tries: readonly Try[], now: number, wishMs: number): Verdict {
    this.#failures = 0;
    this.#size = Math.min(this.#batchSize, this.#size * 2);
    for (const { id, outcome } of tries) if (outcome.kind !== 'retry') this.#released.delete(id);
    const delays = tries.map(({ attempts }) => Math.max(wishMs, backoffMs(attempts + 1, this.#random)));
    return {
      settlements: tries.map((one, index) => settlement(one, now + delays[index]!)),
      ...this.#toRelease(now),
      pauseMs: wishMs,
      delayMs: Math.min(...delays.filter((_, index) => tries[index]!.outcome.kind === 'retry')),
    };
  }

  #toRelease(now: number): Pick<Verdict, 'release' | 'releaseAt'> {
    const passedBy = [...this.#passedBy];
    this.#passedBy.clear();
    if (passedBy.length === 1) return { release: passedBy, releaseAt: now };
    const release = passedBy.filter((id) => !this.#released.has(id));
    for (const id of release) this.#released.add(id);
    return { release, releaseAt: 0 };
  }

  #nothingGotThrough(tries: readonly Try[], now: number, wishMs: number, othersWait: () => boolean): Verdict {
    const alone = tries.length === 1 ? tries[0] : undefined;
    if (alone && isSuspect(alone)) {
      const delayMs = Math.max(wishMs, backoffMs(alone.attempts + 1, this.#random));
      return {
        settlements: [settlement(alone, now + delayMs)],
        ...NO_RELEASE,
        pauseMs: wishMs,
        delayMs,
      };
    }
    const pauseMs = Math.max(wishMs, this.afterFailure());
    if (this.#failures >= PATIENCE) this.#size = 1;
    let nextAt = 0;
    // Every further one needs twice the evidence: in a long outage most of them are innocent.
    const mayPass = this.#failures >= PATIENCE * 2 ** this.#passedBy.size;
    if (alone && mayPass && alone.attempts + 1 >= PATIENCE && othersWait()) {
      this.#passedBy.add(alone.id);
      nextAt = now + pauseMs + backoffMs(alone.attempts + 1, this.#random);
    }
    return {
      settlements: tries.map((one) => settlement(one, nextAt)),
      ...NO_RELEASE,
      pauseMs,
      delayMs: pauseMs,
    };
  }
}

function isSuspect({ attempts, nextAt }: Age): boolean {
  return attempts >= PATIENCE && nextAt > 0;
}

function settlement({ id, outcome }: Try, nextAt: number): Settlement {
  return outcome.kind === 'retry'
    ? { id, kind: 'retry', nextAt, reason: oneLine(outcome.reason) }
    : { id, kind: 'done' };
}
