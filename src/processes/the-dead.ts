import type { Entry } from './process-entry.ts';

const OTHERS = { keepMs: 5_000, limit: 1_024 };
const KILLED = { keepMs: 600_000, limit: 8_192 };

/**
 * Those who have exited, for as long as somebody may ask for them: seconds only, because their kill is read from the kernel's log some
 * milliseconds after their exit event; those killed by SIGKILL for minutes. Both with a limit.
 */
export class TheDead {
  readonly #others: Entry[] = [];
  readonly #killed: Entry[] = [];
  readonly #livesOn: (entry: Entry) => boolean;
  readonly #drop: (entry: Entry) => void;

  /**
   * @param livesOn whether other threads of it live
   * @param drop forgets it for good
   */
  constructor(livesOn: (entry: Entry) => boolean, drop: (entry: Entry) => void) {
    this.#livesOn = livesOn;
    this.#drop = drop;
  }

  /** The oldest first. */
  get killed(): readonly Entry[] {
    return this.#killed;
  }

  bury(entry: Entry, isKilled: boolean, time: number): void {
    entry.exitedAt = time;
    const [queue, rule] = isKilled ? ([this.#killed, KILLED] as const) : ([this.#others, OTHERS] as const);
    queue.push(entry);
    if (queue.length > 2 * rule.limit) this.#forgetSome(queue, rule, time);
  }

  forget(now: number): void {
    this.#forgetSome(this.#others, OTHERS, now);
    this.#forgetSome(this.#killed, KILLED, now);
  }

  /** Makes room: those who were killed go last. */
  takeOldest(): Entry | undefined {
    return this.#others.shift() ?? this.#killed.shift();
  }

  #forgetSome(queue: Entry[], rule: { keepMs: number; limit: number }, now: number): void {
    let count = 0;
    while (
      count < queue.length &&
      (queue.length - count > rule.limit || now - ((queue[count] as Entry).exitedAt as number) > rule.keepMs)
    )
      count++;
    for (const entry of queue.splice(0, count)) {
      if (entry.threaded && this.#livesOn(entry)) {
        entry.exitedAt = now;
        queue.push(entry);
      } else this.#drop(entry);
    }
  }
}
