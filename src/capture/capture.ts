/** The capture thread as the main thread sees it. */
import { closeSync, writeSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { useCompileCache } from '../compile-cache.ts';
import { type CounterName, Counters } from './counters.ts';
import type { CaptureMessage, CaptureOptions, CaptureOrder, Resumption } from './protocol.ts';
import { endWithout, THREAD_NAME } from './stuck-thread.ts';

/** The main thread must not starve the capture thread of its answers, so they are few; its heap is small and bounded. */
const RESOURCE_LIMITS = { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 192, stackSizeMb: 1 };

/** In the checkout the sources run as they are, in the bundle they are JavaScript. */
const THREAD = new URL(
  import.meta.url.endsWith('.ts') ? './thread.ts' : './capture/thread.js',
  import.meta.url,
);

/**
 * A thread that loads its code and then waits for what to watch. Started ahead of `Capture`, this goes on beside what the
 * main thread has to load.
 */
export function startCaptureThread(): Worker {
  const env = { ...process.env, ...useCompileCache() };
  const thread = new Worker(THREAD, { resourceLimits: RESOURCE_LIMITS, name: THREAD_NAME, env });
  endWithout(thread);
  // One that ends before anybody listens is replaced, and the next one's failure is heard.
  return thread.on('error', () => {});
}

export type WatchOptions = Omit<CaptureOptions, 'stop' | 'taken' | 'counters'>;

export class Capture {
  readonly #worker: Worker;
  readonly #stop = new Int32Array(new SharedArrayBuffer(4));
  readonly #taken = new Int32Array(new SharedArrayBuffer(4));
  readonly #counters = new Counters();
  readonly #unnamed = new Set<string>();
  readonly #ended: Promise<void>;
  readonly #descriptors: number[] = [];
  #wakeFd: number | undefined;

  /**
   * The thread gets to know the processes.
   *
   * @param received called for each message in order; none comes before `resume` but of what goes wrong
   * @param failed the thread ended without having been told to
   * @param ahead a thread that was started before
   */
  constructor(
    options: WatchOptions,
    received: (message: CaptureMessage) => void,
    failed: (error: Error) => void,
    ahead: Worker | undefined,
  ) {
    this.#counters.set('heartbeat', monotonicMs());
    const hasEnded = ahead?.threadId === -1;
    this.#worker = ahead === undefined || hasEnded ? startCaptureThread() : ahead;
    const shared = { stop: this.#stop, taken: this.#taken, counters: this.#counters.shared };
    this.#order({ ...options, ...shared });
    this.#worker.on('message', (message: CaptureMessage) => {
      if (message.type === 'opened') {
        this.#descriptors.push(...message.descriptors);
        return;
      }
      if (message.type === 'armed') this.#wakeFd = message.status.wakeFd;
      received(message);
    });
    let reported = false;
    const fail = (error: Error) => {
      if (reported || Atomics.load(this.#stop, 0) !== 0) return;
      reported = true;
      failed(error);
    };
    this.#worker.on('error', (error: unknown) => fail(inWords(error)));
    this.#ended = new Promise((resolve) => {
      this.#worker.on('exit', (code) => {
        this.#wakeFd = undefined;
        for (const fd of this.#descriptors) closeSync(fd);
        fail(new Error(`the capture thread ended with ${code}`));
        resolve();
      });
    });
  }

  /** From now on it tells kills, those that it has missed first. */
  resume(resumption: Resumption): void {
    this.#order(resumption);
  }

  #order(order: CaptureOrder): void {
    this.#worker.postMessage(order);
  }

  /** So many of the incidents that were received are done with: a source that can wait sends no more than it may owe. */
  taken(incidents: number): void {
    Atomics.add(this.#taken, 0, incidents);
  }

  /** This one is done with when it is `named`. */
  unnamed(id: string): void {
    this.#unnamed.add(id);
  }

  named(id: string): void {
    if (this.#unnamed.delete(id)) this.taken(1);
  }

  counter(name: CounterName): number {
    return this.#counters.get(name);
  }

  /** Milliseconds since the thread's last sign of life, its start for one. */
  silentMs(): number {
    return monotonicMs() - this.counter('heartbeat');
  }

  /** What the thread has seen until now still arrives before this resolves. */
  async stop(): Promise<void> {
    Atomics.store(this.#stop, 0, 1);
    Atomics.notify(this.#stop, 0);
    if (this.#wakeFd !== undefined) {
      const one = Buffer.alloc(8);
      one.writeBigUInt64LE(1n);
      writeSync(this.#wakeFd, one);
    }
    await this.#ended;
  }
}

/** From another thread an error that is none of the language's own (DataCloneError) comes without its message: the stack has it. */
function inWords(error: unknown): Error {
  if (!(error instanceof Error)) return new Error(String(error));
  if (error.message !== '') return error;
  return new Error(error.stack?.split('\n').find((line) => /^\w*Error: /.test(line)) ?? error.name);
}

function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
