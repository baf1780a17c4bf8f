const SILENCE_MS = 60_000;
/** Reasons come from outside and may all differ. */
const MOST_KEYS = 512;

/**
 * Lets the same thing be said at once, and then at most once a minute, with how often it happened in between.
 * Bounded: of more than 512 different things the one that was said longest ago is forgotten.
 */
export class RepeatLimit {
  readonly #now: () => number;
  readonly #said = new Map<string, { at: number; since: number }>();

  constructor(now: () => number) {
    this.#now = now;
  }

  /**
   * @param times how often it happened now
   * @returns how often it happened since it was last said, this time included; undefined: don't say it
   */
  speak(key: string, times = 1): number | undefined {
    const now = this.#now();
    const known = this.#said.get(key);
    // From the future: the clock was set back.
    if (known && now >= known.at && now - known.at < SILENCE_MS) {
      known.since += times;
      return undefined;
    }
    const since = (known?.since ?? 0) + times;
    this.#said.delete(key);
    this.#said.set(key, { at: now, since: 0 });
    if (this.#said.size > MOST_KEYS) this.#said.delete(this.#said.keys().next().value!);
    return since;
  }

  /** It is over: the next time is news. */
  forget(prefix: string): void {
    for (const key of this.#said.keys()) if (key.startsWith(prefix)) this.#said.delete(key);
  }
}
