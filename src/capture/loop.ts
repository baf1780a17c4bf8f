/**
 * What the capture thread does: watch -> assemble -> identify -> redact, in one loop around one wait.
 *
 * Order within a turn matters. Kernel records are read first, then process events, and only then are the records looked
 * at: an event that was sent before a kill is known before the kill is named, however late we wake up. Where there are so many
 * events that the kernel's log could be overwritten meanwhile, it is read on among them, for the next turn to look at.
 */

import type { KernelVictim, NoVictim } from '../assemble/kill-report.ts';
import type { Incident } from '../incident.ts';
import type { LoadedLibc } from '../kernel/libc.ts';
import { collectGarbage, FIRST_LOOK_MS, LOOK_MS, SpareMemory } from '../spare-memory.ts';
import type { KillSource, Sighting, SourceContext } from '../watch/kill-source.ts';
import { CaptureClock } from './clock.ts';
import { Counters } from './counters.ts';
import { GroupKillSettings } from './group-kill-settings.ts';
import { identify } from './identify.ts';
import { ProcessWatch } from './process-watch.ts';
import type { CaptureMessage, CaptureOptions, Resumption } from './protocol.ts';
import { PollWaiter, TimedWaiter, type Waiter } from './waiter.ts';

/** What comes faster than this is taken together: at 1,000 exec/s that saves half of the CPU time. */
const BREATH_MS = 1;

/** Without poll(2), how often the kernel log is looked at. 20 empty looks a second cost about 0.05 % of a core. */
const KMSG_LOOK_MS = 50;

export class CaptureLoop {
  readonly #options: CaptureOptions;
  readonly #post: (message: CaptureMessage) => void;
  readonly #clock = new CaptureClock(() => Number(process.hrtime.bigint()) / 1e6, Date.now);
  readonly #counters: Counters;
  readonly #libc: LoadedLibc;
  readonly #groups: GroupKillSettings;
  readonly #processes: ProcessWatch;
  readonly #source: KillSource;
  #waiter: Waiter;
  readonly #spareMemory = new SpareMemory(collectGarbage);
  #nextLookAtMemory = Number.POSITIVE_INFINITY;

  /** Incidents that were posted; wraps around like what counts those that were taken. */
  readonly #posted = new Int32Array(1);

  /** @param open makes the source of kills */
  constructor(
    options: CaptureOptions,
    libc: LoadedLibc,
    post: (message: CaptureMessage) => void,
    open: (context: SourceContext) => KillSource,
  ) {
    this.#options = options;
    this.#libc = libc;
    this.#post = post;
    this.#counters = new Counters(options.counters);
    this.#groups = new GroupKillSettings(options.paths.proc);
    this.#processes = new ProcessWatch(options, this.#clock, this.#counters, post);
    this.#waiter = new TimedWaiter(options.stop, Math.min(KMSG_LOOK_MS, options.kernelLogRefreshMs));
    this.#source = open({
      options,
      clock: this.#clock,
      cgroupOf: (pid) => this.#processes.lookup.cgroup(pid, this.#clock.now()),
      silenceMs: (victim) => this.#groups.silenceMs(this.#cgroupOf(victim)),
      untaken: () => ((this.#posted[0] as number) - Atomics.load(options.taken, 0)) | 0,
      post,
      untold: (where, error) => this.#untold(where, error),
      add: (name, n) => this.#counters.add(name, n),
    });
  }

  /** Everybody who is there, and from now on whoever comes: `keepUp` until `run` does. */
  meetProcesses(): void {
    this.#post({ type: 'opened', descriptors: this.#source.foreignFds });
    this.#processes.meet(this.#libc);
  }

  keepUp(): void {
    this.#beat();
    this.#processes.drain();
  }

