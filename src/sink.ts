import type { Option } from './config/option.ts';
import type { EventFormat } from './event-format.ts';
import type { Incident, IncidentHost } from './incident.ts';

/** What became of one incident at a sink. A thrown error means `retry` for the whole batch. */
export type Outcome =
  | { readonly kind: 'delivered' }
  /** Worth another try; `afterMs` is the server's own wish (Retry-After). */
  | { readonly kind: 'retry'; readonly reason: string; readonly afterMs?: number }
  /** Will never be accepted: it goes to the dead-letter file with the reason. */
  | { readonly kind: 'rejected'; readonly reason: string };

export const DELIVERED: Outcome = Object.freeze({ kind: 'delivered' });

/** Earlier kills of the same workload (or of the same command on the same host), for people. */
export interface Recurrence {
  /** This is the nth kill within the window, this one included; 1 = the first. */
  readonly nth: number;
  /** RFC 3339; the first and the last kill before this one, absent when nth is 1. */
  readonly firstTime?: string;
  readonly lastTime?: string;
}

export interface Delivery {
  readonly incident: Incident;
  readonly recurrence: Recurrence;
}

/**
 * One destination. It never retries, never queues and never waits on another sink: its courier does that once for
 * all of them (`deliver/courier.ts`). It may connect lazily, and must let go of what it holds in `close()`.
 */
export interface Sink {
  /**
   * Delivers the batch in order and tells the outcome of each, at the same index. `signal` ends it: then whatever is
   * not known to have been taken is reported as `retry` (or the promise rejects).
   */
  deliver(batch: readonly Delivery[], signal: AbortSignal): Promise<readonly Outcome[]>;
  close(): Promise<void>;
}

/** What a sink is given from outside: it touches no global. */
export interface SinkContext {
  readonly host: IncidentHost;
  /** The kernel's whole version line, for `--event-format oom-notifier`. */
  readonly kernelVersionLine: string;
  readonly eventFormat: EventFormat;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly stdout: NodeJS.WritableStream & { readonly isTTY?: boolean; readonly columns?: number };
  /** Called on SIGHUP: reopen files. Returns the function that stops listening. */
  readonly onReopen: (listener: () => void) => () => void;
  /** One line of the agent's own log, for what is worth saying and is not an outcome. */
  readonly log: (
    level: 'debug' | 'info' | 'warn' | 'error',
    message: string,
    fields?: Record<string, unknown>,
  ) => void;
}

/** What each file under `sinks/` exports. `Settings` is whatever `settings()` makes of the options' parsed values. */
export interface SinkModule<Settings = unknown> {
  readonly options: readonly Option[];
  /** How many incidents one call of `deliver` may get; default 1. */
  readonly batchSize?: number;
  /**
   * The parsed values by option name (undefined where unset) -> settings, or undefined where nobody asked for this
   * sink. Throws OptionError that names the option and the mend (a missing partner, two that exclude each other).
   * Reads no file but the ones its options name, and starts nothing.
   */
  settings(values: Readonly<Record<string, unknown>>): Settings | undefined;
  /** Loads the client and returns the sink; does not fail because the server is down. */
  open(settings: Settings, context: SinkContext): Promise<Sink>;
}
