/** The agent as it ships (the bundle), for benches: its incidents with the moment at which their line was there. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import type { Incident } from '../src/incident.ts';
import { compile } from './compile.ts';

const ROOT = path.join(import.meta.dirname, '..');

export const NODE_FLAGS = ['--disable-warning=ExperimentalWarning', '--max-semi-space-size=1'];

export interface Told {
  readonly incident: Incident;
  /** CLOCK_MONOTONIC, ns, by a reader in C: this process has victims to start meanwhile. */
  readonly at: bigint;
}

export class BenchAgent {
  readonly told: Told[] = [];
  readonly #child: ChildProcess;
  readonly #folder: string;
  readonly #ended: Promise<unknown>;

  private constructor(child: ChildProcess, folder: string) {
    this.#child = child;
    this.#folder = folder;
    this.#ended = new Promise((resolve) => child.once('exit', resolve));
  }

  /**
   * @param stdout `json`, or `off` where nothing but the agent itself is measured
   * @param preload a module that is loaded first, e.g. to keep the main thread busy
   * @param wrapper a command that becomes what its further arguments say
   * @returns the agent and how long it took from spawn to armed, ms
   */
  static async start(
    options: {
      stdout?: 'json' | 'off';
      preload?: string;
      args?: readonly string[];
      wrapper?: readonly string[];
      env?: Readonly<Record<string, string>>;
    } = {},
  ): Promise<{ agent: BenchAgent; armedMs: number }> {
    // Brings dist/ up to date.
    await import('../build.ts');
    const folder = mkdtempSync(path.join(tmpdir(), 'oom-witness-bench-'));
    const { stdout = 'json', preload, args = [], wrapper = [], env = {} } = options;
    const [command, ...argv] = [
      ...wrapper,
      process.execPath,
      ...NODE_FLAGS,
      ...(preload === undefined ? [] : ['--import', preload]),
      path.join(ROOT, 'dist/src/main.js'),
      ...['--stdout', stdout, '--state-dir', folder, '--listen', 'off', ...args],
    ];
    // Authorities that this machine trusts beside those of Node.js: with Kubernetes they took 0.8 MB.
    const ownEnv = { ...process.env, NODE_EXTRA_CA_CERTS: undefined, MALLOC_ARENA_MAX: '1', ...env };
    const pipe = openPipe(path.join(folder, 'stdout'));
    const stamper = spawn(compile('line-stamper.c'), { stdio: [pipe.from, 'pipe', 'inherit'] });
    closeSync(pipe.from);
    const spawned = process.hrtime.bigint();
    const child = spawn(command as string, argv, { stdio: ['ignore', pipe.to, 'pipe'], env: ownEnv });
    closeSync(pipe.to);
    const agent = new BenchAgent(child, folder);
    createInterface({ input: stamper.stdout as Readable }).on('line', (line) => {
      const end = line.lastIndexOf(' ');
      agent.told.push({ at: BigInt(line.slice(end + 1)), incident: JSON.parse(line.slice(0, end)) });
    });
    const armed = Promise.withResolvers<bigint>();
    let log = '';
    createInterface({ input: child.stderr as Readable }).on('line', (line) => {
      log += `${line}\n`;
      if (line.includes('"msg":"armed"')) armed.resolve(process.hrtime.bigint());
    });
    void agent.#ended.then(() => armed.reject(new Error(`the agent ended:\n${log}`)));
    return { agent, armedMs: Number((await armed.promise) - spawned) / 1e6 };
  }

  get pid(): number {
    return this.#child.pid as number;
  }

  of(pids: ReadonlySet<number>): Told[] {
    return this.told.filter(({ incident }) => incident.victims.some(({ process }) => pids.has(process.pid)));
  }

  /** User and system time of all threads so far, ms (10 ms steps). */
  cpuMs(): number {
    return cpuMs(this.pid);
  }

  memory(): Memory {
    return memory(this.pid);
  }

  async stop(): Promise<void> {
    this.#child.kill('SIGTERM');
    await this.#ended;
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** @returns descriptors of its two ends */
function openPipe(name: string): { from: number; to: number } {
  execFileSync('mkfifo', [name]);
  // Opened for one thing only it would wait for its other end.
  const both = openSync(name, 'r+');
  const ends = { from: openSync(name, 'r'), to: openSync(name, 'w') };
  closeSync(both);
  return ends;
}

/** MB */
export interface Memory {
  readonly rss: number;
  readonly anonymous: number;
}

export function memory(pid: number): Memory {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  const of = (name: string) => Number(new RegExp(`^${name}: +(\\d+) kB`, 'm').exec(text)?.[1]) / 1024;
  return { rss: of('Rss'), anonymous: of('Anonymous') };
}

export function cpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}
