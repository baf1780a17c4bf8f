import type { Host, HostPaths } from '../host.ts';
import type { Incident } from '../incident.ts';
import type { Place } from '../watch/place.ts';

/**
 * What the capture thread is told, in this order: whom to watch, so that it gets to know the processes while the store is
 * opened, and then from where on to tell kills, which the store knows.
 */
export type CaptureOrder = CaptureOptions | Resumption;

/** Where an earlier run ended. */
export interface Resumption {
  /**
   * The last place of this boot that was dealt with (sequence -1: none of this boot, read all that the ring holds); undefined: the
   * agent has never run here, so what the log holds is history and not news.
   */
  readonly after: Place | undefined;
  /** Whether the state folder is ours and can be written. */
  readonly keepsJournal: boolean;
}

export interface CaptureOptions {
  readonly paths: HostPaths;
  readonly host: Host;
  /** Read in the place of the kernel's own log. */
  readonly logFile: string | undefined;
  /** Where the process table survives the agent. */
  readonly journal: string;
  readonly redact: boolean;
  readonly redactPatterns: readonly RegExp[];
  /** The longest time between two scans of /proc where there are no process events, ms. */
  readonly processRefreshMs: number;
  /** The longest time between two looks at the kernel log where it cannot be waited for, ms. */
  readonly kernelLogRefreshMs: number;
  /** Int32, 0 -> 1 means stop. */
  readonly stop: Int32Array<SharedArrayBuffer>;
  /** Int32, how many incidents the main thread is done with of those that were posted; wraps around. */
  readonly taken: Int32Array<SharedArrayBuffer>;
  /** Of counters.ts. */
  readonly counters: Float64Array<SharedArrayBuffer>;
}

export interface Reader {
  readonly works: boolean;
  /** Why it does not work, and the mend. */
  readonly problem?: string;
  /** What is lost by that. */
  readonly cost?: string;
  /** It is tried again and again, and works as soon as the problem is gone. */
  readonly waits?: boolean;
}

export interface CaptureStatus {
  /** The kernel's own log, or the file in its place. */
  readonly kernelLog: Reader;
  readonly processEvents: Reader;
  /** The processes known when capture was armed. */
  readonly processes: number;
  /** How many lines of an earlier run's journal were taken over. */
  readonly restored: number;
  /** To be written to (8 bytes, not 0) after `stop` is set: it ends the wait at once. */
  readonly wakeFd?: number;
}

export type CaptureMessage =
  /**
   * Descriptors that Node.js does not know of and that outlive the thread, however it ends: the main thread closes them
   * when it has ended, so that nobody writes to a number that somebody else has got meanwhile.
   */
  | { readonly type: 'opened'; readonly descriptors: readonly number[] }
  | { readonly type: 'armed'; readonly status: CaptureStatus }
  /** Incidents in kernel order; everything up to `place` is contained in them or of no interest. */
  | {
      readonly type: 'witnessed';
      readonly incidents: readonly Incident[];
      readonly place: Place | undefined;
      /** How many of them happened before this thread was started. */
      readonly missed: number;
    }
  | { readonly type: 'place'; readonly place: Place }
  /** The log file cannot be read any more, or again. */
  | { readonly type: 'kernel-log'; readonly reader: Reader }
  | { readonly type: 'log-changed'; readonly how: 'renamed' | 'truncated' | 'made anew' }
  | { readonly type: 'log-gap'; readonly reason: string }
  | { readonly type: 'lost'; readonly records: number; readonly sequence: number }
  | { readonly type: 'overrun'; readonly reader: 'kmsg' | 'process events' }
  | { readonly type: 'no-victim'; readonly cgroup: string | undefined; readonly times: number }
  | { readonly type: 'journal-failed'; readonly problem: string }
  /** What the kernel told here is lost by a mistake of ours; what stands around it is not. */
  | { readonly type: 'untold'; readonly where: string; readonly problem: string }
  | { readonly type: 'stopped'; readonly place: Place | undefined };
