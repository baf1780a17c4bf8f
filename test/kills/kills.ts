/** Real OOM kills for tests and benches: memory cgroups of our own (v1 or v2) and victims in them. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { constants as os } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { MARK, tellJanitor } from '../janitor.ts';
import { freshFolder } from '../temporary-folder.ts';

export interface Cgroup {
  /** As the kernel prints it. */
  readonly path: string;
  /** Its cgroup.procs. */
  readonly procs: string;
  readonly version: 1 | 2;
  /** cgroup v2 only: kill all of it together. */
  setGroupKill(on: boolean): void;
  remove(): void;
}

interface Hierarchy {
  readonly version: 1 | 2;
  readonly mount: string;
  /** Our own place in it. */
  readonly base: string;
}

let made = 0;

/** @returns why no real kill can be made here, or undefined when one can */
export function whyNoKills(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root';
  try {
    accessSync('/dev/kmsg', constants.R_OK);
  } catch {
    return 'needs /dev/kmsg';
  }
  try {
    const group = makeCgroup(16 << 20);
    group.remove();
    return undefined;
  } catch (error) {
    return `needs a writable memory cgroup (${(error as Error).message})`;
  }
}

/** @param limit bytes */
export function makeCgroup(limit: number, parent?: Cgroup): Cgroup {
  const { version, mount, base } = findHierarchy();
  const relative = `${parent?.path ?? base}/oom-witness-test-${process.pid}-${made++}`.replace('//', '/');
  const folder = path.join(mount, relative);
  tellJanitor();
  mkdirSync(folder);
  const set = (file: string, value: string) => writeFileSync(path.join(folder, file), value);
  try {
    if (version === 1) set('memory.limit_in_bytes', String(limit));
    else {
      set('memory.max', String(limit));
      if (existsSync(path.join(folder, 'memory.swap.max'))) set('memory.swap.max', '0');
    }
  } catch (error) {
    rmdirSync(folder);
    throw error;
  }
  return {
    path: relative,
    procs: path.join(folder, 'cgroup.procs'),
    version,
    setGroupKill: (on) => set('memory.oom.group', on ? '1' : '0'),
    remove: () => rmdirSync(folder),
  };
}

function findHierarchy(): Hierarchy {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  const own = readFileSync('/proc/self/cgroup', 'utf8').split('\n');
  for (const line of mounts) {
    const [before = '', after = ''] = line.split(' - ');
    const mount = before.split(' ')[4] ?? '';
    const [type, , options = ''] = after.split(' ');
    if (type === 'cgroup' && options.split(',').includes('memory')) {
      const entry = own.find((each) => (each.split(':')[1] ?? '').split(',').includes('memory'));
      return { version: 1, mount, base: entry?.split(':')[2] ?? '/' };
    }
  }
  for (const line of mounts) {
    const [before = '', after = ''] = line.split(' - ');
    const mount = before.split(' ')[4] ?? '';
    if (!after.startsWith('cgroup2 ')) continue;
    if (!readFileSync(path.join(mount, 'cgroup.controllers'), 'utf8').split(/\s+/).includes('memory'))
      continue;
    // A v2 group with processes cannot have children with controllers: the root of the hierarchy is the place.
    writeFileSync(path.join(mount, 'cgroup.subtree_control'), '+memory');
    return { version: 2, mount, base: '/' };
  }
  throw new Error('no memory controller is mounted');
}

/** The kernel's own count of the processes that it killed in a cgroup, given by its path as the kernel prints it. */
export function oomKills(cgroup: string): number {
  const { version, mount } = findHierarchy();
  const file = version === 1 ? 'memory.oom_control' : 'memory.events';
  return Number(/^oom_kill (\d+)$/m.exec(readFileSync(path.join(mount, cgroup, file), 'utf8'))?.[1]);
}

const compiled = new Map<string, string>();

/** Compiled once per process with the machine's `cc`; removed when the process ends. */
export function testProgram(name: 'victim' | 'stuck'): string {
  let program = compiled.get(name);
  if (program === undefined) {
    const folder = freshFolder(`oom-witness-${name}`);
    program = path.join(folder, name);
    const source = path.join(import.meta.dirname, `${name}.c`);
    execFileSync('cc', ['-O1', '-static', '-pthread', '-o', program, source]);
    compiled.set(name, program);
    process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  }
  return program;
}

export function victimProgram(): string {
  return testProgram('victim');
}

export interface LaunchOptions {
  readonly count: number;
  readonly parallel?: number;
  readonly mode?: 'exec' | 'fork';
  readonly liveMs?: number;
  /** Instead of `liveMs`: called when `parallel` of them are there, which live until it has resolved. */
  readonly until?: (pids: readonly number[]) => Promise<unknown>;
  /** Further arguments of each victim; the first `%d` in each becomes its index. */
  readonly text?: readonly string[];
}

export interface Launched {
  readonly index: number;
  readonly pid: number;
  /** The exact arguments. */
  readonly args: readonly string[];
  /** Killed before it had said that it has executed them: it may still have been the launcher's copy. */
  readonly early: boolean;
  /** Wait status: 9 = killed by SIGKILL. */
  readonly status: number;
}

/** Starts victims and waits until the last of them is dead. */
export async function launch(cgroup: Cgroup, options: LaunchOptions): Promise<readonly Launched[]> {
  const { count, parallel = 1, mode = 'exec', liveMs = 50, until, text = ['--index=%d'] } = options;
  const program = victimProgram();
  const wait = until === undefined ? String(liveMs) : 'SIGTERM';
  const argv = ['launch', cgroup.procs, String(count), String(parallel), mode, wait, ...text];
  const child = spawn(program, argv, {
    stdio: ['ignore', 'pipe', 'inherit'],
    argv0: 'victim',
    env: { ...process.env, ...MARK },
  });
  const launched: Launched[] = [];
  const early = new Set<string | undefined>();
  const waiting: number[] = [];
  let failure: unknown;
  /** Whatever comes of it, they die: nobody else would end them. */
  const release = async (pids: readonly number[]) => {
    try {
      await until?.(pids);
    } catch (error) {
      failure ??= error;
    }
    for (const each of pids) process.kill(each, 'SIGTERM');
  };
  for await (const line of createInterface({ input: child.stdout })) {
    const [index, pid, status] = line.split(' ');
    if (status === 'early') {
      early.add(index);
      continue;
    }
    if (status === 'started') {
      if (until !== undefined && waiting.push(Number(pid)) === Math.min(parallel, count))
        void release(waiting.splice(0));
      continue;
    }
    const args =
      mode === 'exec'
        ? ['victim', 'hog', wait, ...text.map((each) => each.replace('%d', String(index)))]
        : ['victim', ...argv];
    launched.push({
      index: Number(index),
      pid: Number(pid),
      args,
      early: early.has(index),
      status: Number(status),
    });
  }
  await ended(child);
  if (failure !== undefined) throw failure;
  return launched.sort((a, b) => a.index - b.index);
}

/** Whether a process (`victim hog SIGTERM`) has come so far that a SIGTERM does not end it, but lets it go on; false when it is gone. */
export function waitsForSigterm(pid: number): boolean {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'latin1');
    const [, blocked = '0'] = /^SigBlk:\s*([\da-f]+)$/m.exec(status) ?? [];
    return ((BigInt(`0x${blocked}`) >> BigInt(os.signals.SIGTERM - 1)) & 1n) === 1n;
  } catch {
    return false;
  }
}

export function ended(child: ChildProcess): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve(child.exitCode);
  return new Promise((resolve) => child.once('exit', (code) => resolve(code)));
}
