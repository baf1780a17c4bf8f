import { isDeepStrictEqual } from 'node:util';
import type { KernelVictim } from '../assemble/kill-report.ts';
import type { AssembledReport } from '../assemble/report-draft.ts';
import type { LogRecord } from './decoder.ts';

/** Copies of a report are near each other. */
const MOST_KEPT = 1_000;
/** Of the kernel's own clock. A process dies once. */
const SAME_US = 1_000_000;
/** dmesg -T is late by as much as the machine slept, a daemon by as much as it was held up. */
const SAME_MS = 600_000;

/** Finds the kill that a text tells twice: where two daemons write to one file, or somebody put dmesg and journalctl into one. */
export class ToldKills {
  /** By the number of the first process. */
  readonly #kept = new Map<number, Told>();

  /** Whether it was told before. It is from now on. */
  tell(report: AssembledReport, stamp: LogRecord): boolean {
    const pid = report.victims[0]?.pid ?? 0;
    const told = this.#kept.get(pid);
    const now = { victims: report.victims.map(({ pid, name, memory }) => ({ pid, name, memory })), stamp };
    const isSame = told !== undefined && areSame(told, now);
    this.#kept.delete(pid);
    this.#kept.set(pid, now);
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > MOST_KEPT && oldest !== undefined) this.#kept.delete(oldest);
    return isSame;
  }
}

interface Told {
  readonly victims: readonly Pick<KernelVictim, 'pid' | 'name' | 'memory'>[];
  readonly stamp: LogRecord;
}

function areSame(one: Told, other: Told): boolean {
  const [a, b] = [one.stamp, other.stamp];
  if (a.host !== undefined && b.host !== undefined && a.host !== b.host) return false;
  return areNear(a, b) && isDeepStrictEqual(one.victims, other.victims);
}

/** A log without times is of one machine's one life. */
function areNear(a: LogRecord, b: LogRecord): boolean {
  if (a.timestampUs !== undefined && b.timestampUs !== undefined)
    return Math.abs(a.timestampUs - b.timestampUs) <= SAME_US;
  if (a.wallTime === undefined || b.wallTime === undefined) return true;
  return Math.abs(a.wallTime - b.wallTime) <= SAME_MS;
}
