const FIRST_MS = 1000;
const CAP_MS = 60_000;
/** Full jitter may say zero; a server that refuses at once must not be asked in a loop. */
const LEAST_MS = 100;
/** A server that wishes to be left alone for longer is asked again all the same: alerts that are a day late help nobody. */
export const LONGEST_WISH_MS = 3_600_000;

/**
 * How long to wait after the nth failure in a row: exponential from 1 s to a minute, with full jitter, so that the agents of a
 * cluster do not return to a server together; never shorter than the server's own wish, up to an hour.
 *
 * @param failures 1 after the first
 * @param random in [0, 1)
 * @param wishMs the server's Retry-After
 */
export function backoffMs(failures: number, random: () => number, wishMs?: number): number {
  const ceiling = Math.min(CAP_MS, FIRST_MS * 2 ** (failures - 1));
  const jittered = Math.max(LEAST_MS, Math.round(random() * ceiling));
  return Math.max(jittered, boundedWish(wishMs));
}

/** A server that is overrun tells everybody the same: at random up to twice as long. 0 where there is no wish. */
export function spreadWish(wishMs: number | undefined, random: () => number): number {
  return boundedWish(Math.round(boundedWish(wishMs) * (1 + random())));
}

/** 0 where there is none. It comes from outside, so it may be anything. */
export function boundedWish(wishMs: number | undefined): number {
  return wishMs !== undefined && wishMs > 0 ? Math.min(wishMs, LONGEST_WISH_MS) : 0;
}
