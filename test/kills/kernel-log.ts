import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { TestContext } from 'node:test';

/**
 * The kernel's log, read beside the agent: where each kill stood in it. Its ring is small (128 KiB on some machines, which a storm fills
 * in seconds), so what the agent says that it has lost can be held against this.
 */
export class KernelLog {
  readonly #kills = new Map<number, number>();
  readonly #child: ChildProcess;

  private constructor() {
    // cat ends when it was too slow, and begins anew with the oldest record that is left; echo ends it all when nobody reads any more.
    this.#child = spawn('sh', ['-c', 'while echo; do cat /dev/kmsg 2>/dev/null; done'], {
      stdio: ['ignore', 'pipe', 'inherit'],
      detached: true,
    });
    const lines = createInterface({ input: this.#child.stdout! });
    lines.on('line', (line) => {
      const [, sequence, pid] = /^\d+,(\d+),.*: Killed process (\d+) /.exec(line) ?? [];
      if (pid !== undefined)
        this.#kills.set(Number(pid), Math.max(Number(sequence), this.#kills.get(Number(pid)) ?? 0));
    });
  }

  static follow(t: TestContext): KernelLog {
    const log = new KernelLog();
    t.after(() => process.kill(-log.#child.pid!, 'SIGKILL'));
    return log;
  }

  /** Sequence number of the record in which the kernel tells that it killed this process. */
  killed(pid: number): number | undefined {
    return this.#kills.get(pid);
  }
}
