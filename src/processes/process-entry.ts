import type { CaptureSource } from '../incident.ts';
import type { Image } from './images.ts';

/** A start read from /proc has 10 ms steps, and a fork event is sent a little after the start that it tells of. */
export const SAME_START_MS = 100;

/** One process in the table. Times are CLOCK_MONOTONIC in ms. */
export interface Entry {
  readonly pid: number;
  parentPid: number | undefined;
  /** Undefined: not known, so it may be anybody who has had this pid. */
  start: number | undefined;
  source: CaptureSource;
  image: Image;
  threaded: boolean;
  exitedAt: number | undefined;
  dropped: boolean;
  /** Who had this pid before. */
  previous: Entry | undefined;
}

/** One process as it is read back from the journal. */
export interface ProcessRecord {
  readonly pid: number;
  readonly parentPid: number | undefined;
  readonly start: number | undefined;
  readonly source: CaptureSource;
  readonly readAt: number;
  readonly args: readonly string[] | undefined;
  readonly executable: string | undefined;
  readonly cgroup: string | undefined;
  readonly truncated: boolean;
  readonly redacted: number;
}

export function newEntry(
  pid: number,
  parentPid: number | undefined,
  start: number | undefined,
  source: CaptureSource,
  image: Image,
): Entry {
  return {
    pid,
    parentPid,
    start,
    source,
    image,
    threaded: false,
    exitedAt: undefined,
    dropped: false,
    previous: undefined,
  };
}
