import type { Option } from './config/option.ts';
import type { EventFormat } from './event-format.ts';
import type { Incident, IncidentHost, IncidentKind } from './incident.ts';
import type { KubernetesApi } from './kubernetes/api.ts';

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
  /** Absent where the API of Kubernetes is not used. */
  readonly kubernetes?: {
    /** A connection of the sink's own, for it to close. Fails where the settings cannot be read, not because the API is down. */
    readonly connect: () => Promise<KubernetesApi>;
    /** This machine's name in Kubernetes, where it is not the host's. */
    readonly nodeName?: string;
    /** The incidents are those of all nodes, and nobody else tells of them. */
    readonly everywhere?: boolean;
  };
  /** One line of the agent's own log, for what is worth saying and is not an outcome. */
  readonly log: (
    level: 'debug' | 'info' | 'warn' | 'error',
    message: string,
    fields?: Record<string, unknown>,
  ) => void;
}

/** What the agent's own options come to, for sinks that are on by themselves. */
export interface SinkSurroundings {
  /** The API of Kubernetes is used: `SinkContext.kubernetes` will be there. */
  readonly useKubernetes: boolean;
  /** Incidents of the kind `oom_restart` are made. */
  readonly tellRestarts: boolean;
}

/** What each file under `sinks/` exports. `Settings` is whatever `settings()` makes of the options' parsed values. */
export interface SinkModule<Settings = unknown> {
  readonly options: readonly Option[];
  /** How many incidents one call of `deliver` may get; default 1. */
  readonly batchSize?: number;
  /** What it is to get; default: everything but `oom_restart`, which tells nothing new of a kill. */
  kinds?(settings: Settings): readonly IncidentKind[];
  /**
   * The parsed values by option name (undefined where unset) -> settings, or undefined where nobody asked for this
   * sink. Throws OptionError that names the option and the mend (a missing partner, two that exclude each other).
   * Called again when a file that gave one of the values was replaced. Starts nothing.
   */
  settings(values: Readonly<Record<string, unknown>>, surroundings: SinkSurroundings): Settings | undefined;
  /** Loads the client and returns the sink; does not fail because the server is down. */
  open(settings: Settings, context: SinkContext): Promise<Sink>;
}

/** Whether the sink is to get incidents of this kind. */
export function takesKind<Settings>(
  module: Pick<SinkModule<Settings>, 'kinds'>,
  settings: Settings,
  kind: IncidentKind,
): boolean {
  return module.kinds?.(settings).includes(kind) ?? kind !== 'oom_restart';
}
