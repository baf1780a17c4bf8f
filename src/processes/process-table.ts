/**
 * Who every process is, known before the kernel names it: pid -> command line, executable, cgroup, parent, start.
 *
 * Fed by the proc connector's events as they happen, by scans of /proc (at start, after an overrun, and all the time
 * where there is no connector) and by a slow re-reading that catches titles set later (nginx, postgres).
 *
 * Memory is bounded: MAX_ENTRIES entries; MAX_BYTES of command lines (images.ts), over which new ones are cut
 * short and say so; the dead for a while (the-dead.ts).
 *
 * All times are CLOCK_MONOTONIC in ms.
 */

import type { CaptureSource } from '../incident.ts';
import type { ProcEventHandler } from '../kernel/proc-connector.ts';
import type { ProcFiles } from '../kernel/proc-files.ts';
import type { CapturedProcess } from './captured-process.ts';
import { type ArgumentRedactor, type Image, Images } from './images.ts';
import { type Entry, newEntry, type ProcessRecord, recordOf } from './process-entry.ts';
import { TheDead } from './the-dead.ts';

const MAX_ENTRIES = 100_000;
const OVERHEAD_BYTES = 200;

const SIGKILL = 9;

/** A start read from /proc has 10 ms steps, and a fork event is sent a little after the start that it tells of. */
const SAME_START_MS = 100;

/** A forked child has set its title by then, if it ever does. */
const TITLE_AFTER_MS = 500;
const MAX_YOUNG = 4_096;
/** Read again at one refresh, besides those whose turn it is: about 4 ms. */
const YOUNG_AT_ONCE = 200;

/** A process found by a scan is read again by the following ones until it is this old in the table. */
const SETTLED_AFTER_MS = 2_000;

const MAYBE_EXECUTED = 'it was forked just before the agent went down and may have executed something since';

/** Told of every change in the order in which it happened, so that the table outlives the agent. */
export interface ProcessJournal {
  image(record: ProcessRecord): void;
  fork(pid: number, parentPid: number, time: number): void;
  exit(pid: number, status: number, time: number): void;
}

export interface ProcessTableOptions {
  readonly files: ProcFiles;
  readonly redactor: ArgumentRedactor;
  /** CLOCK_MONOTONIC, ms */
  readonly now: () => number;
  /** CLOCK_BOOTTIME minus CLOCK_MONOTONIC, ms: the time spent in suspend. */
  readonly suspended: () => number;
  /** Milliseconds since the epoch of a monotonic time. */
  readonly wallTime: (monotonic: number) => number;
  readonly journal?: ProcessJournal;
}

export class ProcessTable implements ProcEventHandler {
  readonly #files: ProcFiles;
  readonly #images: Images;
  readonly #now: () => number;
  readonly #suspended: () => number;
  readonly #wallTime: (monotonic: number) => number;
  readonly #journal: ProcessJournal | undefined;
  readonly #entries = new Map<number, Entry>();
  readonly #dead: TheDead;
  #young: Entry[] = [];
  /** Found by scans a moment ago, perhaps between their fork and their exec. */
  #found: { readonly entry: Entry; readonly at: number }[] = [];
  #cursor: Iterator<Entry> | undefined;
  #unscanned: number[] = [];

  constructor(options: ProcessTableOptions) {
    this.#files = options.files;
    this.#images = new Images(options.files, options.redactor);
    this.#now = options.now;
    this.#suspended = options.suspended;
    this.#wallTime = options.wallTime;
    this.#journal = options.journal;
    this.#dead = new TheDead(
      (entry) => this.#livesOn(entry),
      (entry) => this.#drop(entry),
    );
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Of the command lines and what holds them; an estimate, 200 bytes for each entry. */
  get bytes(): number {
    return this.#images.bytes + this.#entries.size * OVERHEAD_BYTES;
  }

