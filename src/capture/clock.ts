/**
 * Three clocks and how they relate: the wall clock, CLOCK_MONOTONIC (process events, this thread), and the kernel log's
 * own clock (local_clock(), near CLOCK_MONOTONIC but not disciplined by NTP, so seconds apart after months).
 */
export class CaptureClock {
  readonly #monotonic: () => number;
  readonly #wall: () => number;
  /** CLOCK_MONOTONIC minus the kernel log's clock, ms; undefined until a live record was seen. */
  #kernelOffset: number | undefined;
  #offsetAt = 0;

  constructor(monotonic: () => number, wall: () => number) {
    this.#monotonic = monotonic;
    this.#wall = wall;
  }

  now(): number {
    return this.#monotonic();
  }

  wallTime(monotonic: number): number {
    return this.#wall() - (this.#monotonic() - monotonic);
  }

  /**
   * A live record has just been read. Its delay is never negative, so the smallest difference seen is the nearest to the
   * truth; it may creep up by 1 ms a minute to follow a drift of up to 17 ppm.
   */
  observe(timestampUs: number): void {
    const now = this.#monotonic();
    const sample = now - timestampUs / 1000;
    if (this.#kernelOffset === undefined) this.#kernelOffset = sample;
    else {
      const allowed = this.#kernelOffset + (now - this.#offsetAt) / 60_000;
      this.#kernelOffset = Math.min(sample, allowed);
    }
    this.#offsetAt = now;
  }

  /** CLOCK_MONOTONIC of a kernel log time stamp; before any live record the two are taken as one clock. */
  ofKernel(timestampUs: number): number {
    return timestampUs / 1000 + (this.#kernelOffset ?? 0);
  }
}
