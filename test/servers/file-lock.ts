import { spawn } from 'node:child_process';
import { once } from 'node:events';

/**
 * Waits until nobody else holds the lock of this file, which is made when it is not there.
 *
 * @returns held until it is disposed of or this process has ended, however it ends
 */
export async function lockFile(file: string): Promise<AsyncDisposable> {
  // Its standard input ends with us, and the lock with it.
  const holder = spawn('flock', ['--no-fork', file, 'sh', '-c', 'echo held; exec cat'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const ended = once(holder, 'close');
  const held = once(holder.stdout, 'data').then(() => true);
  if (!(await Promise.race([held, ended.then(() => false)]))) throw new Error(`flock ${file} has ended`);
  return {
    async [Symbol.asyncDispose]() {
      holder.stdin.end();
      await ended;
    },
  };
}
