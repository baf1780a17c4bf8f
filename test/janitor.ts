/**
 * A test process that is killed or interrupted runs no hook of its own any more. What it leaves is removed by a process that outlives it:
 * servers, agents, containers, cgroups, folders.
 */
import { spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import path from 'node:path';

/** In the environment of what has to end with this process. Its cgroups are known by their names: `oom-witness-test-PID`. */
export const MARK = { TEST_PROCESS: String(process.pid) } as const;

let told: Socket | undefined;

/** From now on this process has a janitor. @param folder that it is to remove, too */
export function tellJanitor(folder?: string): void {
  told ??= start();
  if (folder !== undefined) told.write(`${folder}\n`);
}

/** Its standard input ends with us, however we end. A session of its own: what a terminal sends to us does not reach it. */
function start(): Socket {
  const script = path.join(import.meta.dirname, 'janitor.sh');
  const child = spawn('sh', [script, String(process.pid)], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  child.unref();
  const input = child.stdin as Socket;
  input.on('error', () => {});
  input.unref();
  return input;
}
