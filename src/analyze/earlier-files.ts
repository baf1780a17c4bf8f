import type { AssembledReport } from '../assemble/report-draft.ts';
import type { LogRecord } from '../kernel-log/decoder.ts';

/** Many logs know no less than a second, and some daemons are a little late. */
const SAME_MS = 2_000;

type Stamp = Pick<LogRecord, 'timestampUs' | 'wallTime' | 'host' | 'bootId'>;

/**
 * Finds the kill that an earlier file told: syslog and kern.log hold the same lines, and rotated files can overlap. Two
 * kills are never one: a process dies once, and no other one of its number and its sizes at the same time.
 */
export class EarlierFiles {
  /** By the first process, its number, name and sizes. */
  readonly #earlier = new Map<string, Stamp[]>();
  #current: [string, Stamp][] = [];

  /** Whether an earlier file told it. Later files know of it. */
  told(report: AssembledReport, { timestampUs, wallTime, host, bootId }: LogRecord): boolean {
    const [victim] = report.victims;
    const key = JSON.stringify([victim?.pid, victim?.name, victim?.memory]);
    const stamp = { timestampUs, wallTime, host, bootId };
    const isTold = this.#earlier.get(key)?.some((earlier) => areSame(earlier, stamp)) === true;
    if (!isTold) this.#current.push([key, stamp]);
    return isTold;
  }

  /** What comes next is of another file. */
  next(): void {
    for (const [key, stamp] of this.#current) {
      const stamps = this.#earlier.get(key);
      if (stamps === undefined) this.#earlier.set(key, [stamp]);
      else stamps.push(stamp);
    }
    this.#current = [];
  }
}

function areSame(one: Stamp, other: Stamp): boolean {
  if (differ(one.host, other.host) || differ(one.bootId, other.bootId)) return false;
  if (one.timestampUs !== undefined && other.timestampUs !== undefined)
    return one.timestampUs === other.timestampUs;
  if (one.wallTime === undefined || other.wallTime === undefined) return false;
  return Math.abs(one.wallTime - other.wallTime) <= SAME_MS;
}

/** Where both are known. */
function differ<T>(one: T | undefined, other: T | undefined): boolean {
  return one !== undefined && other !== undefined && one !== other;
}
