/** Memory that a start, a storm or a rush of pods has left behind goes back to the system: an idle agent is judged by what it holds. */
import { loadFunctions } from './kernel/libc.ts';

/** After the start. */
export const FIRST_LOOK_MS = 10_000;
export const LOOK_MS = 60_000;
/** What a heap must have grown by since it was last collected; a busy one may be collected at every look, for 0.1 % of a core. */
const WORTH_BYTES = 3 << 20;

/** What one thread's heap holds and does not use. */
export class SpareMemory {
  readonly #giveBack: () => void;
  readonly #heapBytes: () => number;
  #held: number | undefined;

  /** @param giveBack makes the heap as small as it can be */
  constructor(giveBack: () => void, heapBytes = () => process.memoryUsage().heapTotal) {
    this.#giveBack = giveBack;
    this.#heapBytes = heapBytes;
  }

  look(): void {
    if (this.#held !== undefined && this.#heapBytes() - this.#held < WORTH_BYTES) return;
    this.#giveBack();
    this.#held = this.#heapBytes();
  }
}

/** The main thread looks from now on. @returns ends that */
export function giveBackSpareMemory(): () => void {
  const spare = new SpareMemory(() => {
    collectGarbage();
    trimArenas();
  });
  let timer: NodeJS.Timeout;
  const lookIn = (ms: number) => {
    timer = setTimeout(() => {
      spare.look();
      lookIn(LOOK_MS);
    }, ms);
  };
  lookIn(FIRST_LOOK_MS);
  return () => clearTimeout(timer);
}

type Collect = (options: { type: 'major'; execution: 'sync'; flavor: 'last-resort' }) => void;

/**
 * V8 itself collects when its heap has grown, and an idle one never does. `last-resort` is its collection for memory
 * pressure: it also frees compiled code that was not used lately and shrinks the young generation. After the start it
 * gives back 4 MB of the main thread's 12 and 2.5 of the capture thread's 8.6; the thread stands still for 10 to 30 ms.
 * Without `--expose-gc`, nothing happens.
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
