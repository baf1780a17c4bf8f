/** As `setTimeout` of `node:timers/promises`: may reject when the signal ends it. */
export type Sleep = (ms: number, signal: AbortSignal) => Promise<unknown>;

/** How long somebody whose signal has ended may take to say what is already known. */
export const GRACE_MS = 1000;

/** The work did not even end when it was told to. It may still be going on. */
export class HungError extends Error {
  constructor(cause: unknown) {
    super('it did not stop when told to', { cause });
    this.name = 'HungError';
  }
}

/** Ends early, without an error, when the signal does. */
export async function sleepUntilAborted(sleep: Sleep, ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  try {
    await sleep(ms, signal);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** Nobody waits any more. A reason of its own, because the default is an error with a stack trace: 20 µs for each delivery. */
const OVER = Symbol('over');

/**
 * Does `work` for at most `ms`, and not after `stop`: then its signal ends, and its result counts if it comes within `GRACE_MS`.
 *
 * @throws what `work` throws, or HungError
 */
export async function withTimeLimit<T>(
  work: (signal: AbortSignal) => Promise<T>,
  ms: number,
  stop: AbortSignal,
  sleep: Sleep,
): Promise<T> {
  const ending = new AbortController();
  const clock = new AbortController();
  const grace = new AbortController();
  const hung = Promise.withResolvers<never>();
  let isOver = false;
  const end = (reason: Error) => {
    ending.abort(reason);
    clock.abort(OVER);
  };
  const onStop = () => end(new Error('the agent is stopping'));
  const watch = async (): Promise<void> => {
    await sleepUntilAborted(sleep, ms, clock.signal);
    if (isOver) return;
    end(new Error(`no answer within ${ms / 1000} s`));
    await sleepUntilAborted(sleep, GRACE_MS, grace.signal);
    hung.reject(new HungError(ending.signal.reason));
  };
  if (stop.aborted) onStop();
  else stop.addEventListener('abort', onStop, { once: true });
  try {
    const working = work(ending.signal);
    watch().catch(hung.reject);
    return await Promise.race([working, hung.promise]);
  } finally {
    isOver = true;
    stop.removeEventListener('abort', onStop);
    clock.abort(OVER);
    grace.abort(OVER);
  }
}
