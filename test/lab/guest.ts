/**
 * Runs in the guest: the scenario that it is told, with all it needs to make real kills and to watch the agent, and
 * writes down what happened.
 */
import { spawn } from 'node:child_process';
import {
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Evidence, ExpectedIncident, ExpectedVictim, KillLine } from './evidence.ts';
import { GuestAgent } from './guest-agent.ts';
import { scenarios } from './scenarios.ts';

const CGROUPS = '/sys/fs/cgroup';
const VICTIM = '/lab/victim';
const CLOCK_MARK = 'oom-witness-lab clock';
const RING_RECORD = 16 << 10;
/** As the kernel is told by machine.ts. */
const RING = 4 << 20;
/** The longest that the kernel takes in one record is 1 KiB with what it puts before it. */
const LONG_LINE = 'x'.repeat(900);

export interface CgroupSettings {
  readonly limit?: number;
  readonly groupKill?: boolean;
}

export interface SpawnOptions {
  readonly cgroup?: string;
}

export interface Spawned {
  readonly pid: number;
  readonly args: readonly string[];
  /** Resolves with the number of the signal that ended it, or 0. */
  readonly ended: Promise<number>;
  kill(): void;
}

export interface LaunchOptions {
  readonly count: number;
  readonly parallel?: number;
  readonly mode?: 'exec' | 'fork';
  readonly liveMs: number;
  readonly text?: readonly string[];
}

export class Guest {
  readonly expected: ExpectedIncident[] = [];
  readonly troubles: string[] = [];
  readonly decoys: (readonly string[])[] = [];
  blind = false;
  readonly #agents: GuestAgent[] = [];

  get agents(): readonly GuestAgent[] {
    return this.#agents;
  }

  check(holds: boolean, otherwise: string): void {
    if (!holds) this.troubles.push(otherwise);
  }

  /** Starts the agent and waits until it is armed. @param wrapper put before its command line */
  async startAgent(stateDir = '/tmp/state', wrapper: readonly string[] = []): Promise<GuestAgent> {
    const agent = new GuestAgent(stateDir, wrapper, (trouble) => this.troubles.push(trouble));
    this.#agents.push(agent);
    await agent.until(() => agent.armedAt !== undefined, 'armed');
    return agent;
  }

  /** Makes the cgroup and those above it; the path is the kernel's. */
  cgroup(path: string, settings: CgroupSettings = {}): string {
    const parts = path.split('/').slice(1);
    let folder = CGROUPS;
    for (const part of parts) {
      writeFileSync(`${folder}/cgroup.subtree_control`, '+memory');
      folder += `/${part}`;
      mkdirSync(folder, { recursive: true });
    }
    if (settings.limit !== undefined) writeFileSync(`${folder}/memory.max`, String(settings.limit));
    if (settings.groupKill) writeFileSync(`${folder}/memory.oom.group`, '1');
    return path;
  }

