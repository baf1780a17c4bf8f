/** Who it was that the kernel names by a number. */
import type { ProcFiles } from '../kernel/proc-files.ts';
import type { CapturedProcess } from './captured-process.ts';
import type { Images } from './images.ts';
import { type Entry, newEntry } from './process-entry.ts';
import type { ProcessTable } from './process-table.ts';

export interface ProcessClock {
  /** CLOCK_MONOTONIC, ms */
  now(): number;
  /** Milliseconds since the epoch of a monotonic time. */
  wallTime(monotonic: number): number;
}

export class ProcessLookup {
  readonly #table: ProcessTable;
  readonly #files: ProcFiles;
  readonly #images: Images;
  readonly #clock: ProcessClock;

  constructor(table: ProcessTable, files: ProcFiles, images: Images, clock: ProcessClock) {
    this.#table = table;
    this.#files = files;
    this.#images = images;
    this.#clock = clock;
  }

  /** The cgroup of whoever had this pid when the kernel killed it. */
  cgroup(pid: number, killedAt: number): string | undefined {
    return this.#table.find(pid, killedAt)?.image.cgroup;
  }

  /** The process that a thread belongs to, while the thread is there. */
  processOfThread(tid: number): number | undefined {
    return this.#table.latest(tid)?.pid ?? this.#files.threadGroup(tid);
  }

  /** Everything known of whoever had this pid at that time; a last look at /proc where nothing is. */
  capture(pid: number, killedAt: number): CapturedProcess | undefined {
    const entry = this.#table.find(pid, killedAt);
    if (entry !== undefined && entry.image.missing === undefined) return this.#captured(entry);
    if (entry?.exitedAt === undefined) {
      const stat = this.#files.stat(pid);
      if (stat !== undefined && stat.start <= killedAt) {
        const image = this.#images.read(pid, this.#clock.now());
        if (image.missing === undefined)
          return this.#captured(newEntry(pid, stat.parentPid, stat.start, 'live', image));
      }
    }
    return entry === undefined ? undefined : this.#captured(entry);
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
      ...(entry.start !== undefined && { startedAt: this.#clock.wallTime(entry.start) }),
      source: found ? entry.source : 'kernel-comm',
      ...(found && { capturedAt: this.#clock.wallTime(image.readAt) }),
      truncated: image.truncated,
      redacted: image.redacted,
      ...(image.missing !== undefined && { missing: image.missing }),
    };
  }
}
