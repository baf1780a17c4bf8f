/**
 * What the capture thread does: watch -> assemble -> identify -> redact, in one loop around one wait.
 *
 * Order within a turn matters. Kernel records are read first, then process events, and only then are the records looked
 * at: an event that was sent before a kill is known before the kill is named, however late we wake up.
 */

import { incidentFromReport } from '../assemble/incident-from-report.ts';
import type { KernelVictim, NoVictim } from '../assemble/kill-report.ts';
import type { Incident } from '../incident.ts';
import { CLONE_NEWCGROUP, type Libc, loadLibc } from '../kernel/libc.ts';
import { enterNamespace, ProcConnector } from '../kernel/proc-connector.ts';
import { ProcFiles } from '../kernel/proc-files.ts';
import type { CapturedProcess } from '../processes/captured-process.ts';
import { Images } from '../processes/images.ts';
import { JournalReplay } from '../processes/journal-replay.ts';
import { ProcScan } from '../processes/proc-scan.ts';
import { ProcessEvents } from '../processes/process-events.ts';
import { ProcessJournalFile } from '../processes/process-journal.ts';
import { ProcessLookup } from '../processes/process-lookup.ts';
import { ProcessTable } from '../processes/process-table.ts';
import { Redactor } from '../redact.ts';
import { collectGarbage, FIRST_LOOK_MS, LOOK_MS, SpareMemory } from '../spare-memory.ts';
import type { KillSource, Sighting, SourceContext } from '../watch/kill-source.ts';
import { CaptureClock } from './clock.ts';
import { GroupKillSettings } from './group-kill-settings.ts';
import { foreignPidNamespace } from './pid-namespace.ts';
import { proveSubscription } from './probe.ts';
import {
  type CaptureMessage,
  type CaptureOptions,
  COUNTERS,
  type CounterName,
  type Reader,
  type Resumption,
} from './protocol.ts';
import { PollWaiter, TimedWaiter, type Waiter } from './waiter.ts';

const EVENTS_PER_TURN = 20_000;
const SCANNED_PER_TURN = 100;

/** What comes faster than this is taken together: at 1,000 exec/s that saves half of the CPU time. */
const BREATH_MS = 1;

const REFRESH_MS = 1_000;
/** Everybody is read again within a minute, but never more than this many processes a second. */
const FASTEST_REFRESH = 200;

/** Without poll(2), how often the kernel log is looked at. 20 empty looks a second cost about 0.05 % of a core. */
const KMSG_LOOK_MS = 50;
const FASTEST_SCAN_MS = 100;

const indexOf = Object.fromEntries(COUNTERS.map((name, index) => [name, index])) as Record<
  CounterName,
  number
>;

const PLAIN = { args: (args: readonly string[]) => ({ args, count: 0 }) };

export class CaptureLoop {
  readonly #options: CaptureOptions;
  readonly #post: (message: CaptureMessage) => void;
  readonly #clock = new CaptureClock(() => Number(process.hrtime.bigint()) / 1e6, Date.now);
  readonly #files: ProcFiles;
  readonly #groups: GroupKillSettings;
  /** Why nothing in /proc can be matched with the kernel's log; undefined: it can. */
  readonly #foreign: string | undefined;
  #journal: ProcessJournalFile | undefined;
  readonly #images: Images;
  readonly #table: ProcessTable;
  readonly #scan: ProcScan;
  readonly #events: ProcessEvents;
  readonly #lookup: ProcessLookup;
  readonly #source: KillSource;
  #libc: Libc | undefined;
  #connector: ProcConnector | undefined;
  #processEvents: Reader = { works: false };
  #restored = 0;
  #waiter: Waiter;
  #scanning = false;
  #suspended: number;
  #nextRefresh = 0;
  #scanEvery: number;
  #nextScan = 0;
  readonly #spareMemory = new SpareMemory(collectGarbage);
  #nextLookAtMemory = Number.POSITIVE_INFINITY;

  /** Incidents that were posted; wraps around like what counts those that were taken. */
  readonly #posted = new Int32Array(1);

  /** @param open makes the source of kills */
  constructor(
    options: CaptureOptions,
    post: (message: CaptureMessage) => void,
    open: (context: SourceContext) => KillSource,
  ) {
    this.#options = options;
    this.#post = post;
    this.#files = new ProcFiles(options.paths.proc, () => this.#suspended);
    this.#groups = new GroupKillSettings(options.paths.proc);
    this.#foreign = foreignPidNamespace(options.paths.proc);
    this.#scanEvery = options.processRefreshMs;
    this.#waiter = new TimedWaiter(options.stop, Math.min(KMSG_LOOK_MS, options.kernelLogRefreshMs));
    if (this.#foreign === undefined)
      this.#journal = new ProcessJournalFile(options.journal, options.host.boot_id, (error) =>
        post({ type: 'journal-failed', problem: error.message }),
      );
    this.#suspended = this.#timeInSuspend();
    const now = () => this.#clock.now();
    const redactor = options.redact ? new Redactor(options.redactPatterns) : PLAIN;
    this.#images = new Images(this.#files, redactor);
    this.#table = new ProcessTable(this.#files, this.#images, now);
    this.#scan = new ProcScan(this.#table, this.#files, this.#images, now);
    this.#events = new ProcessEvents(this.#table, this.#files, this.#images, this.#scan, now);
    this.#lookup = new ProcessLookup(this.#table, this.#files, this.#images, this.#clock);
    this.#source = open({
      options,
      clock: this.#clock,
      cgroupOf: (pid) => this.#lookup.cgroup(pid, this.#clock.now()),
      silenceMs: (victim) => this.#groups.silenceMs(this.#cgroupOf(victim)),
      untaken: () => ((this.#posted[0] as number) - Atomics.load(options.taken, 0)) | 0,
      post,
      add: (name, n) => this.#add(name, n),
    });
  }

