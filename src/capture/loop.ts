/**
 * What the capture thread does: watch -> assemble -> identify -> redact, in one loop around one wait.
 *
 * Order within a turn matters. Kernel records are read first, then process events, and only then are the records looked
 * at: an event that was sent before a kill is known before the kill is named, however late we wake up.
 */

import { incidentFromReport } from '../assemble/incident-from-report.ts';
import type { KernelVictim, KillReport, NoVictim } from '../assemble/kill-report.ts';
import { Assembler } from '../assemble.ts';
import type { Incident } from '../incident.ts';
import { KmsgReader } from '../kernel/kmsg.ts';
import type { KernelRecord } from '../kernel/kmsg-record.ts';
import { CLONE_NEWCGROUP, loadLibc } from '../kernel/libc.ts';
import { enterNamespace, ProcConnector } from '../kernel/proc-connector.ts';
import { ProcFiles } from '../kernel/proc-files.ts';
import type { CapturedProcess } from '../processes/captured-process.ts';
import { ProcessJournalFile } from '../processes/process-journal.ts';
import { ProcessTable } from '../processes/process-table.ts';
import { Redactor } from '../redact.ts';
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
} from './protocol.ts';
import { PollWaiter, TimedWaiter, type Waiter } from './waiter.ts';

/**
 * Records and events of one turn. While records are read and understood (15 µs each) no exec event is: what lives for a
 * shorter time than a turn dies unknown. A report has 34 records on Linux 5.10 and 109 on 7.2, and ten can come at once.
 */