  /**
   * Returns when it was told to stop.
   *
   * @throws when a reader that worked fails: whoever started the thread starts another one where this one stopped
   */
  run({ after, keepsJournal }: Resumption): void {
    const kernelLog = this.#source.open(after);
    if ('libc' in this.#libc) {
      const fds = [...this.#source.fds, this.#processes.fd].filter((fd) => fd !== undefined);
      const waiter = new PollWaiter(this.#libc.libc, fds);
      this.#post({ type: 'opened', descriptors: [waiter.wakeFd] });
      this.#waiter = waiter;
    }
    this.#post({
      type: 'armed',
      status: {
        kernelLog,
        ...this.#processes.status,
        ...(this.#waiter.wakeFd !== undefined && { wakeFd: this.#waiter.wakeFd }),
      },
    });
    // Nothing that is seen waits for it: until it is written, the one of the run before stands.
    this.#processes.startJournal(keepsJournal);
    this.#beat();
    this.#nextLookAtMemory = this.#clock.now() + FIRST_LOOK_MS;
    this.#processes.drain();
    this.#source.replay();
    this.#tell();
    try {
      while (Atomics.load(this.#options.stop, 0) === 0) {
        const turnedAt = this.#clock.now();
        const isQuiet = !this.#waiter.wait(this.#timeout());
        if (this.#clock.now() - turnedAt < BREATH_MS) this.#waiter.rest(BREATH_MS);
        this.#turn();
        if (isQuiet && turnedAt >= this.#nextLookAtMemory) this.#lookAtMemory();
      }
    } catch (error) {
      // What is not told yet is read again by the thread that follows.
      this.#close();
      throw error;
    }
    this.#source.end();
    this.#tell();
    this.#post({ type: 'stopped', place: this.#source.place });
    this.#close();
  }

  #turn(): void {
    const now = this.#clock.now();
    this.#beat();
    this.#source.read(this.#isReadable);
    this.#processes.drain(() => this.#readAhead());
    this.#source.understand();
    this.#tell();
    this.#processes.turn(now);
  }

  #readAhead(): void {
    this.#beat();
    this.#waiter.wait(0);
    this.#source.readAhead?.(this.#isReadable);
  }

  readonly #isReadable = (fd: number): boolean => this.#waiter.isReadable(fd);

  #cgroupOf(victim: KernelVictim): string | undefined {
    return victim.cgroup ?? this.#processes.lookup.cgroup(victim.pid, this.#clock.now());
  }

  /** Identifies who was killed and hands it over, together with the place in the log up to which all is told. */
  #tell(): void {
    const told = this.#source.tell();
    if (told === undefined) return;
    const { sightings, noVictims, place } = told;
    for (const [cgroup, times] of countByCgroup(noVictims)) this.#post({ type: 'no-victim', cgroup, times });
    if (sightings.length > 0) {
      const missed = sightings.filter((sighting) => sighting.missed).length;
      const incidents = sightings.flatMap((sighting) => this.#identified(sighting));
      this.#hand({ type: 'witnessed', incidents, place, missed });
    } else if (place !== undefined) this.#post({ type: 'place', place });
  }

  #identified(sighting: Sighting): readonly Incident[] {
    const { lookup, foreign } = this.#processes;
    try {
      return [identify(sighting, lookup, foreign)];
    } catch (error) {
      this.#untold(sighting.id, error);
      return [];
    }
  }

  #hand(message: CaptureMessage & { type: 'witnessed' }): void {
    const { incidents } = message;
    try {
      this.#post(message);
      this.#posted[0] = (this.#posted[0] as number) + incidents.length;
    } catch (error) {
      // Something in one of them is no data.
      const sound = incidents.filter((incident) => this.#isData(incident));
      if (sound.length === incidents.length) throw error;
      this.#hand({ ...message, incidents: sound });
    }
  }

  #isData(incident: Incident): boolean {
    try {
      structuredClone(incident);
      return true;
    } catch (error) {
      this.#untold(incident.id, error);
      return false;
    }
  }

  #untold(where: string, error: unknown): void {
    this.#counters.add('untold', 1);
    const problem = error instanceof Error ? error.message || error.name : String(error);
    this.#post({ type: 'untold', where, problem });
  }

  /** What lives for less than the thread stands still meanwhile dies unknown: only where nothing goes on. */
  #lookAtMemory(): void {
    this.#spareMemory.look();
    this.#nextLookAtMemory = this.#clock.now() + LOOK_MS;
  }

  #timeout(): number {
    return Math.max(0, Math.min(this.#source.dueAt, this.#processes.dueAt) - this.#clock.now());
  }

  #close(): void {
    this.#processes.closeJournal();
    this.#source.close();
  }

  #beat(): void {
    this.#counters.set('heartbeat', this.#clock.now());
  }
}

function countByCgroup(noVictims: readonly NoVictim[]): Map<string | undefined, number> {
  const times = new Map<string | undefined, number>();
  for (const { cgroup } of noVictims) times.set(cgroup, (times.get(cgroup) ?? 0) + 1);
  return times;
}
