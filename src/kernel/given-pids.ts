/**
 * Whether a process number may have been given to somebody else while nobody looked.
 *
 * The kernel gives numbers away upwards and begins again at the largest (alloc_pid in kernel/pid.c, idr_alloc_cyclic). So
 * whoever stood just ahead of it can have a successor a moment after his end, and whoever it has just passed none before it
 * has been all the way round.
 */

/** Below this no second round gives any (RESERVED_PIDS in kernel/pid.c). */
const RESERVED = 300;

/** How far the kernel had come in giving numbers away, to threads too. */
export interface GivenPids {
  /** Since boot. */
  readonly count: number;
  /** The last one. */
  readonly last: number;
}

export interface PidLimits {
  /** One more than the largest number (/proc/sys/kernel/pid_max). */
  readonly most: number;
  /** How many threads there are: their numbers are skipped (/proc/loadavg). */
  readonly taken: number;
}

/** Which numbers that were somebody's may be another's by now. */
export interface GivenAway {
  /** Those of whoever was there at the first look. */
  to(pid: number): boolean;
  /** The kernel has been all the way round since. */
  readonly all: boolean;
}

export function givenAway(then: GivenPids, now: GivenPids, { most, taken }: PidLimits): GivenAway {
  const ahead = (pid: number) => (pid - then.last + most) % most;
  // A fork that fails is not counted, but has taken a number.
  const reach = Math.max(now.count - then.count, ahead(now.last)) + taken + RESERVED;
  const all = reach >= most;
  return { all, to: (pid) => all || (pid !== then.last && ahead(pid) <= reach) };
}