const RECORDS_PER_TURN = 100;
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
  readonly #journal: ProcessJournalFile | undefined;
  readonly #table: ProcessTable;
  readonly #assembler: Assembler;
  readonly #records: KernelRecord[] = [];
  #kmsg: KmsgReader | undefined;
  #connector: ProcConnector | undefined;
  #waiter: Waiter;
  #reports: KillReport[] = [];
  #noVictims = new Map<string | undefined, number>();
  /** The last record that was in the ring before we came. */
  #historyEnd = -1;
  /** Of the last position that was posted. */
  #posted = -1;
  #settleAt = Number.POSITIVE_INFINITY;
  #scanning = false;
  #suspended: number;
  #nextRefresh = 0;
  #scanEvery: number;
  #nextScan = 0;

  constructor(options: CaptureOptions, post: (message: CaptureMessage) => void) {
    this.#options = options;
    this.#post = post;
    this.#files = new ProcFiles(options.paths.proc);
    this.#groups = new GroupKillSettings(options.paths.proc);
    this.#foreign = foreignPidNamespace(options.paths.proc);
    this.#scanEvery = options.processRefreshMs;
    this.#waiter = new TimedWaiter(options.stop, Math.min(KMSG_LOOK_MS, options.kernelLogRefreshMs));
    if (options.journal !== undefined && this.#foreign === undefined)
      this.#journal = new ProcessJournalFile(options.journal, options.host.boot_id, (error) =>
        post({ type: 'journal-failed', problem: error.message }),
      );
    this.#suspended = this.#timeInSuspend();
    this.#table = new ProcessTable({
      files: this.#files,
      redactor: options.redact ? new Redactor(options.redactPatterns) : PLAIN,
      now: () => this.#clock.now(),
      suspended: () => this.#suspended,
      wallTime: (time) => this.#clock.wallTime(time),
      ...(this.#journal !== undefined && { journal: this.#journal }),
    });
    this.#assembler = new Assembler({
      report: (report) => this.#reports.push(report),
      noVictim: (none) => this.#countNoVictim(none),
      cgroupOf: (pid) => this.#table.cgroup(pid, this.#clock.now()),
    });
  }

  /**
   * Returns when it was told to stop.
   *
   * @throws when a reader that worked fails: whoever started the thread starts another one where this one stopped
   */
  run(): void {
    const history = this.#openKmsg();
    const processEvents = this.#openProcessEvents();
    const restored = this.#journal?.restore(this.#table) ?? 0;
    this.#scanAll();
    this.#journal?.rewrite(this.#table);
    this.#beat();
    this.#post({
      type: 'armed',
      status: {
        kmsg: history.reader,
        processEvents,
        processes: this.#table.size,
        restored,
        ...(this.#waiter.wakeFd !== undefined && { wakeFd: this.#waiter.wakeFd }),
        descriptors: [this.#waiter.wakeFd, this.#connector?.fd].filter((fd) => fd !== undefined),
      },
    });
    this.#replay(history.records);
    try {
      while (Atomics.load(this.#options.stop, 0) === 0) {
        const turnedAt = this.#clock.now();
        this.#waiter.wait(this.#timeout());
        if (this.#clock.now() - turnedAt < BREATH_MS) this.#waiter.rest(BREATH_MS);
        this.#turn();
      }
    } finally {
      this.#close();
    }
  }

  /** Opens the log and reads what it holds already, at once: whatever comes after that is news. */
  #openKmsg(): { reader: Reader; records: KernelRecord[] } {
    const { after, paths } = this.#options;
    const records: KernelRecord[] = [];
    try {
      this.#kmsg = KmsgReader.open(
        paths.kmsg,
        {
          overrun: () => {
            this.#add('kmsgOverruns', 1);
            this.#post({ type: 'overrun', reader: 'kmsg' });
          },
          lost: (count, sequence) => {
            this.#add('kmsgLost', count);
            this.#post({ type: 'lost', records: count, sequence });
          },
        },
        after,
      );
      const take = (record: KernelRecord) => {
        if (after !== undefined) records.push(record);
      };
      while (this.#kmsg.drain(take, RECORDS_PER_TURN) === 'more');
      this.#historyEnd = this.#kmsg.sequence;
      return { reader: { works: true }, records };
    } catch (error) {
      this.#kmsg?.close();
      this.#kmsg = undefined;
      return {
        reader: { works: false, problem: explainKmsg(paths.kmsg, error as NodeJS.ErrnoException) },
        records,
      };
    }
  }

  #openProcessEvents(): Reader {
    const kmsgFd = this.#kmsg === undefined ? [] : [this.#kmsg.fd];
    const loaded = loadLibc();
    if ('missing' in loaded) return { works: false, problem: this.#foreign ?? loaded.missing };
    const { libc } = loaded;
    if (this.#foreign !== undefined) {
      this.#waiter = new PollWaiter(libc, kmsgFd);
      return { works: false, problem: this.#foreign };
    }
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
          this.#table,
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
      this.#waiter = new PollWaiter(libc, [...kmsgFd, connector.fd]);
      return { works: true };
    } catch (error) {
      this.#waiter = new PollWaiter(libc, kmsgFd);
      return { works: false, problem: (error as Error).message };
    }
  }

  /** Whether scans of /proc stand in for process events. */
  get #scansOnly(): boolean {
    return this.#connector === undefined && this.#foreign === undefined;
  }

  #scanAll(): void {
    if (this.#foreign !== undefined) return;
    this.#table.beginScan();
    while (this.#table.continueScan(SCANNED_PER_TURN)) this.#drainProcessEvents();
    this.#add('scans', 1);
  }

  /** Records that were in the ring before we came: missed, unless an earlier run has reported them. */
  #replay(records: readonly KernelRecord[]): void {
    for (const record of records) this.#assembler.push(record);
    // What is still open may go on with live records.
    this.#announce();
    if (!this.#assembler.open) this.#postPosition(this.#kmsg?.sequence ?? -1);
    this.#armSettle();
  }

  #turn(): void {
    const now = this.#clock.now();
    this.#beat();
    let more = false;
    this.#records.length = 0;
    // An empty look costs as much as a process event: node:fs says EAGAIN with an exception.
    if (this.#kmsg !== undefined && this.#waiter.isReadable(this.#kmsg.fd))
      more = this.#kmsg.drain((record) => this.#records.push(record), RECORDS_PER_TURN) === 'more';
    this.#drainProcessEvents();
    this.#assemble(more);
    if (this.#scanning) this.#scanning = this.#table.continueScan(SCANNED_PER_TURN);
    if (this.#scansOnly && now >= this.#nextScan) this.#scanForNew(now);
    if (now >= this.#nextRefresh) this.#refresh(now);
    this.#journal?.flush(this.#table, now);
  }

  #assemble(more: boolean): void {
    const records = this.#records;
    if (records.length > 0) {
      this.#add('kmsgRecords', records.length);
      // Only when the ring has been emptied is the newest record as late as our waking up, no later.
      if (!more) this.#clock.observe((records[records.length - 1] as KernelRecord).timestampUs);
      for (const record of records) this.#assembler.push(record);
      this.#armSettle();
    }
    if (this.#clock.now() >= this.#settleAt && !more) {
      this.#assembler.settle();
      this.#settleAt = Number.POSITIVE_INFINITY;
    }
    this.#announce();
  }

  /** How long the kernel has to be silent before an open kill is told: no time at all unless it may kill a group. */
  #armSettle(): void {
    const victim = this.#assembler.lastVictim;
    this.#settleAt =
      victim === undefined
        ? Number.POSITIVE_INFINITY
        : this.#clock.now() + this.#groups.silenceMs(this.#cgroupOf(victim));
  }

  #cgroupOf(victim: KernelVictim): string | undefined {
    return victim.cgroup ?? this.#table.cgroup(victim.pid, this.#clock.now());
  }

  /** Identifies what was assembled and hands it over, together with the place in the log up to which all is told. */
  #announce(): void {
    for (const [cgroup, times] of this.#noVictims) this.#post({ type: 'no-victim', cgroup, times });
    this.#noVictims.clear();
    if (this.#reports.length === 0) {
      const { sequence } = this.#kmsg ?? { sequence: -1 };
      if (sequence - this.#posted >= 1_000 && !this.#assembler.open) this.#postPosition(sequence);
      return;
    }
    const incidents = this.#reports.map((report) => this.#incident(report));
    const { openSince } = this.#assembler;
    const last = this.#reports[this.#reports.length - 1] as KillReport;
    this.#posted = openSince === undefined ? Math.max(last.lastSequence, this.#posted) : openSince - 1;
    const missed = this.#reports.filter((report) => this.#isHistory(report)).length;
    this.#reports = [];
    this.#post({ type: 'witnessed', incidents, sequence: this.#posted, missed });
  }

  #postPosition(sequence: number): void {
    this.#posted = sequence;
    this.#post({ type: 'position', sequence });
  }

  #isHistory(report: KillReport): boolean {
    return report.lastSequence <= this.#historyEnd;
  }

  #incident(report: KillReport): Incident {
    const { host } = this.#options;
    const missed = this.#isHistory(report);
    const killedAt =
      report.timestampUs === undefined ? this.#clock.now() : this.#clock.ofKernel(report.timestampUs);
    const victims = report.victims.map((victim) => this.#wholeProcess(victim));
    const captured = victims.map((victim): CapturedProcess | undefined => {
      const process = this.#foreign === undefined ? this.#table.capture(victim.pid, killedAt) : undefined;
      const missing = this.#foreign ?? (missed ? NEVER_SEEN : undefined);
      if (process !== undefined || missing === undefined) return process;
      return { pid: victim.pid, source: 'kernel-comm', truncated: false, redacted: 0, missing };
    });
    const wall = missed ? this.#clock.wallTime(killedAt) : Date.now();
    const unknown = missed
      ? { ...report.unknown, time: "converted from the kernel's clock, which may be off after a long uptime" }
      : report.unknown;
    return incidentFromReport(
      { ...report, victims, unknown },
      {
        id: `${host.boot_id}:${report.firstSequence}`,
        time: new Date(wall).toISOString(),
        host: { name: host.name, boot_id: host.boot_id, kernel: host.kernel, arch: host.arch },
        witness: 'kmsg',
        captured,
      },
    );
  }

  /** Without the kernel's `oom-kill:` line, a process whose first thread has exited is named by another thread. */
  #wholeProcess(victim: KernelVictim): KernelVictim {
    if (victim.threadId !== undefined || this.#foreign !== undefined) return victim;
    const pid = this.#table.processOfThread(victim.pid);
    return pid === undefined || pid === victim.pid ? victim : { ...victim, pid, threadId: victim.pid };
  }

  #drainProcessEvents(): void {
    if (this.#connector?.drain(this.#counting, EVENTS_PER_TURN) !== 'overrun') return;
    this.#add('connectorOverruns', 1);
    this.#post({ type: 'overrun', reader: 'process events' });
    this.#table.beginScan();
    this.#scanning = true;
    this.#add('scans', 1);
  }

  readonly #counting = {
    fork: (pid: number, parent: number, time: number) => {
      this.#add('forks', 1);
      this.#table.fork(pid, parent, time);
    },
    thread: (pid: number, threadId: number) => this.#table.thread(pid, threadId),
    exec: (pid: number, time: number) => {
      this.#add('execs', 1);
      this.#table.exec(pid, time);
    },
    exit: (pid: number, status: number, time: number) => {
      this.#add('exits', 1);
      this.#table.exit(pid, status, time);
    },
  };

  /** The more processes come and go, the more often; never more often than ten times a second. */
  #scanForNew(now: number): void {
    const found = this.#table.scanForNew();
    this.#add('scans', 1);
    const slowest = Math.min(this.#options.processRefreshMs, REFRESH_MS);
    this.#scanEvery = found > 0 ? FASTEST_SCAN_MS : Math.min(slowest, this.#scanEvery * 2);
    this.#nextScan = now + this.#scanEvery;
  }

  #refresh(now: number): void {
    this.#suspended = this.#timeInSuspend();
    this.#table.refresh(
      Math.min(FASTEST_REFRESH, Math.ceil(this.#table.size / 60)),
      this.#connector === undefined,
    );
    this.#nextRefresh = now + REFRESH_MS;
    this.#set('tableEntries', this.#table.size);
    this.#set('tableBytes', this.#table.bytes);
  }

  /** It grows while the machine sleeps, so it is asked for again and again. */
  #timeInSuspend(): number {
    return this.#files.uptime() - this.#clock.now();
  }

  #timeout(): number {
    if (this.#scanning) return 0;
    const scan = this.#scansOnly ? this.#nextScan : Number.POSITIVE_INFINITY;
    const journal = this.#journal?.dueAt ?? Number.POSITIVE_INFINITY;
    return Math.max(0, Math.min(this.#settleAt, this.#nextRefresh, scan, journal) - this.#clock.now());
  }

  #countNoVictim(none: NoVictim): void {
    this.#noVictims.set(none.cgroup, (this.#noVictims.get(none.cgroup) ?? 0) + 1);
  }

  #close(): void {
    this.#assembler.settle();
    this.#announce();
    this.#journal?.flush(this.#table, Number.POSITIVE_INFINITY);
    this.#journal?.close();
    this.#post({
      type: 'stopped',
      sequence:
        this.#assembler.openSince === undefined
          ? (this.#kmsg?.sequence ?? -1)
          : this.#assembler.openSince - 1,
    });
    this.#kmsg?.close();
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

function explainKmsg(path: string, error: NodeJS.ErrnoException): string {
  switch (error.code) {
    case 'EACCES':
    case 'EPERM':
      return `${path}: permission denied. Run as root, or give the container CAP_SYSLOG and the device`;
    case 'ENOENT':
      return `${path}: not there. Mount the host's /dev/kmsg`;
    case undefined:
      return error.message;
    default:
      return `${path}: ${error.message}`;
  }
}
