/** Servers of the test suite: started, watched until they are ready, and ended by their process ids. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { MARK, tellJanitor } from '../janitor.ts';
import { PATIENCE_MS } from '../patience.ts';

export interface ServerCommand {
  readonly command: string;
  readonly args?: readonly string[];
  /** Added to this process's environment. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Ready when a line of its output makes this true ... */
  readonly ready?: (line: string) => boolean;
  /** ... or when this does (a rejection means not yet). With neither it is ready as soon as it runs. */
  readonly probe?: () => Promise<boolean>;
  /** Which signal lets it end in order; SIGKILL follows if it is still there 15 s later. */
  readonly stopSignal?: NodeJS.Signals;
}

export interface RunningServer {
  readonly pid: number;
  /** The last part of what it wrote to stdout and stderr: belongs into the message of a failed test. */
  log(): string;
  /** In order; does nothing if it has ended already. */
  stop(): Promise<void>;
  kill9(): Promise<void>;
  /** SIGSTOP; resolves when the kernel shows every thread of it stopped. Its sockets go on taking connections. */
  freeze(): Promise<void>;
  thaw(): void;
}

const LOG_LIMIT = 256 * 1024;
const STOP_MS = 15_000;
const PROBE_EVERY_MS = 25;

/** @throws with the end of its log when it ends or is not ready in time; then it is not running any more */
export async function startServer(server: ServerCommand): Promise<RunningServer> {
  tellJanitor();
  const child = spawn(server.command, server.args ?? [], {
    cwd: server.cwd,
    env: { ...process.env, ...server.env, ...MARK },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let log = '';
  let saidReady = false;
  const ended = new Promise<void>((resolve) => {
    child.once('close', () => resolve());
    child.once('error', (error) => {
      log += `\n${error.message}`;
      resolve();
    });
  });
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8');
    let line = '';
    stream.on('data', (text: string) => {
      log = (log + text).slice(-LOG_LIMIT);
      const lines = (line + text).split('\n');
      line = lines.pop() ?? '';
      saidReady ||= lines.some((complete) => server.ready?.(complete) ?? false);
    });
  }
  // A test that fails in between must not leave a server behind.
  const killOnExit = () => child.kill('SIGKILL');
  process.once('exit', killOnExit);
  void ended.then(() => process.off('exit', killOnExit));

  const end = async (signal: NodeJS.Signals) => {
    if (!child.kill(signal)) return ended;
    if (signal !== 'SIGKILL') child.kill('SIGCONT');
    const killLater = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
    await ended;
    clearTimeout(killLater);
  };

  const isReady = async () => {
    if (server.ready) return saidReady;
    return server.probe ? server.probe().catch(() => false) : child.pid !== undefined;
  };
  const deadline = performance.now() + PATIENCE_MS;
  while (!(await isReady())) {
    const gone = hasEnded(child);
    if (gone || performance.now() > deadline) {
      await end('SIGKILL');
      throw new Error(
        `${server.command} ${gone ? 'has ended' : 'is not ready in time'}:\n${log.slice(-4096)}`,
      );
    }
    await sleep(PROBE_EVERY_MS);
  }
  if (child.pid === undefined) throw new Error(`${server.command} could not be started: ${log}`);

  return {
    pid: child.pid,
    log: () => log,
    stop: () => end(server.stopSignal ?? 'SIGTERM'),
    kill9: () => end('SIGKILL'),
    async freeze() {
      child.kill('SIGSTOP');
      const limit = performance.now() + PATIENCE_MS;
      while (!isStopped(child.pid)) {
        if (hasEnded(child) || performance.now() > limit)
          throw new Error(`${server.command} cannot be frozen`);
        await sleep(1);
      }
    },
    thaw: () => void child.kill('SIGCONT'),
  };
}

function hasEnded(child: ChildProcess): boolean {
  return child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
}

function isStopped(pid: number | undefined): boolean {
  try {
    return readdirSync(`/proc/${pid}/task`).every((thread) => {
      const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'latin1');
      return stat.slice(stat.lastIndexOf(')') + 2).startsWith('T');
    });
  } catch {
    // One of them has ended in between.
    return false;
  }
}
