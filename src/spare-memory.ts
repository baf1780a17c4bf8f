/** Memory that a start, a storm or a rush of pods has left behind goes back to the system: an idle agent is judged by what it holds. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { loadFunctions } from './kernel/libc.ts';

/** After the start: the capture thread's, and the main thread's behind it, whose trimming is for what both have freed. */
export const FIRST_LOOK_MS = 10_000;
const BEHIND_MS = 2_000;
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

/**
 * The main thread looks from now on.
 *
 * @param shrinkStore lets go of what the store only keeps to be faster
 * @returns ends that
 */
export function giveBackSpareMemory(shrinkStore: () => void): () => void {
  const spare = new SpareMemory(() => {
    shrinkStore();
    collectGarbage();
  });
  let timer: NodeJS.Timeout;
  const lookIn = (ms: number) => {
    timer = setTimeout(() => {
      spare.look();
      // Whatever the heap holds: each function that grows hot takes its compilers up to 1 MB of malloc's.
      trimArenas();
      lookIn(LOOK_MS);
    }, ms);
  };
  lookIn(FIRST_LOOK_MS + BEHIND_MS);
  return () => clearTimeout(timer);
}

type Collect = (options: { type: 'major'; execution: 'sync'; flavor: 'last-resort' }) => void;

let collect: Collect | undefined;

/**
 * V8's flags during a collection: compiled code goes, too, but for what runs at the moment, and pages with holes are made
 * into fewer full ones. They are no arguments of Node.js because V8 takes the compiled form of Node.js's own modules only under
 * the flags that those were compiled with: else each start compiles them, for 14 of 174 ms of CPU time and 0.4 MB.
 */
const FLAGS = ['expose-gc', 'stress-flush-code', 'flush-baseline-code', 'compact-on-every-full-gc'];

/**
 * V8 itself collects when its heap has grown, and an idle one never does. `last-resort` is its collection for memory
 * pressure: it also shrinks the young generation. The thread stands still for 10 to 30 ms, and the next kill finds it as cold
 * as the first one after a start does.
 */
export function collectGarbage(): void {
  for (const flag of FLAGS) setFlagsFromString(`--${flag}`);
  // What the flag exposes, it exposes to new contexts only.
  collect ??= runInNewContext('globalThis.gc') as Collect | undefined;
  collect?.({ type: 'major', execution: 'sync', flavor: 'last-resort' });
  for (const flag of FLAGS) setFlagsFromString(`--no-${flag}`);
}

let libc: ReturnType<typeof loadFunctions<{ malloc_trim(pad: bigint): number }>> | undefined;

/**
 * glibc keeps what was freed, in as many arenas as there are threads: 3 MB after the start, most of it V8's compilers'.
 * 1 to 2 ms for the arenas of all threads. Without node:ffi, nothing happens. (`npm start` sets MALLOC_ARENA_MAX=1: of one
 * arena for all threads more can be given back, 1.5 MB.)
 */
export function trimArenas(): void {
  libc ??= loadFunctions({ malloc_trim: { arguments: ['u64'], return: 'i32' } });
  if ('functions' in libc) libc.functions.malloc_trim(0n);
}
