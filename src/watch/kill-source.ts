import type { KernelVictim, KillReport, NoVictim } from '../assemble/kill-report.ts';
import type { CaptureClock } from '../capture/clock.ts';
import type { CounterName } from '../capture/counters.ts';
import type { CaptureMessage, CaptureOptions, Reader } from '../capture/protocol.ts';
import type { IncidentHost, Witness } from '../incident.ts';
import type { Place } from './place.ts';

/** A kill as its source tells it, before anybody has looked up who the victims were. */
export interface Sighting {
  readonly report: KillReport;
  /** The same on every replay. */
  readonly id: string;
  readonly witness: Witness;
  readonly host: IncidentHost;
  /** CLOCK_MONOTONIC, ms: no later than this. */
  readonly killedAt: number;
  /** Milliseconds since the epoch. */
  readonly wallTime: number;
  /** It happened before this thread was started. */
  readonly missed: boolean;
  /** Why nobody in the process table can be a victim of it; undefined: somebody can. */
  readonly stranger?: string;
}

/** What a source has to tell at the end of a turn. */
export interface Told {
  readonly sightings: readonly Sighting[];
  readonly noVictims: readonly NoVictim[];
  /** Up to where everything is told; undefined: not further than before. */
  readonly place?: Place | undefined;
}

/** What a source is given of the loop that it is read in. */
export interface SourceContext {
  readonly options: CaptureOptions;
  readonly clock: CaptureClock;
  /** Where a living or lately killed process is. */
  cgroupOf(pid: number): string | undefined;
  /** How long the kernel has to be silent before the kill of this one is complete, ms. */
  silenceMs(victim: KernelVictim): number;
  /** Incidents that were told and that the main thread is not done with: stored, and named or given up. */
  untaken(): number;
  post(message: CaptureMessage): void;
  /** By a mistake of ours it cannot be understood: that must cost nothing else, now and whenever it is read again. */
  untold(where: string, error: unknown): void;
  add(counter: CounterName, n: number): void;
}

/**
 * Where the capture thread sees kills: the kernel's own log, or a file that another program writes it to. What was read and
 * what it means are apart, because process events are taken in between: one that was sent before a kill is known before the
 * kill is named.
 */
export interface KillSource {
  /**
   * Never throws. What there is to read already is not read before the first turn.
   *
   * @param after what an earlier run has told already; undefined: there was none, and what is there is history
   */
  open(after: Place | undefined): Reader;
  /** They become readable when there is something to read. */
  readonly fds: readonly number[];
  /** Those of them that Node.js does not know of. */
  readonly foreignFds: readonly number[];
  /** What happened before, once the processes are known. */
  replay(): void;
  /** Takes what has arrived. @throws when it cannot go on */
  read(isReadable: (fd: number) => boolean): void;
  /** Takes also what has arrived since, not to be understood before the next `read`; absent: it can wait there. */
  readAhead?(isReadable: (fd: number) => boolean): void;
  /** Understands what `read` took. */
  understand(): void;
  tell(): Told | undefined;
  /** When to look again though nothing has arrived, CLOCK_MONOTONIC ms. */
  readonly dueAt: number;
  /** Nothing more will be read: what was seen is complete. `tell` has the last of it. */
  end(): void;
  /** Up to where everything is told, after `end` and the last `tell`. */
  readonly place: Place | undefined;
  close(): void;
}
