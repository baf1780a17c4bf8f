import assert from 'node:assert/strict';
import { setImmediate as nextTurn } from 'node:timers/promises';

/** Far more turns than any test needs to come to rest. */
const TURNS = 20_000;
/** So many turns without a change are taken for rest; only then does time go on. */
const REST_TURNS = 10;

/** Whether something waits for the disk: that has not come to rest, however many turns go by. */
function isReading(): boolean {
  return process.getActiveResourcesInfo().some((resource) => resource.startsWith('FSReq'));
}

/** What follows from whatever has happened has its turn. */
async function turn(): Promise<void> {
  do await nextTurn();
  while (isReading());
}

interface Timer {
  readonly at: number;
  readonly wake: () => void;
}

/** A clock that stands still unless a test waits for something that only comes later. */
export class VirtualTime {
  #now = Date.parse('2026-11-21T03:15:00.000Z');
  readonly #timers = new Set<Timer>();
  readonly slept: number[] = [];

  readonly now = (): number => this.#now;

  readonly sleep = (ms: number, signal: AbortSignal): Promise<void> =>
    new Promise((resolve, reject) => {
      this.slept.push(ms);
      if (signal.aborted) {
        reject(signal.reason);
        return;
      }
      const timer = { at: this.#now + ms, wake: resolve };
      this.#timers.add(timer);
      signal.addEventListener('abort', () => {
        this.#timers.delete(timer);
        reject(signal.reason);
      });
    });

  get timers(): number {
    return this.#timers.size;
  }

  /** Lets everything happen that needs no time to pass. */
  async rest(): Promise<void> {
    for (let turns = 0; turns < REST_TURNS; turns++) await turn();
  }

  /** Lets time pass, timer by timer, until `condition` holds. */
  async until(condition: () => boolean, what: string): Promise<void> {
    for (let turns = 0; turns < TURNS; turns++) {
      if (condition()) return;
      if (turns % REST_TURNS === REST_TURNS - 1) this.#fireNext(Number.POSITIVE_INFINITY);
      await turn();
    }
    assert.fail(`did not happen: ${what}`);
  }

  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    do await this.rest();
    while (this.#fireNext(end));
    this.#now = end;
  }

  #fireNext(latest: number): boolean {
    const [next] = [...this.#timers].sort((a, b) => a.at - b.at);
    if (next === undefined || next.at > latest) return false;
    this.#timers.delete(next);
    this.#now = Math.max(this.#now, next.at);
    next.wake();
    return true;
  }
}
