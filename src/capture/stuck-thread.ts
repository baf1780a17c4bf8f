/** The end of the process where its capture thread is stuck in the kernel: a log on a dead network mount, say. */
import { readdirSync, readFileSync, writeSync } from 'node:fs';
import type { Worker } from 'node:worker_threads';
import { loadFunctions } from '../kernel/libc.ts';

export const THREAD_NAME = 'capture';

/** A thread that is told to end does so within its longest wait in poll(2), a second. */
const MOST_SECONDS = 2;
const LOOK_MS = 1;

/** Node.js waits for each of its threads before it ends, for ever: from now on not for this one. */
export function endWithout(thread: Worker): void {
  const leave = (code: number) => {
    void thread.terminate();
    if (endsInTime()) return;
    say('oom-witness: the capture thread is stuck in the kernel: ending without it\n');
    endAtOnce(code);
  };
  process.on('exit', leave);
  thread.once('exit', () => process.off('exit', leave));
}

/** Nothing is told by events any more: the kernel knows which threads there are. */
function endsInTime(): boolean {
  const clock = new Int32Array(new SharedArrayBuffer(4));
  const until = process.uptime() + MOST_SECONDS;
  while (isThere()) {
    if (process.uptime() > until) return false;
    Atomics.wait(clock, 0, 0, LOOK_MS);
  }
  return true;
}

function isThere(): boolean {
  const folder = '/proc/self/task';
  return readdirSync(folder).some((id) => {
    try {
      return readFileSync(`${folder}/${id}/comm`, 'utf8') === `${THREAD_NAME}\n`;
    } catch {
      return false;
    }
  });
}

function say(line: string): void {
  try {
    writeSync(process.stderr.fd, line);
  } catch {
    // Nobody reads it.
  }
}

function endAtOnce(code: number): void {
  const libc = loadFunctions<{ _exit(code: number): void }>({
    _exit: { arguments: ['i32'], return: 'void' },
  });
  if ('functions' in libc) libc.functions._exit(code);
  // What process 1 of a container does not hear.
  process.kill(process.pid, 'SIGKILL');
}
