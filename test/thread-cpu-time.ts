import { loadFunctions } from '../src/kernel/libc.ts';

/** linux/time.h */
const CLOCK_THREAD_CPUTIME_ID = 3;

interface Clock {
  clock_gettime(clock: number, time: NodeJS.ArrayBufferView): number;
}

/**
 * A stopwatch that stands still while other threads have the CPU: milliseconds, in nanosecond steps. `process.threadCpuUsage` counts whole
 * ticks of 4 ms on many kernels.
 */
export function threadCpuClock(): () => number {
  const loaded = loadFunctions<Clock>({
    clock_gettime: { arguments: ['i32', 'pointer'], return: 'i32' },
  });
  if ('missing' in loaded) throw new Error(loaded.missing);
  const time = new BigInt64Array(2);
  return () => {
    if (loaded.functions.clock_gettime(CLOCK_THREAD_CPUTIME_ID, time) !== 0)
      throw new Error(`clock_gettime: ${loaded.errno()}`);
    return Number(time[0]) * 1000 + Number(time[1]) / 1e6;
  };
}