  /** Starts a program as a child of ours, which executes a shell first: the last exec counts. */
  spawn(args: readonly string[], options: SpawnOptions = {}): Spawned {
    const { cgroup = '' } = options;
    const script = 'echo 0 >/proc/self/oom_score_adj; echo 0 >"$0/cgroup.procs"; exec "$@"';
    const child = spawn('/bin/sh', ['-c', script, `${CGROUPS}${cgroup}`, ...args], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    const ended = new Promise<number>((resolve) =>
      child.once('exit', (_, signal) => resolve(signal === 'SIGKILL' ? 9 : signal === null ? 0 : -1)),
    );
    return { pid: child.pid as number, args, ended, kill: () => child.kill('SIGKILL') };
  }

  /** Victims of one launcher; resolves when the last of them is dead. */
  async launch(cgroup: string, options: LaunchOptions): Promise<ExpectedVictim[]> {
    const { count, parallel = 1, mode = 'exec', liveMs, text = ['--index=%d'] } = options;
    const procs = `${CGROUPS}${cgroup}/cgroup.procs`;
    const argv = ['launch', procs, String(count), String(parallel), mode, String(liveMs), ...text];
    const script = 'echo 0 >/proc/self/oom_score_adj; exec "$0" "$@"';
    const child = spawn('/bin/sh', ['-c', script, VICTIM, ...argv], { stdio: ['ignore', 'pipe', 'inherit'] });
    const victims: ExpectedVictim[] = [];
    const early = new Set<string | undefined>();
    for await (const line of createInterface({ input: child.stdout })) {
      const [index, pid, status] = line.split(' ');
      if (status === 'early') early.add(pid);
      if (status === 'early' || status === 'started') continue;
      const launcher = [VICTIM, ...argv];
      const args =
        mode === 'exec'
          ? ['victim', 'hog', String(liveMs), ...text.map((each) => each.replace('%d', String(index)))]
          : launcher;
      victims.push({
        pid: Number(pid),
        args,
        ...(early.has(pid) && { before: launcher }),
        cgroup,
        signal: Number(status) & 0x7f,
      });
    }
    return victims;
  }

  /** Nothing that the ring holds now is left in it. */
  overwriteKernelLog(): void {
    writeFileSync('/proc/sys/kernel/printk_devkmsg', 'on\n');
    const kmsg = openSync('/dev/kmsg', 'w');
    for (let bytes = 0; bytes < RING; bytes += LONG_LINE.length) writeSync(kmsg, LONG_LINE);
    closeSync(kmsg);
  }

  /** One incident for each of these. */
  expectEach(
    victims: readonly ExpectedVictim[],
    limitCgroup: string | undefined,
    more: Partial<ExpectedIncident> = {},
  ): void {
    for (const victim of victims) this.expect([victim], limitCgroup, more);
  }

  expect(
    victims: readonly ExpectedVictim[],
    limitCgroup: string | undefined,
    more: Partial<ExpectedIncident> = {},
  ): void {
    const scope = limitCgroup === undefined ? 'node' : 'cgroup';
    this.expected.push({ victims, scope, limitCgroup, groupKill: false, commandLine: 'known', ...more });
  }

  /** Waits until the agent has told all of these. */
  async told(agent: GuestAgent, victims: readonly { pid: number }[]): Promise<void> {
    await agent.until(() => victims.every(({ pid }) => agent.toldPids.has(pid)), `telling ${victims.length}`);
  }

  async victim(spawned: Spawned, cgroup: string | undefined, name?: string): Promise<ExpectedVictim> {
    const signal = await spawned.ended;
    return {
      pid: spawned.pid,
      args: spawned.args,
      cgroup,
      signal,
      ...(name !== undefined && { name }),
    };
  }
}

/** The kernel's clock and ours at one moment, then every kill line that the ring still holds. */
function readKillLines(): KillLine[] {
  const before = now();
  writeFileSync('/dev/kmsg', CLOCK_MARK);
  const marked = (before + now()) / 2;
  const lines: { us: number; pid: number }[] = [];
  let offset = 0;
  const fd = openSync('/dev/kmsg', constants.O_RDONLY | constants.O_NONBLOCK);
  const buffer = Buffer.alloc(RING_RECORD);
  for (;;) {
    let length: number;
    try {
      length = readSync(fd, buffer, 0, buffer.length, null);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EPIPE') continue;
      break;
    }
    const record = buffer.toString('latin1', 0, length);
    const us = Number(record.split(',')[2]);
    if (record.includes(CLOCK_MARK)) offset = marked - us / 1000;
    const kill = /;(?:Memory cgroup out of memory|Out of memory[^:]*): Killed process (\d+) /.exec(record);
    if (kill) lines.push({ us, pid: Number(kill[1]) });
  }
  closeSync(fd);
  return lines.map(({ us, pid }) => ({ at: us / 1000 + offset, pid }));
}

function now(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

async function main(name: string): Promise<void> {
  // The kernel must not choose us; whom we start gets a score of its own.
  writeFileSync('/proc/self/oom_score_adj', '-1000');
  const guest = new Guest();
  try {
    const scenario = scenarios[name];
    if (scenario === undefined) throw new Error(`no scenario ${name}`);
    await scenario(guest);
    // Long enough for what should not be told to be told.
    await sleep(500);
  } catch (error) {
    guest.troubles.push((error as Error).stack ?? String(error));
  }
  for (const agent of guest.agents) await agent.terminate();
  const evidence: Evidence = {
    scenario: name,
    kernel: readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim(),
    runs: guest.agents.map((agent) => agent.run),
    expected: guest.expected,
    killLines: readKillLines(),
    decoys: guest.decoys,
    blind: guest.blind,
    troubles: guest.troubles,
  };
  writeFileSync('/tmp/evidence.json', JSON.stringify(evidence));
}

await main(process.argv[2] ?? '');
process.exit(0);
