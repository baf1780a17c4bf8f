export interface Rate {
  /** So many at once, after a rest. */
  readonly burst: number;
  /** Then one in so many milliseconds. */
  readonly everyMs: number;
}

/** Allows a burst, then a steady rate. It holds nobody back by itself: it says how long to wait. */
export class TokenBucket {
  readonly #rate: Rate;
  /** When all tokens are (or were) there again, milliseconds since the epoch. */
  #fullAt: number;
  #lastNow: number;

  constructor(rate: Rate, now: number) {
    this.#rate = rate;
    this.#fullAt = now;
    this.#lastNow = now;
  }

  /** How many may go now. */
  available(now: number): number {
    const missing = this.#missingMs(now) / this.#rate.everyMs;
    return Math.max(0, Math.floor(this.#rate.burst - missing));
  }

  /** Takes one, also where there is none yet; returns after how many milliseconds it may be used. */
  take(now: number): number {
    const { burst, everyMs } = this.#rate;
    const missingMs = this.#missingMs(now) + everyMs;
    this.#fullAt = now + missingMs;
    return Math.max(0, missingMs - burst * everyMs);
  }

  isFull(now: number): boolean {
    return this.#missingMs(now) === 0;
  }

  #missingMs(now: number): number {
    // A clock that was set back must not make anybody wait for the time in between.
    if (now < this.#lastNow) this.#fullAt -= this.#lastNow - now;
    this.#lastNow = now;
    return Math.max(0, this.#fullAt - now);
  }
}
