/** Keeps a capture thread running: another one goes on where one has failed. */
import type { Worker } from 'node:worker_threads';
import type { Capture } from './capture.ts';
import type { CaptureMessage, CaptureStatus, Resumption } from './protocol.ts';

/**
 * A capture thread that gives no sign of life for so long stands still: its loop turns at least once a second, and before that it gives
 * one for every hundred processes that it gets to know.
 */
const SILENT_MS = 15_000;
const RESTART_MS = { first: 500, longest: 60_000 } as const;
/** Five failures in a row: perhaps a new process does better. */
const HOPELESS_RESTART_MS = 16_000;
/** A thread that is stuck in the kernel must not keep the sinks from being drained. */
const STOP_MS = 3_000;

export type CaptureThread = Pick<
  Capture,
  'resume' | 'taken' | 'unnamed' | 'named' | 'counter' | 'silentMs' | 'stop'
>;

export interface Supervision {
  /** Starts a thread, which gets to know the processes; `ahead` is one that was started before. */
  open(
    received: (message: CaptureMessage) => void,
    failed: (error: Error) => void,
    ahead: Worker | undefined,
  ): CaptureThread;
  /** From where on a thread tells kills: where the one before has stopped. */
  resumption(): Resumption;
  received(message: CaptureMessage): void;
  failed(problem: string): void;
  /** Since the start of the process, ms. */
  now(): number;
}

export class CaptureSupervisor {
  readonly #supervision: Supervision;
  #thread: CaptureThread;
  #startedAt = 0;
  #resumed = false;
  #status: CaptureStatus | undefined;
  #failure: string | undefined;
  /** Grows while the thread fails soon after each start. */
  #restartMs: number = RESTART_MS.first;
  #restart: NodeJS.Timeout | undefined;

  constructor(supervision: Supervision, ahead: Worker | undefined) {
    this.#supervision = supervision;
    this.#thread = this.#open(ahead);
  }

  /** The one that runs, or the last that ran. */
  get thread(): CaptureThread {
    return this.#thread;
  }

  /** Of the last thread that was armed; undefined: it is still starting. */
  get status(): CaptureStatus | undefined {
    return this.#status;
  }

  /** How long ago this thread was started, ms. */
  get age(): number {
    return this.#supervision.now() - this.#startedAt;
  }

  /** Why nothing is seen; undefined: it is, or the thread is still starting. */
  get problem(): string | undefined {
    return this.#failure ?? (this.#standsStill ? 'capture stands still' : undefined);
  }

  /** False: only a new process may help. */
  get isAlive(): boolean {
    return !this.#standsStill && (this.#restartMs < HOPELESS_RESTART_MS || this.#hasLasted);
  }

  /** The thread, and each that follows it, may tell kills. */
  resume(): void {
    this.#resumed = true;
    this.#thread.resume(this.#supervision.resumption());
  }

  /** What the thread has seen until now still arrives before this resolves, unless it is stuck. */
  async stop(): Promise<void> {
    clearTimeout(this.#restart);
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(late.resolve, STOP_MS);
    await Promise.race([this.#thread.stop(), late.promise]);
    clearTimeout(timer);
  }

  #open(ahead: Worker | undefined): CaptureThread {
    return this.#supervision.open(
      (message) => this.#received(message),
      (error) => this.#failed(error),
      ahead,
    );
  }

  /** Long enough for what failed before to be over. */
  get #hasLasted(): boolean {
    return this.#failure === undefined && this.age > RESTART_MS.longest;
  }

  get #standsStill(): boolean {
    return this.#thread.silentMs() > SILENT_MS;
  }

  #received(message: CaptureMessage): void {
    if (message.type === 'armed') {
      this.#status = message.status;
      this.#failure = undefined;
    } else if (message.type === 'kernel-log' && this.#status !== undefined)
      this.#status = { ...this.#status, kernelLog: message.reader };
    this.#supervision.received(message);
  }

  /** The kernel's ring still holds what comes meanwhile, the journal knows the processes. */
  #failed(error: Error): void {
    if (this.#hasLasted) this.#restartMs = RESTART_MS.first;
    this.#failure = error.message;
    this.#supervision.failed(error.message);
    this.#restart = setTimeout(() => {
      this.#startedAt = this.#supervision.now();
      this.#status = undefined;
      this.#thread = this.#open(undefined);
      if (this.#resumed) this.resume();
    }, this.#restartMs);
    this.#restartMs = Math.min(this.#restartMs * 2, RESTART_MS.longest);
  }
}
