/** A /proc made of plain files, for tests that decide what the kernel shows and when. */
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { TestContext } from 'node:test';
import type { GivenPids, PidLimits } from '../src/kernel/given-pids.ts';
import { temporaryFolder } from './temporary-folder.ts';

export interface FakeProcess {
  readonly args?: readonly string[];
  /** Instead of `args`: the bytes of cmdline as they are. */
  readonly cmdline?: Buffer | string;
  readonly parentPid?: number;
  /** Clock ticks (10 ms) since boot. */
  readonly startTicks?: number;
  readonly cgroup?: string;
  readonly exe?: string;
  readonly name?: string;
  /** It is on its way out (PF_EXITING). */
  readonly exiting?: boolean;
  /** Of a thread: the process that it belongs to. */
  readonly threadGroup?: number;
}

export class FakeProc {
  readonly root: string;

  constructor(t: TestContext) {
    this.root = temporaryFolder(t, 'oom-witness-proc');
    writeFileSync(path.join(this.root, 'uptime'), '100.00 50.00\n');
  }

  set(pid: number, process: FakeProcess): void {
    const folder = path.join(this.root, String(pid));
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder);
    const write = (file: string, content: Buffer | string) => writeFileSync(path.join(folder, file), content);
    write('cmdline', process.cmdline ?? (process.args ?? []).map((arg) => `${arg}\0`).join(''));
    const { name = 'x', parentPid = 1, startTicks = 1_000, threadGroup = pid, exiting = false } = process;
    const flags = 4194560 + (exiting ? 4 : 0);
    write(
      'stat',
      `${pid} (${name}) S ${parentPid} 1 1 0 -1 ${flags} 1 0 0 0 0 0 0 0 20 0 1 0 ${startTicks} 1 1\n`,
    );
    write('cgroup', process.cgroup ?? '0::/system.slice/x.service\n');
    write('status', `Name:\t${name}\nTgid:\t${threadGroup}\nPid:\t${pid}\n`);
    symlinkSync(process.exe ?? '/usr/bin/x', path.join(folder, 'exe'));
  }

  /** How far the kernel has come in giving process numbers away. */
  givenPids({ count, last, most, taken }: GivenPids & PidLimits): void {
    mkdirSync(path.join(this.root, 'sys/kernel'), { recursive: true });
    writeFileSync(
      path.join(this.root, 'stat'),
      `cpu  1 2 3\nbtime 1700000000\nprocesses ${count}\nprocs_running 3\n`,
    );
    writeFileSync(path.join(this.root, 'loadavg'), `0.10 0.20 0.30 1/${taken} ${last}\n`);
    writeFileSync(path.join(this.root, 'sys/kernel/pid_max'), `${most}\n`);
  }

  /** As the kernel shows a process whose memory has been dropped: still there, no command line. */
  dropMemory(pid: number): void {
    writeFileSync(path.join(this.root, String(pid), 'cmdline'), '');
  }

  remove(pid: number): void {
    rmSync(path.join(this.root, String(pid)), { recursive: true, force: true });
  }
}
