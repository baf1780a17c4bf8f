import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Outcome, Sink } from '../sink.ts';
import type { PendingDelivery, Store } from '../store.ts';
import type { DeadLetter, DeadLetterFile } from './dead-letter.ts';
import type { DeliveryObserver } from './observer.ts';
import { Pace, type Try } from './pace.ts';
import { oneLine, reasonOf } from './reason.ts';
import { HungError, type Sleep, sleepUntilAborted, withTimeLimit } from './time-limit.ts';

/** What all couriers of the agent have in common. */
export interface CourierContext {
  readonly store: Pick<Store, 'pending' | 'nextDue' | 'settle' | 'release' | 'releaseHeld' | 'queue'>;
  /** Undefined where there is no state folder. */
  readonly deadLetters: DeadLetterFile | undefined;
  readonly observer: DeliveryObserver;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly sleep: Sleep;
  /** In [0, 1). */
  readonly random: () => number;
  /** For one call of `deliver` or `open`; default 30 s. */
  readonly attemptTimeoutMs?: number;
}

export interface Destination {
  /** The queue's name in the store. */
  readonly name: string;
  /** How many incidents one call of `deliver` may get; default 1. */
  readonly batchSize?: number;
  open(): Promise<Sink>;
  /** Whether what `open` would open now is another: its files were replaced. Absent: never. */
  isOutdated?(): Promise<boolean>;
}

const ATTEMPT_TIMEOUT_MS = 30_000;
/** A client that cannot say goodbye in this time is left to the end of the process. */
const CLOSE_TIMEOUT_MS = 5000;
/** The wall clock may jump while somebody waits for a time of it. */
const LONGEST_SLEEP_MS = 60_000;

const NEVER = new AbortController().signal;
const NO_OUTCOME: Outcome = Object.freeze({
  kind: 'retry',
  reason: 'the sink did not say what became of it',
});

/**
 * Takes the incidents of one sink from its queue to the sink, in order of arrival (`Pace` says when not), for as long as it takes.
 *
 * At least once: an incident leaves the queue only after the sink took it or refused it for good. If the agent dies between
 * the sink's answer and its settlement, that batch is delivered once more after the restart: twice per crash at the
 * most, and never not at all.
 *
 * It waits on nothing but its own sink, and owns no timer while its queue is empty.
 */
export class Courier {
  readonly name: string;
  readonly #destination: Destination;
  readonly #context: CourierContext;
  readonly #pace: Pace;
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;
  #sink: Sink | undefined;
  #drainUntil: number | undefined;
  #rest: { readonly end: () => void; readonly endsWithWork: boolean } | undefined;

  constructor(destination: Destination, context: CourierContext) {
    this.name = destination.name;
    this.#destination = destination;
    this.#context = context;
    this.#pace = new Pace(Math.max(1, destination.batchSize ?? 1), context.random);
  }

  /** Opens the sink, so that what is wrong with it is said at once, and begins to deliver. */
  start(): void {
    this.#running ??= this.#run();
  }

  /** Something new is in the store. Changes nothing while the courier is busy or leaves its sink alone. */
  wake(): void {
    if (this.#rest?.endsWithWork) this.#rest.end();
  }

  /**
   * Tries what is pending until it is delivered, or until no further try fits before `deadline`; then stops.
   *
   * @param deadline milliseconds since the epoch; an attempt that is not over by then is told to stop
   * @returns how many are left in the store
   */
  async drain(deadline: number): Promise<number> {
    const { store, now, sleep } = this.#context;
    this.#drainUntil = deadline;
    store.releaseHeld(this.name);
    this.#rest?.end();
    const drained = new AbortController();
    const limit = sleepUntilAborted(sleep, Math.max(0, deadline - now()), drained.signal).then(() =>
      this.#halt(),
    );
    await this.#running;
    drained.abort();
    await limit;
    return store.queue(this.name).depth;
  }

  /** Stops at once and lets go of the sink. */
  async close(): Promise<void> {
    this.#halt();
    await this.#running;
    await this.#letGo();
  }

  #halt(): void {
    this.#stop.abort();
    this.#rest?.end();
  }

