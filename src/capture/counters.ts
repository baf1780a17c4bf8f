/** Written by the capture thread alone, read by the main thread at any time, no message needed. */
const COUNTERS = [
  /** CLOCK_MONOTONIC ms of the thread's last sign of life: one that stands still is blind. The first is its start, by the main thread. */
  'heartbeat',
  'kmsgRecords',
  'kmsgLost',
  'kmsgOverruns',
  'untold',
  'logFileBytes',
  'logFileChanges',
  'logFileGaps',
  'forks',
  'execs',
  'exits',
  'connectorOverruns',
  'scans',
  'tableEntries',
  'tableBytes',
] as const;
export type CounterName = (typeof COUNTERS)[number];

const indexOf = Object.fromEntries(COUNTERS.map((name, index) => [name, index])) as Record<
  CounterName,
  number
>;

export class Counters {
  readonly shared: Float64Array<SharedArrayBuffer>;

  constructor(shared = new Float64Array(new SharedArrayBuffer(8 * COUNTERS.length))) {
    this.shared = shared;
  }

  get(name: CounterName): number {
    return this.shared[indexOf[name]] as number;
  }

  add(name: CounterName, n: number): void {
    (this.shared[indexOf[name]] as number) += n;
  }

  set(name: CounterName, value: number): void {
    this.shared[indexOf[name]] = value;
  }
}
