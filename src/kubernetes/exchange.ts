import type * as Http from 'node:http';
import { noAnswer, timedOut } from './status.ts';

/** One request and its answer: who may end it, and what its end is to be called. */
export class Exchange {
  readonly #signal: AbortSignal;
  readonly #host: string;
  readonly #ending = new AbortController();
  readonly #onAbort: () => void;
  readonly #timer: NodeJS.Timeout;
  #request: Http.ClientRequest | undefined;
  #response: Http.IncomingMessage | undefined;
  #idleMs = 0;

  constructor(signal: AbortSignal, timeoutMs: number, host: string) {
    signal.throwIfAborted();
    this.#signal = signal;
    this.#host = host;
    this.#onAbort = () => this.#ending.abort(signal.reason);
    signal.addEventListener('abort', this.#onAbort, { once: true });
    const late = () => this.#ending.abort(timedOut(`${host}: no answer within ${timeoutMs / 1000} s`));
    this.#timer = setTimeout(late, timeoutMs);
  }

  get hasEnded(): boolean {
    return this.#ending.signal.aborted;
  }

  /** @throws the reason of the end, when that comes first */
  until<T>(work: Promise<T>): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const { signal } = this.#ending;
    const onEnd = () => reject(signal.reason);
    signal.addEventListener('abort', onEnd, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onEnd));
    return promise;
  }

  answer(request: Http.ClientRequest, body: string | undefined): Promise<Http.IncomingMessage> {
    this.#request = request;
    const { promise, resolve, reject } = Promise.withResolvers<Http.IncomingMessage>();
    const { signal } = this.#ending;
    const onEnd = () => request.destroy(signal.reason);
    if (signal.aborted) onEnd();
    else signal.addEventListener('abort', onEnd, { once: true });
    request.on('close', () => {
      signal.removeEventListener('abort', onEnd);
      // Nothing came, and no error: it answered with another protocol (101).
      if (this.#response === undefined) reject(new Error('the connection ended without an answer'));
    });
    request.on('timeout', () => {
      if (this.#idleMs > 0)
        this.#ending.abort(timedOut(`${this.#host}: silent for ${this.#idleMs / 1000} s`));
    });
    request.on('error', reject);
    request.on('response', (response) => {
      this.#response = response;
      resolve(response);
    });
    request.end(body);
    return promise;
  }

  /** The answer has begun: from now on only silence ends it. */
  begun(idleMs: number): void {
    clearTimeout(this.#timer);
    this.limitIdle(idleMs);
  }

  limitIdle(ms: number): void {
    if (ms === this.#idleMs) return;
    this.#idleMs = ms;
    this.#request?.setTimeout(ms);
  }

  throwIfEnded(): void {
    this.#ending.signal.throwIfAborted();
  }

  /** ApiError, or what the caller's signal was aborted with. */
  explained(error: unknown): unknown {
    if (this.#ending.signal.aborted) return this.#ending.signal.reason;
    return error instanceof Error && error.name === 'ApiError' ? error : noAnswer(error, this.#host);
  }

  /** A connection whose answer was read to its end is kept, any other is closed. */
  end(): void {
    clearTimeout(this.#timer);
    this.#signal.removeEventListener('abort', this.#onAbort);
    if (this.#response?.complete !== true) this.#request?.destroy();
  }
}
