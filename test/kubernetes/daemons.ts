/**
 * Processes that outlive the one that started them, as a cluster does that several test files use: each has a pid file and
 * a log file, and all carry a mark in their environment, so that a number in a pid file is never taken for somebody else.
 */
import { spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const STOP_MS = 15_000;
const LOOK_EVERY_MS = 20;
const MARK = 'OOM_WITNESS_TEST_CLUSTER';
// The number is in the file before the program runs, whatever happens to us.
const WITH_PID_FILE = 'echo $$ >"$0"; exec "$@"';

export interface DaemonOptions {
  /** Added to this process's environment. */
  readonly env?: Readonly<Record<string, string>>;
}

export class Daemons {
  readonly #folder: string;

  /** @param folder is also the mark */
  constructor(folder: string) {
    this.#folder = folder;
    for (const name of ['pids', 'log']) mkdirSync(path.join(folder, name), { recursive: true });
  }

  start(name: string, command: readonly string[], { env = {} }: DaemonOptions = {}): void {
    const log = openSync(this.logFile(name), 'a');
    const child = spawn('sh', ['-c', WITH_PID_FILE, this.#pidFile(name), ...command], {
      detached: true,
      stdio: ['ignore', log, log],
      cwd: this.#folder,
      env: { ...process.env, ...env, [MARK]: this.#folder },
    });
    closeSync(log);
    child.unref();
  }

  /** @returns undefined when it does not run */
  pid(name: string): number | undefined {
    let pid: number;
    try {
      pid = Number(readFileSync(this.#pidFile(name), 'latin1'));
    } catch {
      return undefined;
    }
    return this.#isOurs(pid) ? pid : undefined;
  }

  /** It has begun, and is not there any more. (While a process becomes another program, its environment cannot be read.) */
  hasEnded(name: string): boolean {
    try {
      const pid = Number(readFileSync(this.#pidFile(name), 'latin1'));
      return pid > 0 && !existsSync(`/proc/${pid}`);
    } catch {
      return false;
    }
  }

  /** Does nothing if it does not run. */
  signal(name: string, signal: NodeJS.Signals): void {
    const pid = this.pid(name);
    if (pid !== undefined) kill(pid, signal);
  }

  /** In order if it can, else by SIGKILL. */
  async stop(name: string, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    this.signal(name, signal);
    this.signal(name, 'SIGCONT');
    const deadline = performance.now() + STOP_MS;
    while (this.pid(name) !== undefined) {
      if (performance.now() > deadline) this.signal(name, 'SIGKILL');
      await sleep(LOOK_EVERY_MS);
    }
    rmSync(this.#pidFile(name), { force: true });
  }

  /** Every process with our mark, those too that a daemon has started and that have outlived it. */
  all(): number[] {
    return readdirSync('/proc')
      .map(Number)
      .filter((pid) => pid > 0 && this.#isOurs(pid));
  }

  logFile(name: string): string {
    return path.join(this.#folder, 'log', `${name}.log`);
  }

  /** Its last lines: belong into the message of an error. */
  lastWords(name: string): string {
    return readFileSync(this.logFile(name), 'utf8').trimEnd().split('\n').slice(-20).join('\n');
  }

  #pidFile(name: string): string {
    return path.join(this.#folder, 'pids', `${name}.pid`);
  }

  #isOurs(pid: number): boolean {
    try {
      const environment = readFileSync(`/proc/${pid}/environ`, 'utf8');
      return pid !== process.pid && environment.split('\0').includes(`${MARK}=${this.#folder}`);
    } catch {
      return false;
    }
  }
}

export function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended in the meantime.
  }
}
