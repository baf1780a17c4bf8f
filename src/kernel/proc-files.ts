/** The files of one process under /proc (proc(5)). A process that has gone is an `undefined`, not an error. */
import { closeSync, openSync, readdirSync, readlinkSync, readSync } from 'node:fs';
import type { BackgroundIo } from './background-io.ts';
import type { GivenPids, PidLimits } from './given-pids.ts';
import { PatientReader } from './patient-reader.ts';
import { visibleText } from './visible-text.ts';

/** Longer command lines are cut here and say so. The kernel allows a quarter of the stack limit, usually 2 MiB. */
export const LONGEST_COMMAND_LINE = 128 << 10;

/** USER_HZ is 100 on every architecture that Node.js runs on (include/asm-generic/param.h). */
const MS_PER_TICK = 10;

/** include/linux/sched.h */
const PF_EXITING = 0x4;

const MOST_SHARED_CGROUPS = 4_096;

export interface CommandLine {
  readonly args: readonly string[];
  readonly truncated: boolean;
}

export class ProcFiles {
  readonly #root: string;
  readonly #suspended: () => number;
  readonly #patient: PatientReader | undefined;
  readonly #cgroups = new Map<string, string>();
  #buffer = Buffer.allocUnsafeSlow(16 << 10);

  /**
   * @param suspended CLOCK_BOOTTIME minus CLOCK_MONOTONIC, ms: the time spent in suspend
   * @param io for what may not answer; without it, that is waited for
   */
  constructor(root: string, suspended = () => 0, io?: BackgroundIo) {
    this.#root = root;
    this.#suspended = suspended;
    if (io !== undefined) this.#patient = new PatientReader(io, LONGEST_COMMAND_LINE + 1);
  }

