/** The agent as the guest sees it: a process, and what it prints with the time at which it did. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import type { AgentRun, Line } from './evidence.ts';

const PATIENCE_MS = 60_000;
const MAIN = '/lab/dist/src/main.js';
const COMMAND = ['node', '--disable-warning=ExperimentalWarning', '--max-semi-space-size=1', MAIN];

export class GuestAgent {
  readonly toldPids = new Set<number>();
  armedAt: number | undefined;
  readonly #child: ChildProcessByStdio<null, Readable, Readable>;
  readonly #closed: Promise<unknown>;
  readonly #trouble: (text: string) => void;
  readonly #out: Line[] = [];
  readonly #err: Line[] = [];
  readonly #memory: Record<string, number> = {};
  readonly args: readonly string[];
  readonly #startedAt = now();
  #ended: number | string | undefined;
  readonly #waiting = new Set<() => void>();

  constructor(stateDir: string, wrapper: readonly string[], trouble: (text: string) => void) {
    this.#trouble = trouble;
    const script = 'echo 0 >/proc/self/oom_score_adj; exec "$0" "$@"';
    this.args = [...COMMAND, '--stdout', 'json', '--listen', 'off', '--state-dir', stateDir];
    this.#child = spawn('/bin/sh', ['-c', script, ...wrapper, ...this.args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const read = (stream: Readable, lines: Line[], take: (text: string) => void) => {
      const reader = createInterface({ input: stream });
      reader.on('line', (text) => {
        lines.push({ at: now(), text });
        take(text);
        this.#changed();
      });
      return new Promise((resolve) => reader.once('close', resolve));
    };
    const closed = [
      read(this.#child.stdout, this.#out, (text) => this.#take(text)),
      read(this.#child.stderr, this.#err, (text) => {
        if (text.includes('"msg":"armed"')) this.armedAt ??= now();
      }),
      new Promise((resolve) => this.#child.once('exit', resolve)).then(() => {
        this.#ended = this.#child.signalCode ?? this.#child.exitCode ?? 'unknown';
      }),
    ];
    this.#closed = Promise.all(closed).then(() => this.#changed());
  }

  /** Undefined while it runs. */
  get ended(): number | string | undefined {
    return this.#ended;
  }

  get pid(): number {
    return this.#child.pid as number;
  }

  get run(): AgentRun {
    return {
      startedAt: this.#startedAt,
      armedAt: this.armedAt,
      out: this.#out,
      err: this.#err,
      ended: this.#ended ?? 'still running',
      memory: this.#memory,
    };
  }

  /** Remembers its VmRSS under this name. @returns KiB */
  measure(moment: string): number {
    const status = readFileSync(`/proc/${this.#pid()}/status`, 'utf8');
    const kib = Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]);
    this.#memory[moment] = kib;
    return kib;
  }

  /** Waits for what shows in its output; a wait in vain is a trouble, and the scenario goes on. */
  async until(condition: () => boolean, what: string): Promise<void> {
    const end = now() + PATIENCE_MS;
    const deadline = setTimeout(() => this.#changed(), PATIENCE_MS);
    while (!condition()) {
      if (this.#ended !== undefined || now() >= end) {
        this.#trouble(`the agent (ended: ${this.#ended}) is not ${what}`);
        break;
      }
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
    clearTimeout(deadline);
  }

  #changed(): void {
    for (const resume of this.#waiting) resume();
    this.#waiting.clear();
  }

  pause(): void {
    process.kill(this.#pid(), 'SIGSTOP');
  }

  resume(): void {
    process.kill(this.#pid(), 'SIGCONT');
  }

  async kill9(): Promise<void> {
    process.kill(this.#pid(), 'SIGKILL');
    await this.#closed;
  }

  async terminate(): Promise<void> {
    if (this.#ended !== undefined) return;
    process.kill(this.#pid(), 'SIGTERM');
    const late = setTimeout(() => {
      this.#trouble('the agent does not end on SIGTERM');
      process.kill(this.#pid(), 'SIGKILL');
    }, PATIENCE_MS);
    await this.#closed;
    clearTimeout(late);
  }

  /** What wraps it may be its parent. */
  #pid(): number {
    for (const pid of readdirSync('/proc').map(Number)) {
      if (!(pid > 1) || pid === process.pid) continue;
      try {
        const args = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
        if (args[0] === COMMAND[0] && args.includes(MAIN)) return pid;
      } catch {
        // Gone.
      }
    }
    return this.#child.pid as number;
  }

  #take(text: string): void {
    try {
      for (const { process } of JSON.parse(text).victims) this.toldPids.add(process.pid);
    } catch {
      // Torn by a kill -9; whether it may be so is judged later.
    }
  }
}

function now(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
