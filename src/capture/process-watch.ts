/**
 * Keeps the process table true: by process events as they happen, by scans of /proc at the start, after an overrun and
 * where there are no events, by re-reading everybody in turn, and over a restart of the agent by a journal.
 */
import { BackgroundIo } from '../kernel/background-io.ts';
import { CLONE_NEWCGROUP, type Libc, type LoadedLibc } from '../kernel/libc.ts';
import { enterNamespace, type ProcConnector, type ProcEventHandler } from '../kernel/proc-connector.ts';
import { ProcFiles } from '../kernel/proc-files.ts';
import { Images } from '../processes/images.ts';
import { JournalReplay } from '../processes/journal-replay.ts';
import { ProcScan } from '../processes/proc-scan.ts';
import { ProcessEvents } from '../processes/process-events.ts';
import { ProcessJournalFile } from '../processes/process-journal.ts';
import { ProcessLookup } from '../processes/process-lookup.ts';
import { ProcessTable } from '../processes/process-table.ts';
import { Redactor } from '../redact.ts';
import type { CaptureClock } from './clock.ts';
import type { Counters } from './counters.ts';
import { foreignPidNamespace } from './pid-namespace.ts';
import { openProcessEvents } from './process-events.ts';
import type { CaptureMessage, CaptureOptions, CaptureStatus, Reader } from './protocol.ts';

const SCANS_ONLY =
  'command lines come from scans of /proc: processes that live for less than a scan are missed';

/** More than the socket holds: after so many, all that were sent before the first of them was taken have been. */
const EVENTS_PER_TURN = 20_000;
/** They take some 20 ms (measured), and many times that where others have the processor. */
const EVENTS_PER_LOOK = 1_000;
const SCANNED_PER_TURN = 100;

const REFRESH_MS = 1_000;
/** Everybody is read again within a minute, but never more than this many processes a second. */
const FASTEST_REFRESH = 200;
const FASTEST_SCAN_MS = 100;

const PLAIN = { args: (args: readonly string[]) => ({ args, count: 0 }) };

export class ProcessWatch {
  /** Why nothing in /proc can be matched with the kernel's log; undefined: it can. */
  readonly foreign: string | undefined;
  readonly lookup: ProcessLookup;
  readonly #options: CaptureOptions;
  readonly #clock: CaptureClock;
  readonly #counters: Counters;
  readonly #post: (message: CaptureMessage) => void;
  readonly #files: ProcFiles;
  readonly #images: Images;
  readonly #table: ProcessTable;
  readonly #scan: ProcScan;
  readonly #events: ProcessEvents;
  #journal: ProcessJournalFile | undefined;
  #connector: ProcConnector | undefined;
  #reader: Reader = { works: false };
  #restored = 0;
  #suspended: number;
  #scanning = false;
  #nextRefresh = 0;
  #scanEvery: number;
  #nextScan = 0;

  constructor(
    options: CaptureOptions,
    clock: CaptureClock,
    counters: Counters,
    post: (message: CaptureMessage) => void,
  ) {
    this.#options = options;
    this.#clock = clock;
    this.#counters = counters;
    this.#post = post;
    this.#scanEvery = options.processRefreshMs;
    this.foreign = foreignPidNamespace(options.paths.proc);
    const io = BackgroundIo.load();
    this.#files = new ProcFiles(options.paths.proc, () => this.#suspended, io);
    this.#suspended = this.#timeInSuspend();
    const now = () => clock.now();
    this.#images = new Images(this.#files, options.redact ? new Redactor(options.redactPatterns) : PLAIN);
    if (this.foreign === undefined)
      this.#journal = new ProcessJournalFile(
        options.journal,
        options.host.boot_id,
        this.#images,
        this.#files,
        now,
        (error) => post({ type: 'journal-failed', problem: error.message }),
        io,
      );
    this.#table = new ProcessTable(this.#files, this.#images, now);
    this.#scan = new ProcScan(this.#table, this.#files, this.#images, now);
    this.#events = new ProcessEvents(this.#table, this.#files, this.#images, this.#scan, now);
    this.lookup = new ProcessLookup(this.#table, this.#files, this.#images, clock);
  }