  /** Everybody who is there, and from now on whoever comes: what happens until `run` waits in the socket. */
  meetProcesses(): void {
    this.#processEvents = this.#openProcessEvents();
    this.#restored = this.#journal?.restore(new JournalReplay(this.#table, this.#images)) ?? 0;
    this.#scanAll();
  }

  /**
   * Returns when it was told to stop.
   *
   * @throws when a reader that worked fails: whoever started the thread starts another one where this one stopped
   */
  run({ after, keepsJournal }: Resumption): void {
    const kernelLog = this.#source.open(after);
    if (this.#libc !== undefined) {
      const fds = [...this.#source.fds, this.#connector?.fd].filter((fd) => fd !== undefined);
      this.#waiter = new PollWaiter(this.#libc, fds);
    }
    if (!keepsJournal) this.#journal = undefined;
    this.#journal?.rewrite(this.#table);
    this.#beat();
    this.#post({
      type: 'armed',
      status: {
        kernelLog,
        processEvents: this.#processEvents,
        processes: this.#table.size,
        restored: this.#restored,
        ...(this.#waiter.wakeFd !== undefined && { wakeFd: this.#waiter.wakeFd }),
        descriptors: [this.#waiter.wakeFd, this.#connector?.fd, ...this.#source.foreignFds].filter(
          (fd) => fd !== undefined,
        ),
      },
    });
    this.#nextLookAtMemory = this.#clock.now() + FIRST_LOOK_MS;
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
    } finally {
      this.#close();
    }
  }

  #openProcessEvents(): Reader {
    const loaded = loadLibc();
    if ('missing' in loaded) return { works: false, problem: this.#foreign ?? loaded.missing };
    const { libc } = loaded;
    this.#libc = libc;
    if (this.#foreign !== undefined) return { works: false, problem: this.#foreign };
    // Seen from another cgroup namespace, the paths of /proc/PID/cgroup are not those that the kernel logs. Where
    // process 1 may not be looked at, the first kernel thread may.
    for (const pid of [1, 2])
      try {
        enterNamespace(libc, `${this.#options.paths.proc}/${pid}/ns/cgroup`, CLONE_NEWCGROUP);
        break;
      } catch {
        // Without the right to, this is most likely the host's namespace already.
      }
    try {
      const connector = ProcConnector.open(libc, this.#options.paths.proc);
      const waiter = new PollWaiter(libc, [connector.fd]);
      let problem: string | undefined;
      try {
        problem = proveSubscription(
          libc,
          connector,
          this.#events,
          (ms) => waiter.wait(ms),
          () => this.#clock.now(),
        );
      } finally {
        waiter.close();
      }
      if (problem !== undefined) {
        connector.close();
        throw new Error(problem);
      }
      this.#connector = connector;
      return { works: true };
    } catch (error) {
      return { works: false, problem: (error as Error).message };
    }
  }

  /** Whether scans of /proc stand in for process events. */
  get #scansOnly(): boolean {
    return this.#connector === undefined && this.#foreign === undefined;
  }

  #scanAll(): void {
    if (this.#foreign !== undefined) return;
    this.#scan.begin();
    while (this.#scan.continue(SCANNED_PER_TURN)) this.#drainProcessEvents();
    this.#add('scans', 1);
  }

  #turn(): void {
    const now = this.#clock.now();
    this.#beat();
    this.#source.read((fd) => this.#waiter.isReadable(fd));
    this.#drainProcessEvents();
    this.#source.understand();
    this.#tell();
    if (this.#scanning) this.#scanning = this.#scan.continue(SCANNED_PER_TURN);
    if (this.#scansOnly && now >= this.#nextScan) this.#scanForNew(now);
    if (now >= this.#nextRefresh) this.#refresh(now);
    this.#journal?.flush(this.#table, now);
  }

  #cgroupOf(victim: KernelVictim): string | undefined {
    return victim.cgroup ?? this.#lookup.cgroup(victim.pid, this.#clock.now());
  }

  /** Identifies who was killed and hands it over, together with the place in the log up to which all is told. */
  #tell(): void {
    const told = this.#source.tell();
    if (told === undefined) return;
    const { sightings, noVictims, place } = told;
    for (const [cgroup, times] of countByCgroup(noVictims)) this.#post({ type: 'no-victim', cgroup, times });
    if (sightings.length > 0) {
      const incidents = sightings.map((sighting) => this.#incident(sighting));
      const missed = sightings.filter((sighting) => sighting.missed).length;
      this.#posted[0] = (this.#posted[0] as number) + incidents.length;
      this.#post({ type: 'witnessed', incidents, place, missed });
    } else if (place !== undefined) this.#post({ type: 'place', place });
  }

  #incident(sighting: Sighting): Incident {
    const { report, missed, killedAt } = sighting;
    const stranger = this.#foreign ?? sighting.stranger;
    const victims =
      stranger === undefined ? report.victims.map((victim) => this.#wholeProcess(victim)) : report.victims;
    const captured = victims.map((victim): CapturedProcess | undefined => {
      const process = stranger === undefined ? this.#lookup.capture(victim.pid, killedAt) : undefined;
      const missing = stranger ?? (missed ? NEVER_SEEN : undefined);
      if (process !== undefined || missing === undefined) return process;
      return { pid: victim.pid, source: 'kernel-comm', truncated: false, redacted: 0, missing };
    });
    return incidentFromReport(
      { ...report, victims },
      {
        id: sighting.id,
        time: new Date(sighting.wallTime).toISOString(),
        host: sighting.host,
        witness: sighting.witness,
        captured,
      },
    );
  }

  /** Without the kernel's `oom-kill:` line, a process whose first thread has exited is named by another thread. */
  #wholeProcess(victim: KernelVictim): KernelVictim {
    if (victim.threadId !== undefined) return victim;
    const pid = this.#lookup.processOfThread(victim.pid);
    return pid === undefined || pid === victim.pid ? victim : { ...victim, pid, threadId: victim.pid };
  }

  #drainProcessEvents(): void {
    if (this.#connector?.drain(this.#counting, EVENTS_PER_TURN) !== 'overrun') return;
    this.#add('connectorOverruns', 1);
    this.#post({ type: 'overrun', reader: 'process events' });
    this.#scan.begin();
    this.#scanning = true;
    this.#add('scans', 1);
  }

  readonly #counting = {
    fork: (pid: number, parent: number, time: number) => {
      this.#add('forks', 1);
      this.#events.fork(pid, parent, time);
    },
    thread: (pid: number, threadId: number) => this.#events.thread(pid, threadId),
    exec: (pid: number, time: number) => {
      this.#add('execs', 1);
      this.#events.exec(pid, time);
    },
    exit: (pid: number, status: number, time: number) => {
      this.#add('exits', 1);
      this.#events.exit(pid, status, time);
    },
  };

  /** The more processes come and go, the more often; never more often than ten times a second. */
  #scanForNew(now: number): void {
    const found = this.#scan.findNew();
    this.#add('scans', 1);
    const slowest = Math.min(this.#options.processRefreshMs, REFRESH_MS);
    this.#scanEvery = found > 0 ? FASTEST_SCAN_MS : Math.min(slowest, this.#scanEvery * 2);
    this.#nextScan = now + this.#scanEvery;
  }

  #refresh(now: number): void {
    this.#suspended = this.#timeInSuspend();
    const limit = Math.min(FASTEST_REFRESH, Math.ceil(this.#table.size / 60));
    this.#scan.refresh(limit, this.#connector === undefined);
    this.#table.forget();
    this.#nextRefresh = now + REFRESH_MS;
    this.#set('tableEntries', this.#table.size);
    this.#set('tableBytes', this.#table.bytes);
  }

  /** What lives for less than the thread stands still meanwhile dies unknown: only where nothing goes on. */
  #lookAtMemory(): void {
    this.#spareMemory.look();
    this.#nextLookAtMemory = this.#clock.now() + LOOK_MS;
  }

  /** It grows while the machine sleeps, so it is asked for again and again. */
  #timeInSuspend(): number {
    return this.#files.uptime() - this.#clock.now();
  }

  #timeout(): number {
    if (this.#scanning) return 0;
    const scan = this.#scansOnly ? this.#nextScan : Number.POSITIVE_INFINITY;
    const journal = this.#journal?.dueAt ?? Number.POSITIVE_INFINITY;
    return Math.max(0, Math.min(this.#source.dueAt, this.#nextRefresh, scan, journal) - this.#clock.now());
  }

  #close(): void {
    this.#source.end();
    this.#tell();
    this.#journal?.flush(this.#table, Number.POSITIVE_INFINITY);
    this.#journal?.close();
    this.#post({ type: 'stopped', place: this.#source.place });
    this.#source.close();
  }

  #beat(): void {
    this.#set('heartbeat', this.#clock.now());
  }

  #add(name: CounterName, n: number): void {
    (this.#options.counters[indexOf[name]] as number) += n;
  }

  #set(name: CounterName, value: number): void {
    this.#options.counters[indexOf[name]] = value;
  }
}

const NEVER_SEEN = 'it started and died while the agent was down';

function countByCgroup(noVictims: readonly NoVictim[]): Map<string | undefined, number> {
  const times = new Map<string | undefined, number>();
  for (const { cgroup } of noVictims) times.set(cgroup, (times.get(cgroup) ?? 0) + 1);
  return times;
}