  fork(pid: number, parentPid: number, time: number): void {
    const parent = this.#alive(parentPid);
    if (parent === undefined) {
      const image = this.#images.read(pid, time);
      this.#add(pid, parentPid, time, 'scan', image);
      this.#journalImage(pid);
      return;
    }
    const child = this.#add(pid, parentPid, time, 'inherited', parent.image);
    this.#journal?.fork(pid, parentPid, time);
    if (this.#young.length < MAX_YOUNG) this.#young.push(child);
  }

  /** The first thread may have exited before its process was looked at: another one still has the memory. */
  thread(pid: number, threadId: number): void {
    const entry = this.#alive(pid);
    if (entry === undefined) return;
    entry.threaded = true;
    if (entry.image.args !== undefined) return;
    const image = this.#images.read(threadId, this.#now());
    if (image.args === undefined || this.#files.threadGroup(threadId) !== pid) return;
    this.#replaceImage(entry, image);
    this.#journalImage(pid);
  }

  /** What it was before is forgotten even when what it is now cannot be read: a wrong command line is worse than none. */
  exec(pid: number, time: number): void {
    const image = this.#images.read(pid, time);
    const entry = this.#alive(pid);
    if (entry === undefined) {
      const stat = this.#files.stat(pid);
      this.#add(pid, stat?.parentPid, this.#monotonic(stat?.start), 'exec', image);
    } else {
      this.#replaceImage(entry, image);
      entry.source = 'exec';
      entry.threaded = false;
    }
    this.#journalImage(pid);
  }

  exit(pid: number, status: number, time: number): void {
    const entry = this.#alive(pid);
    if (entry === undefined) return;
    this.#journal?.exit(pid, status, time);
    this.#dead.bury(entry, (status & 0x7f) === SIGKILL, time);
  }

  /** Puts every process of /proc on the list of `continueScan`. */
  beginScan(): void {
    this.#unscanned = this.#files.pids();
    const there = new Set(this.#unscanned);
    // Whoever is gone died unseen, perhaps by the OOM killer: kept as long as the killed are.
    for (const entry of [...this.#entries.values()])
      if (entry.exitedAt === undefined && !there.has(entry.pid)) this.#dead.bury(entry, true, this.#now());
  }

  /** Looks at up to `limit` processes of the scan; false when it is done. A scan must not make us miss events. */
  continueScan(limit: number): boolean {
    for (let i = 0; i < limit; i++) {
      const pid = this.#unscanned.pop();
      if (pid === undefined) return false;
      this.#look(pid);
    }
    return this.#unscanned.length > 0;
  }

  /** Adds the processes of /proc that are not known yet; the way of knowing where there are no events. */
  scanForNew(): number {
    const now = this.#now();
    this.#found = this.#found.filter(
      ({ entry, at }) => entry.exitedAt === undefined && now - at < SETTLED_AFTER_MS,
    );
    for (const { entry } of this.#found) this.#reread(entry);
    const pids = this.#files.pids();
    const there = new Set(pids);
    let found = 0;
    for (const pid of pids) {
      const entry = this.#entries.get(pid);
      if (entry !== undefined && entry.exitedAt === undefined) continue;
      this.#look(pid);
      const added = this.#alive(pid);
      if (added !== undefined && this.#found.length < MAX_YOUNG) this.#found.push({ entry: added, at: now });
      found++;
    }
    for (const entry of [...this.#entries.values()])
      if (entry.exitedAt === undefined && !there.has(entry.pid)) this.#dead.bury(entry, true, now);
    return found;
  }

  /**
   * Reads up to `limit` command lines again: first children that were forked a moment ago, then everybody in turn.
   *
   * @param verifyStart without events a pid may have changed hands: its start is compared too
   */
  refresh(limit: number, verifyStart: boolean): void {
    const now = this.#now();
    for (let young = 0; young < YOUNG_AT_ONCE; young++) {
      const youngest = this.#young[0];
      if (youngest === undefined || now - (youngest.start ?? now) < TITLE_AFTER_MS) break;
      this.#young.shift();
      if (youngest.exitedAt !== undefined || youngest.source !== 'inherited') continue;
      this.#reread(youngest);
    }
    for (let left = limit; left > 0; left--) {
      this.#cursor ??= this.#entries.values();
      const next = this.#cursor.next();
      if (next.done) {
        this.#cursor = undefined;
        break;
      }
      if (next.value.exitedAt !== undefined) continue;
      if (verifyStart) this.#look(next.value.pid);
      else this.#reread(next.value);
    }
    this.#dead.forget(now);
  }

  /** The cgroup of whoever had this pid when the kernel killed it. */
  cgroup(pid: number, killedAt: number): string | undefined {
    return this.#find(pid, killedAt)?.image.cgroup;
  }

  /** The process that a thread belongs to, while the thread is there. */
  processOfThread(tid: number): number | undefined {
    return this.#entries.has(tid) ? tid : this.#files.threadGroup(tid);
  }

  /** Everything known of whoever had this pid at that time; a last look at /proc where nothing is. */
  capture(pid: number, killedAt: number): CapturedProcess | undefined {
    const entry = this.#find(pid, killedAt);
    if (entry?.image.args !== undefined) return this.#captured(entry);
    if (entry?.exitedAt === undefined) {
      const stat = this.#files.stat(pid);
      const start = this.#monotonic(stat?.start);
      if (stat !== undefined && start !== undefined && start <= killedAt) {
        const image = this.#images.read(pid, this.#now());
        if (image.args !== undefined)
          return this.#captured({ ...newEntry(pid, stat.parentPid, start, 'live', image), source: 'live' });
      }
    }
    return entry === undefined ? undefined : this.#captured(entry);
  }

  /** Takes over what a journal of an earlier run says; a scan must follow. */
  restore(record: ProcessRecord): void {
    const image = this.#images.restore(record);
    let entry = this.#alive(record.pid);
    if (entry === undefined)
      entry = this.#add(record.pid, record.parentPid, record.start, record.source, image);
    else {
      this.#replaceImage(entry, image);
      entry.source = record.source;
    }
    // The journal does not say.
    entry.threaded = true;
  }

  restoreFork(pid: number, parentPid: number, time: number): void {
    const parent = this.#alive(parentPid);
    if (parent !== undefined) this.#add(pid, parentPid, time, 'inherited', parent.image);
  }

  restoreExit(pid: number, status: number, time: number): void {
    const entry = this.#alive(pid);
    if (entry !== undefined) this.#dead.bury(entry, (status & 0x7f) === SIGKILL, time);
  }

  /**
   * Forgets the command lines of processes that were started after this time and were still what their parent is: what
   * they executed next happened unseen. To be called between the last `restore` and the scan, which reads those that are
   * still there.
   */
  distrustStartsSince(time: number): void {
    for (const entry of this.#entries.values()) {
      if (entry.source === 'exec' || (entry.start ?? 0) < time) continue;
      const parent = entry.parentPid === undefined ? undefined : this.#entries.get(entry.parentPid);
      if (parent !== undefined && parent.image.args !== entry.image.args) continue;
      const { executable, cgroup, readAt } = entry.image;
      const missing = MAYBE_EXECUTED;
      this.#replaceImage(entry, {
        args: undefined,
        missing,
        executable,
        cgroup,
        truncated: false,
        redacted: 0,
        readAt,
        references: 0,
      });
    }
  }

  /** Tells a fresh journal of everybody who may still be asked for: first those that were killed, then the living. */
  tell(journal: ProcessJournal): void {
    for (const entry of this.#dead.killed) {
      if (entry.dropped) continue;
      journal.image(recordOf(entry));
      journal.exit(entry.pid, SIGKILL, entry.exitedAt as number);
    }
    for (const entry of this.#entries.values())
      if (entry.exitedAt === undefined) journal.image(recordOf(entry));
  }

  #look(pid: number): void {
    const stat = this.#files.stat(pid);
    if (stat === undefined) return;
    const start = this.#monotonic(stat.start) as number;
    const entry = this.#alive(pid);
    if (entry !== undefined) {
      if (entry.start === undefined || Math.abs(entry.start - start) < SAME_START_MS) {
        entry.start ??= start;
        entry.threaded = true;
        this.#reread(entry);
        return;
      }
      this.#dead.bury(entry, true, this.#now());
    }
    const added = this.#add(pid, stat.parentPid, start, 'scan', this.#images.read(pid, this.#now()));
    // Whether a process found by a scan has threads is not known.
    added.threaded = true;
    this.#journalImage(pid);
  }

  /** Keeps what is known when nothing can be read: the process is dying, or a zombie. */
  #reread(entry: Entry): void {
    const now = this.#now();
    const image = this.#images.read(entry.pid, now);
    if (image.args === undefined) return;
    if (image.args === entry.image.args && image.cgroup === entry.image.cgroup) {
      entry.image.readAt = now;
      return;
    }
    this.#replaceImage(entry, image);
    entry.source = 'scan';
    this.#journalImage(entry.pid);
  }

  #captured(entry: Entry): CapturedProcess {
    const { image } = entry;
    const found = image.args !== undefined;
    return {
      pid: entry.pid,
      ...(entry.parentPid !== undefined && { parentPid: entry.parentPid }),
      ...(image.args !== undefined && { args: image.args.split('\0') }),
      ...(image.executable !== undefined && { executable: image.executable }),
      ...(image.cgroup !== undefined && { cgroup: image.cgroup }),
      ...(entry.start !== undefined && { startedAt: this.#wallTime(entry.start) }),
      source: found ? entry.source : 'kernel-comm',
      ...(found && { capturedAt: this.#wallTime(image.readAt) }),
      truncated: image.truncated,
      redacted: image.redacted,
      ...(image.missing !== undefined && { missing: image.missing }),
    };
  }

  #find(pid: number, time: number): Entry | undefined {
    let entry = this.#entries.get(pid);
    while (entry?.start !== undefined && entry.start > time && entry.previous !== undefined)
      entry = entry.previous;
    return entry?.start !== undefined && entry.start > time + SAME_START_MS ? undefined : entry;
  }

  #alive(pid: number): Entry | undefined {
    const entry = this.#entries.get(pid);
    return entry?.exitedAt === undefined ? entry : undefined;
  }

  #add(
    pid: number,
    parentPid: number | undefined,
    start: number | undefined,
    source: CaptureSource,
    image: Image,
  ): Entry {
    const before = this.#entries.get(pid);
    if (before !== undefined && before.exitedAt === undefined) this.#dead.bury(before, true, this.#now());
    const entry = newEntry(pid, parentPid, start, source, image);
    entry.previous = before;
    this.#images.retain(image);
    // Deleted first, so that the map stays in order of age.
    this.#entries.delete(pid);
    this.#entries.set(pid, entry);
    if (this.#entries.size > MAX_ENTRIES) {
      // Not the oldest, which are the machine's own services, but the dead, or else the newest of a fork bomb.
      this.#drop(this.#dead.takeOldest() ?? entry);
    }
    return entry;
  }

  /** A thread-group leader may exit while its other threads live: the kernel can still name the process. */
  #livesOn(entry: Entry): boolean {
    if (this.#entries.get(entry.pid) !== entry) return false;
    const start = this.#monotonic(this.#files.stat(entry.pid)?.start);
    return start !== undefined && entry.start !== undefined && Math.abs(start - entry.start) < SAME_START_MS;
  }

  #drop(entry: Entry): void {
    if (entry.dropped) return;
    entry.dropped = true;
    const newest = this.#entries.get(entry.pid);
    if (newest === entry) this.#entries.delete(entry.pid);
    for (let later = newest; later !== undefined; later = later.previous)
      if (later.previous === entry) later.previous = undefined;
    // Whoever had the pid still earlier was buried earlier: nobody can reach it any more.
    entry.previous = undefined;
    this.#images.release(entry.image);
  }

  #replaceImage(entry: Entry, image: Image): void {
    this.#images.release(entry.image);
    entry.image = image;
    this.#images.retain(image);
  }

  #journalImage(pid: number): void {
    if (this.#journal === undefined) return;
    const entry = this.#alive(pid);
    if (entry !== undefined) this.#journal.image(recordOf(entry));
  }

  #monotonic(start: number | undefined): number | undefined {
    return start === undefined ? undefined : start - this.#suspended();
  }
}
