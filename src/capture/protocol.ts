import type { Host, HostPaths } from '../host.ts';
import type { Incident } from '../incident.ts';

/** What the capture thread is started with. */
export interface CaptureOptions {
  readonly paths: HostPaths;
  readonly host: Host;
  /**
   * Sequence number of the last kernel record of this boot that was dealt with (-1: none of this boot, read all that the
   * ring holds); undefined: the agent has never run here, so what the ring holds is history and not news.
   */
  readonly after: number | undefined;
  /** Where the process table survives the agent; undefined: nowhere. */
  readonly journal: string | undefined;
  readonly redact: boolean;
  readonly redactPatterns: readonly RegExp[];
  /** The longest time between two scans of /proc where there are no process events, ms. */
  readonly processRefreshMs: number;
  /** The longest time between two looks at the kernel log where it cannot be waited for, ms. */
  readonly kernelLogRefreshMs: number;
  /** Int32, 0 -> 1 means stop. */
  readonly stop: Int32Array<SharedArrayBuffer>;
  readonly counters: Float64Array<SharedArrayBuffer>;
}

/** Indexes into the shared counters: written by the capture thread alone, read at any time, no message needed. */
export const COUNTERS = [
  /** CLOCK_MONOTONIC ms of the loop's last turn: a loop that stands still is blind. */
  'heartbeat',
  'kmsgRecords',
  'kmsgLost',
  'kmsgOverruns',
  'forks',
  'execs',
  'exits',
  'connectorOverruns',
  'scans',
  'tableEntries',
  'tableBytes',
] as const;
export type CounterName = (typeof COUNTERS)[number];

export interface Reader {
  readonly works: boolean;
  /** Why it does not work, and the mend. */
  readonly problem?: string;
}

export interface CaptureStatus {
  readonly kmsg: Reader;
  readonly processEvents: Reader;
  /** The processes known when capture was armed. */
  readonly processes: number;
  /** How many lines of an earlier run's journal were taken over. */
  readonly restored: number;
  /** To be written to (8 bytes, not 0) after `stop` is set: it ends the wait at once. */
  readonly wakeFd?: number;
  /**
   * Descriptors that Node.js does not know of and that outlive the thread, however it ends: the main thread closes them
   * when it has ended, so that nobody writes to a number that somebody else has got meanwhile.
   */
  readonly descriptors: readonly number[];
}

export type CaptureMessage =
  | { readonly type: 'armed'; readonly status: CaptureStatus }
  /** Incidents in kernel order; everything up to and including `sequence` is contained in them or of no interest. */
  | {
      readonly type: 'witnessed';
      readonly incidents: readonly Incident[];
      readonly sequence: number;
      /** How many of them happened before this thread was started. */
      readonly missed: number;
    }
  | { readonly type: 'position'; readonly sequence: number }
  | { readonly type: 'lost'; readonly records: number; readonly sequence: number }
  | { readonly type: 'overrun'; readonly reader: 'kmsg' | 'process events' }
  | { readonly type: 'no-victim'; readonly cgroup: string | undefined; readonly times: number }
  | { readonly type: 'journal-failed'; readonly problem: string }
  | { readonly type: 'stopped'; readonly sequence: number };
