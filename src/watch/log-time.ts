import type { LogRecord } from '../kernel-log/decoder.ts';

export interface KillTime {
  /** Milliseconds since the epoch, as the log says; undefined where it has only the kernel's clock, or none. */
  readonly wall?: number;
  /** It was not later than this. */
  readonly latest?: number;
  /** Why `wall` may be wrong. */
  readonly doubt?: string;
}

/** Time zones differ by quarters of an hour. */
const ZONE_STEP_MS = 15 * 60_000;
/** A line comes after it was written, unless another machine wrote it whose clock is ahead. */
const AHEAD_MS = 60_000;
const SECOND_MS = 1_000;

/**
 * When a kill happened, by the time stamp of its line.
 *
 * @param arrived when the line came, milliseconds since the epoch; undefined: long after it was written. A line without a
 *   time zone that comes early, or more than a quarter of an hour late, is from a zone that is not ours: a container has
 *   UTC whatever its host has. A syslog daemon may be held up for minutes, by the very shortage that a line tells of.
 */
export function timeOfKill(stamp: LogRecord | undefined, arrived: number | undefined): KillTime {
  if (stamp?.wallTime === undefined) return {};
  const { wallTime, wholeSeconds, doubt } = stamp;
  const quarters =
    doubt === undefined || arrived === undefined
      ? 0
      : Math.floor((arrived + AHEAD_MS - wallTime) / ZONE_STEP_MS);
  const wall = wallTime + quarters * ZONE_STEP_MS;
  const said =
    quarters === 0
      ? doubt
      : 'the log names no time zone: the one that fits the arrival of the line is assumed';
  return {
    wall,
    latest: wholeSeconds ? wall + SECOND_MS - 1 : wall,
    ...(said !== undefined && { doubt: said }),
  };
}