  async #run(): Promise<void> {
    await this.#open();
    while (!this.#stop.signal.aborted) {
      const pauseMs = await this.#nextStep();
      if (pauseMs === 'done' || this.#isTooLate(this.#context.now() + pauseMs)) return;
      if (pauseMs > 0) await this.#pause(pauseMs, false);
      else await nextTurn();
    }
  }

  async #nextStep(): Promise<number | 'done'> {
    try {
      return await this.#step();
    } catch (error) {
      const delayMs = this.#pace.afterFailure();
      this.#context.observer.stumbled(this.name, reasonOf(error), delayMs);
      return delayMs;
    }
  }

  /** Delivers one batch, or waits for one. Returns for how many milliseconds the sink is to be left alone. */
  async #step(): Promise<number | 'done'> {
    const { store, observer, now } = this.#context;
    const aloneMs = this.#pace.aloneMs(now());
    if (aloneMs > 0) return aloneMs;
    const due = store.pending(this.name, this.#pace.size);
    if (due.length > 0) {
      if (this.#sink !== undefined && (await this.#isOutdated())) {
        observer.renewing(this.name);
        await this.#letGo();
      }
      const sink = this.#sink ?? (await this.#open());
      if (typeof sink === 'number') return sink;
      return this.#attempt(sink, due.slice(0, this.#pace.together(due)));
    }
    const nextDue = store.nextDue(this.name) ?? Number.POSITIVE_INFINITY;
    if (this.#isTooLate(nextDue)) return 'done';
    await this.#pause(nextDue - now(), true);
    return 0;
  }

  #isTooLate(time: number): boolean {
    return this.#drainUntil !== undefined && time >= this.#drainUntil;
  }

  async #pause(ms: number, endsWithWork: boolean): Promise<void> {
    if (this.#stop.signal.aborted) return;
    const { over, end } = ms === Number.POSITIVE_INFINITY ? untilEnded() : this.#sleep(ms);
    this.#rest = { end, endsWithWork };
    try {
      await over;
    } finally {
      this.#rest = undefined;
    }
  }

  #sleep(ms: number): Rest {
    const interrupt = new AbortController();
    return {
      over: sleepUntilAborted(this.#context.sleep, Math.min(ms, LONGEST_SLEEP_MS), interrupt.signal),
      end: () => interrupt.abort(),
    };
  }

  /** Bounded: a file may be on a dead network mount. */
  async #isOutdated(): Promise<boolean> {
    const { attemptTimeoutMs = ATTEMPT_TIMEOUT_MS, sleep } = this.#context;
    const { isOutdated } = this.#destination;
    return isOutdated !== undefined && withTimeLimit(isOutdated, attemptTimeoutMs, this.#stop.signal, sleep);
  }

  /** Returns the sink, or after how many milliseconds to try again. */
  async #open(): Promise<Sink | number> {
    const { observer, attemptTimeoutMs = ATTEMPT_TIMEOUT_MS, sleep } = this.#context;
    const opening = (async () => this.#destination.open())();
    try {
      this.#sink = await withTimeLimit(() => opening, attemptTimeoutMs, this.#stop.signal, sleep);
      observer.opened(this.name);
      return this.#sink;
    } catch (error) {
      // It may open after all, and nobody else would close it; why it failed is told below.
      opening.then((late) => late.close()).catch(() => {});
      const delayMs = this.#pace.afterFailure();
      if (!this.#stop.signal.aborted) observer.openFailed(this.name, reasonOf(error), delayMs);
      return delayMs;
    }
  }

  async #attempt(sink: Sink, batch: readonly PendingDelivery[]): Promise<number> {
    const { now, attemptTimeoutMs = ATTEMPT_TIMEOUT_MS, sleep } = this.#context;
    const deliveries = batch.map(({ delivery }) => delivery);
    const startedAt = now();
    let outcomeAt: (index: number) => Outcome;
    try {
      const outcomes = await withTimeLimit(
        (signal) => sink.deliver(deliveries, signal),
        attemptTimeoutMs,
        this.#stop.signal,
        sleep,
      );
      // What was refused for an address or a password that was only half there is no fault of the incident.
      const isRefused = outcomes.some(({ kind }) => kind === 'rejected');
      const isDoubtful = isRefused && (await this.#isOutdated());
      outcomeAt = (index) => {
        const outcome = outcomes[index] ?? NO_OUTCOME;
        return isDoubtful && outcome.kind === 'rejected' ? { ...outcome, kind: 'retry' } : outcome;
      };
    } catch (error) {
      // A client that ignores its signal is beyond help: the next attempt gets a new one.
      if (error instanceof HungError) void this.#letGo();
      const reason = reasonOf(error);
      outcomeAt = () => ({ kind: 'retry', reason });
    }
    const tries = batch.map(({ delivery: { incident }, attempts, nextAt }, index) => ({
      incident,
      id: incident.id,
      attempts,
      nextAt,
      outcome: outcomeAt(index),
    }));
    return this.#settle(tries, now() - startedAt);
  }

  async #settle(tries: readonly (Try & Pick<DeadLetter, 'incident'>)[], latencyMs: number): Promise<number> {
    const { store, observer, now } = this.#context;
    const letters = tries.flatMap(({ incident, outcome }) =>
      outcome.kind === 'rejected' ? [{ sink: this.name, reason: oneLine(outcome.reason), incident }] : [],
    );
    if (letters.length > 0) await this.#bury(letters);

    // What only our own stopping cut short has not failed.
    const judged = this.#stop.signal.aborted
      ? tries.filter(({ outcome }) => outcome.kind !== 'retry')
      : tries;
    if (judged.length === 0) return 0;
    const othersWait = () => store.queue(this.name).depth > judged.length;
    const verdict = this.#pace.judge(judged, now(), othersWait);
    store.settle(this.name, verdict.settlements);
    if (verdict.release.length > 0) store.release(this.name, verdict.release, verdict.releaseAt);

    const delivered = judged.filter(({ outcome }) => outcome.kind === 'delivered').length;
    if (delivered > 0) observer.delivered(this.name, delivered, latencyMs);
    for (const { incident, reason } of letters) observer.rejected(this.name, incident.id, reason);
    const retried = verdict.settlements.filter((settlement) => settlement.kind === 'retry');
    if (retried.length > 0) observer.retried(this.name, retried.length, retried[0]!.reason, verdict.delayMs);
    return verdict.pauseMs;
  }

  /** A full disk must not make the sink get them again and again. */
  async #bury(letters: readonly DeadLetter[]): Promise<void> {
    const { deadLetters, observer } = this.#context;
    try {
      if (deadLetters === undefined) throw new Error('there is no state folder');
      await deadLetters.add(letters);
    } catch (error) {
      const reason = reasonOf(error);
      for (const { incident } of letters) observer.deadLetterFailed(this.name, incident.id, reason);
    }
  }

  async #letGo(): Promise<void> {
    const sink = this.#sink;
    this.#sink = undefined;
    if (sink === undefined) return;
    try {
      await withTimeLimit(() => sink.close(), CLOSE_TIMEOUT_MS, NEVER, this.#context.sleep);
    } catch (error) {
      this.#context.observer.stumbled(this.name, `while closing: ${reasonOf(error)}`, 0);
    }
  }
}

interface Rest {
  readonly over: Promise<void>;
  readonly end: () => void;
}

/** Without a signal, whose end costs an error with a stack trace: this is how the first kill after hours finds the courier. */
function untilEnded(): Rest {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { over: promise, end: resolve };
}
