import type * as Http from 'node:http';
import { boundedWish } from './backoff.ts';
import { http, https } from './lazy-builtins.ts';

/** PEM contents. */
export interface TlsMaterial {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

export interface HttpAnswer {
  readonly status: number;
  readonly statusText: string;
  /** Lower-case names. */
  readonly headers: Http.IncomingHttpHeaders;
  /** Its beginning: at most `ANSWER_LIMIT` bytes are read, and no more than came in time. */
  readonly body: string;
}

const ANSWER_LIMIT = 4096;
/** Slack and its like answer within 3 s; a server that needs longer is asked again. */
const TIMEOUT_MS = 10_000;

/**
 * POSTs to one URL over one kept-alive connection. Follows no redirect and retries nothing. This is not `fetch`, because
 * fetch used once costs 20 MB of memory.
 */
export class HttpPost {
  readonly #url: URL;
  readonly #request: typeof Http.request;
  readonly #agent: Http.Agent;
  readonly #timeoutMs: number;

  constructor(url: URL, tls: TlsMaterial = {}, timeoutMs = TIMEOUT_MS) {
    this.#timeoutMs = timeoutMs;
    const secure = url.protocol === 'https:';
    this.#url = url;
    this.#request = secure ? https().request : http().request;
    this.#agent = secure
      ? new (https().Agent)({ keepAlive: true, maxSockets: 1, ...tls })
      : new (http().Agent)({ keepAlive: true, maxSockets: 1 });
  }

  /** Any status is an answer. Rejects when none has come: no connection, a cut one, the time limit, or `signal`. */
  send(body: string, headers: Readonly<Record<string, string>>, signal: AbortSignal): Promise<HttpAnswer> {
    const timeout = AbortSignal.timeout(this.#timeoutMs);
    const { promise, resolve, reject } = Promise.withResolvers<HttpAnswer>();
    const request = this.#request(this.#url, {
      method: 'POST',
      agent: this.#agent,
      signal: AbortSignal.any([signal, timeout]),
      headers: { ...headers, 'content-length': String(Buffer.byteLength(body)) },
    });
    let answer: (() => void) | undefined;
    request.on('error', (error) => {
      if (answer) answer();
      else reject(timeout.aborted ? new Error(`no answer within ${this.#timeoutMs / 1000} s`) : error);
    });
    // Without an error: it answered with another protocol (101).
    request.on('close', () => {
      if (!answer) reject(new Error('the connection ended without an answer'));
    });
    request.on('response', (response) => {
      const { statusCode: status = 0, statusMessage: statusText = '', headers: answered } = response;
      const chunks: Buffer[] = [];
      let length = 0;
      answer = () => {
        const text = Buffer.concat(chunks).subarray(0, ANSWER_LIMIT).toString('utf8');
        resolve({ status, statusText, headers: answered, body: text });
      };
      response.on('data', (chunk: Buffer) => {
        chunks.push(chunk);
        length += chunk.length;
        if (length >= ANSWER_LIMIT) response.destroy();
      });
      // Whether or not its body came to an end: the server has said what became of the request.
      response.on('error', () => {});
      response.on('close', answer);
    });
    request.end(body);
    return promise;
  }

  close(): void {
    this.#agent.destroy();
  }
}

/** Whether it is an address that can be posted to. */
export function isHttpUrl(text: string): boolean {
  return /^https?:$/.test(URL.parse(text)?.protocol ?? '');
}

/** Retry-After (RFC 9110, 10.2.3): seconds or an HTTP date -> milliseconds from now, at most an hour. */
export function retryAfterMs(header: string | undefined, now: number): number | undefined {
  if (header === undefined) return undefined;
  const ms = /^\s*\d+\s*$/.test(header) ? Number(header) * 1000 : Date.parse(header) - now;
  return Number.isNaN(ms) ? undefined : boundedWish(ms);
}

/** Worth another try by the meaning of the status (RFC 9110; 425: RFC 8470; 429: RFC 6585). */
export function isTemporary(status: number): boolean {
  return status === 408 || status === 425 || status === 429 || status >= 500;
}