  get status(): Pick<CaptureStatus, 'processEvents' | 'processes' | 'restored'> {
    return { processEvents: this.#reader, processes: this.#table.size, restored: this.#restored };
  }

  /** Becomes readable when there are process events. */
  get fd(): number | undefined {
    return this.#connector?.fd;
  }

  /** Everybody who is there, and from now on whoever comes, as far as `drain` is called. */
  meet(loaded: LoadedLibc): void {
    this.#reader = this.#openEvents(loaded);
    this.#restored = this.#journal?.restore(new JournalReplay(this.#table, this.#images)) ?? 0;
    if (this.foreign === undefined) {
      this.#scan.begin();
      while (this.#scan.continue(SCANNED_PER_TURN)) {
        this.#counters.set('heartbeat', this.#clock.now());
        this.drain();
      }
      this.#counters.add('scans', 1);
    }
  }

  /** @param keeps whether the next run shall know what this one does */
  startJournal(keeps: boolean): void {
    if (!keeps) this.#journal = undefined;
    this.#journal?.rewrite(this.#table);
  }

  /**
   * Takes the process events that have arrived.
   *
   * @param lookElsewhere called as often as there are many, for what cannot wait until all are taken
   */
  drain(lookElsewhere = () => {}): void {
    let overrun = false;
    for (let taken = 0; taken < EVENTS_PER_TURN; taken += EVENTS_PER_LOOK) {
      const state = this.#connector?.drain(this.#counting, EVENTS_PER_LOOK) ?? 'empty';
      if (state === 'empty') break;
      if (state === 'overrun') overrun = true;
      lookElsewhere();
    }
    if (!overrun) return;
    this.#counters.add('connectorOverruns', 1);
    this.#post({ type: 'overrun', reader: 'process events' });
    this.#scan.begin();
    this.#scanning = true;
    this.#counters.add('scans', 1);
  }

  /** A part of whatever is due. */
  turn(now: number): void {
    if (this.#scanning) this.#scanning = this.#scan.continue(SCANNED_PER_TURN);
    if (this.#scansOnly && now >= this.#nextScan) this.#findNew(now);
    if (now >= this.#nextRefresh) this.#refresh(now);
    this.#journal?.flush(this.#table, now);
  }

  /** When `turn` will have something to do, CLOCK_MONOTONIC ms. */
  get dueAt(): number {
    if (this.#scanning) return 0;
    const scan = this.#scansOnly ? this.#nextScan : Number.POSITIVE_INFINITY;
    return Math.min(this.#nextRefresh, scan, this.#journal?.dueAt ?? Number.POSITIVE_INFINITY);
  }

  closeJournal(): void {
    this.#journal?.flush(this.#table, Number.POSITIVE_INFINITY);
    this.#journal?.close();
  }

  #openEvents(loaded: LoadedLibc): Reader {
    if (this.foreign !== undefined)
      return { works: false, problem: this.foreign, cost: 'no command line is known' };
    if ('missing' in loaded) return { works: false, problem: loaded.missing, cost: SCANS_ONLY };
    const { proc } = this.#options.paths;
    enterHostCgroupNamespace(loaded.libc, proc);
    try {
      this.#connector = openProcessEvents(loaded.libc, proc, this.#events, () => this.#clock.now());
      this.#post({ type: 'opened', descriptors: [this.#connector.fd] });
      return { works: true };
    } catch (error) {
      return { works: false, problem: (error as Error).message, cost: SCANS_ONLY };
    }
  }

  /** Whether scans of /proc stand in for process events. */
  get #scansOnly(): boolean {
    return this.#connector === undefined && this.foreign === undefined;
  }

  readonly #counting: ProcEventHandler = {
    fork: (pid, parentPid, time) => {
      this.#counters.add('forks', 1);
      this.#events.fork(pid, parentPid, time);
    },
    thread: (pid, threadId) => this.#events.thread(pid, threadId),
    exec: (pid, time) => {
      this.#counters.add('execs', 1);
      this.#events.exec(pid, time);
    },
    exit: (pid, status, time) => {
      this.#counters.add('exits', 1);
      this.#events.exit(pid, status, time);
    },
  };

  /** The more processes come and go, the more often; never more often than ten times a second. */
  #findNew(now: number): void {
    const found = this.#scan.findNew();
    this.#counters.add('scans', 1);
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
    this.#counters.set('tableEntries', this.#table.size);
    this.#counters.set('tableBytes', this.#table.bytes);
  }

  /** It grows while the machine sleeps, so it is asked for again and again. */
  #timeInSuspend(): number {
    return this.#files.uptime() - this.#clock.now();
  }
}

/**
 * Seen from another cgroup namespace, the paths of /proc/PID/cgroup are not those that the kernel logs. Where process 1 may
 * not be looked at, the first kernel thread may.
 */
function enterHostCgroupNamespace(libc: Libc, procRoot: string): void {
  for (const pid of [1, 2])
    try {
      enterNamespace(libc, `${procRoot}/${pid}/ns/cgroup`, CLONE_NEWCGROUP);
      return;
    } catch {
      // Without the right to, this is most likely the host's namespace already.
    }
}
