/** Memory that a start or a storm has left behind goes back to the system: an idle agent is judged by what it holds. */
import { loadFunctions } from './kernel/libc.ts';

const AFTER_START_MS = 10_000;
/** Kills come in storms: the thread must not stand still for each of them, nor while it has most to do. */
const AFTER_KILL_MS = 60_000;

/** When the main thread gives back what it does not use. */
export class SpareMemory {
  #timer: NodeJS.Timeout | undefined;

  afterStart(): void {
    this.#giveBackIn(AFTER_START_MS);
  }

  afterKill(): void {
    this.#giveBackIn(AFTER_KILL_MS);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #giveBackIn(ms: number): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      collectGarbage();
      trimArenas();
    }, ms);
  }
}

/**
 * V8 itself collects when its heap has grown, and an idle one never does. `last-resort` is its collection for memory
 * pressure: it also frees compiled code that was not used lately and shrinks the young generation.
 */
type Collect = (options: { type: 'major'; execution: 'sync'; flavor: 'last-resort' }) => void;

/**
 * Measured after the start: 4 MB of the main thread's 12. The thread stands still for 20 to 50 ms, so the capture thread, which
 * would be blind for as long, keeps the 2 MB that it would gain. Without `--expose-gc`, nothing happens.
 */
export function collectGarbage(): void {
  const { gc } = globalThis as { gc?: Collect };
  gc?.({ type: 'major', execution: 'sync', flavor: 'last-resort' });
}

/**
 * glibc keeps what was freed, in as many arenas as there are threads: 3 MB after the start, most of it V8's compilers'.
 * 1 to 2 ms for the arenas of all threads. Without node:ffi, nothing happens. (`npm start` sets MALLOC_ARENA_MAX=1: of one
 * arena for all threads more can be given back, 1.5 MB.)
 */
export function trimArenas(): void {
  const libc = loadFunctions<{ malloc_trim(pad: bigint): number }>({
    malloc_trim: { arguments: ['u64'], return: 'i32' },
  });
  if ('functions' in libc) libc.functions.malloc_trim(0n);
}
