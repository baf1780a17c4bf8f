/** The agent as its users start it: a process of its own, with its own state, told what it prints. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { Readable } from 'node:stream';
import type { TestContext } from 'node:test';
import type { Incident } from '../src/incident.ts';
import { MARK, tellJanitor } from './janitor.ts';
import { ended } from './kills/kills.ts';
import { PATIENCE_MS } from './patience.ts';
import { until } from './sinks/contract.ts';
import { temporaryFolder } from './temporary-folder.ts';
import { assertValidIncident } from './validate-incident.ts';

const MAIN = path.join(import.meta.dirname, '../src/main.ts');

export interface AgentOptions {
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Shared by several runs; default: a fresh one. */
  readonly stateDir?: string;
  /** Put before the command line, e.g. `unshare -n`. */
  readonly wrapper?: readonly string[];
  readonly nodeOptions?: readonly string[];
  /** Another Node.js than the one that runs the tests. */
  readonly node?: string;
  /** The bundle's instead of that of the checkout. */
  readonly main?: string;
}

export function freshStateDir(t: TestContext): string {
  return temporaryFolder(t, 'oom-witness-state');
}

/** Only whole ones: a kill -9 may tear the last. */
function onLine(stream: Readable, take: (line: string) => void): void {
  let rest = '';
  stream.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    lines.forEach(take);
  });
}

export class AgentProcess {
  readonly incidents: Incident[] = [];
  readonly log: Record<string, unknown>[] = [];
  /** What it wrote to stderr and is no JSON. */
  readonly stderr: string[] = [];
  readonly #child: ChildProcessByStdio<null, Readable, Readable>;
  readonly #stateDir: string;
  readonly #closed: Promise<unknown>;
  /** It has ended, and all that it printed has been read. */
  #isOver = false;
  #changed: () => void = () => {};

  private constructor(child: ChildProcessByStdio<null, Readable, Readable>, stateDir: string) {
    this.#child = child;
    this.#stateDir = stateDir;
    onLine(child.stdout, (line) => {
      const incident = JSON.parse(line);
      assertValidIncident(incident);
      this.incidents.push(incident);
      this.#changed();
    });
    onLine(child.stderr, (line) => {
      if (line.startsWith('{')) this.log.push(JSON.parse(line));
      else this.stderr.push(line);
      this.#changed();
    });
    this.#closed = Promise.all([
      new Promise((resolve) => child.stdout.once('close', resolve)),
      new Promise((resolve) => child.stderr.once('close', resolve)),
      ended(child),
    ]);
    void this.#closed.then(() => {
      this.#isOver = true;
      this.#changed();
    });
  }

  /** Starts it and waits until it is armed. */
  static async start(t: TestContext, options: AgentOptions = {}): Promise<AgentProcess> {
    const agent = AgentProcess.launch(t, options);
    await agent.until(() => agent.armed, 'armed');
    return agent;
  }

  static launch(t: TestContext, options: AgentOptions = {}): AgentProcess {
    let agent: AgentProcess | undefined;
    // Before its folder goes: hooks run in the order in which they were registered.
    t.after(() => agent?.kill9());
    const stateDir = options.stateDir ?? freshStateDir(t);
    const [command, ...args] = [
      ...(options.wrapper ?? []),
      options.node ?? process.execPath,
      '--disable-warning=ExperimentalWarning',
      ...(options.nodeOptions ?? []),
      options.main ?? MAIN,
      '--stdout',
      'json',
      '--listen',
      'off',
      '--state-dir',
      stateDir,
      ...(options.args ?? []),
    ];
    tellJanitor();
    const child = spawn(command as string, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env.PATH, ...MARK, ...options.env },
    });
    agent = new AgentProcess(child, stateDir);
    return agent;
  }

  get armed(): boolean {
    return this.log.some((line) => line.msg === 'armed');
  }

  get pid(): number {
    return this.#child.pid as number;
  }

  /** Incidents with a victim among these processes: other kills of the machine are none of a test's business. */
  of(pids: Iterable<number>): Incident[] {
    const wanted = new Set(pids);
    return this.incidents.filter((incident) =>
      incident.victims.some(({ process }) => wanted.has(process.pid)),
    );
  }

  /**
   * What its journal on disk, which outlives it, says of the processes: their arguments, of a child that has executed nothing those of its
   * parent. Empty as long as a first start has not written all of it.
   */
  journal(): ReadonlyMap<number, readonly string[]> {
    const file = path.join(this.#stateDir, 'processes.jsonl');
    const known = new Map<number, readonly string[]>();
    if (!existsSync(file)) return known;
    // The last line may be in the middle of being written.
    for (const line of readFileSync(file, 'utf8').split('\n').slice(1, -1)) {
      const [kind, pid, parent, , , , args] = JSON.parse(line);
      if (kind === 'is' && args !== null) known.set(pid, args);
      else if (kind === 'fork') known.set(pid, known.get(parent) ?? []);
    }
    return known;
  }

  /** Waits until it has seen what these victims have executed. */
  async knows(pids: readonly number[], executed: 'hog' | 'launch' = 'hog'): Promise<void> {
    const isKnown = () => {
      const journal = this.journal();
      return pids.every((pid) => journal.get(pid)?.[1] === executed);
    };
    await until(isKnown, `the agent's knowledge of ${pids}`);
  }

  /** Waits for something that shows in what the agent prints. */
  async until(condition: () => boolean, what: string): Promise<void> {
    let isTooLate = false;
    const deadline = setTimeout(() => {
      isTooLate = true;
      this.#changed();
    }, PATIENCE_MS);
    try {
      while (!condition()) {
        if (this.#isOver || isTooLate)
          throw new Error(
            `the agent (exit code ${this.#child.exitCode}, signal ${this.#child.signalCode}) is not ${what}:\n${this.stderr.join('\n')}\n${this.log.map((line) => JSON.stringify(line)).join('\n')}`,
          );
        await new Promise<void>((resolve) => {
          this.#changed = resolve;
        });
      }
    } finally {
      clearTimeout(deadline);
    }
  }

  /** @returns the exit code */
  async terminate(): Promise<number | null> {
    this.#child.kill('SIGTERM');
    return this.exited();
  }

  async exited(): Promise<number | null> {
    await this.#closed;
    return this.#child.exitCode;
  }

  async kill9(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#closed;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }
}