  pids(): number[] {
    const pids: number[] = [];
    for (const name of readdirSync(this.#root)) {
      const pid = Number(name);
      if (Number.isInteger(pid) && pid > 0) pids.push(pid);
    }
    return pids;
  }

  /**
   * Undefined also for what has no command line: kernel threads, zombies and a process whose memory has just been dropped;
   * and for one that keeps its command line from being read (patient-reader.ts).
   */
  commandLine(pid: number): CommandLine | undefined {
    if (this.#patient === undefined) return this.commandLineAtOnce(pid);
    const bytes = this.#patient.read(`${this.#root}/${pid}/cmdline`);
    return bytes === undefined ? undefined : commandLineOf(bytes);
  }

  /** Of who has just executed something and may live for a millisecond. Nothing stuck gets that far. */
  commandLineAtOnce(pid: number): CommandLine | undefined {
    const length = this.#read(`${pid}/cmdline`);
    return length <= 0 ? undefined : commandLineOf(this.#buffer.subarray(0, length));
  }

  /** The memory controller's path (v1), else the unified one (v2). */
  cgroup(pid: number): string | undefined {
    const length = this.#read(`${pid}/cgroup`);
    if (length <= 0) return undefined;
    const text = this.#buffer.toString('utf8', 0, length);
    const lines = text.split('\n');
    let unified: string | undefined;
    for (const line of lines) {
      const first = line.indexOf(':');
      const second = line.indexOf(':', first + 1);
      if (second < 0) continue;
      const controllers = line.slice(first + 1, second);
      if (controllers === '') unified = line.slice(second + 1);
      else if (controllers.split(',').includes('memory')) {
        const path = plainPath(line.slice(second + 1));
        return path === '/' && this.#isExiting(pid) ? undefined : this.#shared(path);
      }
    }
    return unified === undefined ? undefined : this.#shared(plainPath(unified));
  }

  /** One string for all processes of a cgroup, and one that does not keep alive the text that it was cut from. */
  #shared(path: string): string {
    const known = this.#cgroups.get(path);
    if (known !== undefined) return known;
    if (this.#cgroups.size >= MOST_SHARED_CGROUPS) this.#cgroups.clear();
    const own = detached(path);
    this.#cgroups.set(own, own);
    return own;
  }

  /** On cgroup v1 every exiting process shows as a member of the root (proc_cgroup_show in kernel/cgroup/cgroup.c). */
  #isExiting(pid: number): boolean {
    const length = this.#read(`${pid}/stat`);
    if (length <= 0) return true;
    const text = this.#buffer.toString('latin1', 0, length);
    return (Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[6]) & PF_EXITING) !== 0;
  }

  executable(pid: number): string | undefined {
    try {
      return readlinkSync(`${this.#root}/${pid}/exe`);
    } catch {
      return undefined;
    }
  }

  /** Parent, and the start in CLOCK_MONOTONIC ms (the kernel shows CLOCK_BOOTTIME in 10 ms steps). */
  stat(pid: number): { parentPid: number; start: number } | undefined {
    const length = this.#read(`${pid}/stat`);
    if (length <= 0) return undefined;
    // The name may hold blanks and parentheses: fields are counted from the last one.
    const text = this.#buffer.toString('latin1', 0, length);
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return { parentPid: Number(fields[1]), start: Number(fields[19]) * MS_PER_TICK - this.#suspended() };
  }

  /** The thread group of a thread that is still there. */
  threadGroup(tid: number): number | undefined {
    const length = this.#read(`${tid}/status`);
    if (length <= 0) return undefined;
    const match = /^Tgid:\t(\d+)$/m.exec(this.#buffer.toString('latin1', 0, length));
    return match ? Number(match[1]) : undefined;
  }

  /** Milliseconds since boot, suspend included. */
  uptime(): number {
    return Number.parseFloat(this.#text('uptime')) * 1000;
  }

  /** `processes` of /proc/stat and the last field of /proc/loadavg; undefined: not to be read. */
  givenPids(): GivenPids | undefined {
    const count = /^processes (\d+)$/m.exec(this.#text('stat'))?.[1];
    const last = / (\d+)\n$/.exec(this.#text('loadavg'))?.[1];
    return count === undefined || last === undefined
      ? undefined
      : { count: Number(count), last: Number(last) };
  }

  pidLimits(): PidLimits | undefined {
    const most = Number(this.#text('sys/kernel/pid_max'));
    const taken = /\/(\d+) \d+\n$/.exec(this.#text('loadavg'))?.[1];
    return most > 0 && taken !== undefined ? { most, taken: Number(taken) } : undefined;
  }

  /** Empty: not there. */
  #text(file: string): string {
    const length = this.#read(file);
    return this.#buffer.toString('latin1', 0, Math.max(0, length));
  }

  /** Into the shared buffer; -1: not there. What is longer than the longest command line is not read to its end. */
  #read(file: string): number {
    let fd: number;
    try {
      fd = openSync(`${this.#root}/${file}`, 'r');
    } catch {
      return -1;
    }
    try {
      let length = 0;
      for (;;) {
        const got = readSync(fd, this.#buffer, length, this.#buffer.length - length, null);
        length += got;
        // A short read is the end of these files: the kernel fills the buffer as long as there is more.
        if (length < this.#buffer.length || got === 0) return length;
        if (length > LONGEST_COMMAND_LINE) return length;
        const larger = Buffer.allocUnsafeSlow(this.#buffer.length * 4);
        this.#buffer.copy(larger, 0, 0, length);
        this.#buffer = larger;
      }
    } catch {
      return -1;
    } finally {
      closeSync(fd);
    }
  }
}

/** @param bytes at most one more than the longest command line */
function commandLineOf(bytes: Buffer): CommandLine | undefined {
  const length = Math.min(bytes.length, LONGEST_COMMAND_LINE);
  if (length === 0) return undefined;
  // A title written over the arguments (setproctitle) may lack the last NUL or be followed by many.
  let end = length;
  while (end > 0 && bytes[end - 1] === 0) end--;
  const text = visibleText(bytes.subarray(0, end));
  const args = text.split('\0');
  // Trailing empty arguments are real as long as their number is: each ends with its own NUL.
  const trailing = length - end - 1;
  if (trailing > 0 && trailing <= 16 && !isTitle(args)) for (let i = 0; i < trailing; i++) args.push('');
  return { args, truncated: bytes.length > LONGEST_COMMAND_LINE };
}

/** A string of its own: V8's `slice` keeps the whole of what it was cut from alive. */
export function detached(text: string): string {
  return JSON.parse(JSON.stringify(text));
}

/** A path seen from inside a cgroup namespace climbs out of it first; the kernel's log never does. */
function plainPath(path: string): string {
  const inside = path.replace(/^(\/\.\.)+/, '').replace(/ \(deleted\)$/, '');
  return inside === '' ? '/' : inside;
}

/** setproctitle leaves one argument and pads the rest of the old arguments with NULs. */
function isTitle(args: readonly string[]): boolean {
  return args.length === 1 && (args[0] as string).includes(' ');
}
