import type * as Http from 'node:http';
import type * as Https from 'node:https';
import { https } from '../net/lazy-builtins.ts';
import type { Access, Credentials } from './credentials.ts';
import { Exchange } from './exchange.ts';
import { badAnswer, isObject, refusal } from './status.ts';

export interface Call {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH';
  readonly path: string;
  readonly query?: Readonly<Record<string, string | undefined>>;
  readonly body?: object;
  readonly contentType?: string;
  /** The connection is closed after the answer. */
  readonly isLast?: boolean;
}

export interface HttpClientOptions {
  /** Until the whole answer is there; of a watch, until it begins. */
  readonly timeoutMs: number;
  /** Bytes of one answer. */
  readonly answerLimit: number;
}

const NEVER = new AbortController().signal;
const REFUSAL_LIMIT = 64 << 10;
/**
 * Each watch holds one connection, all other requests share what is left: HTTP/1.1 has no more than one at a time. An agent has
 * one watch, and so two connections at the most when all is well.
 */
const MAX_CONNECTIONS = 8;
/** Less than an API server's own limit (Go's IdleTimeout, 90 s), so that no request meets a connection that is being closed. */
const IDLE_CONNECTION_MS = 30_000;
/** When the kernel begins to ask a silent peer whether it lives; it gives up 10 s later (libuv: 10 probes, 1 s apart). */
const KEEP_ALIVE_MS = 30_000;

/** Requests to one API server over kept-alive connections. A 401 makes it read the credentials anew, once. */
export class HttpClient {
  readonly #credentials: Credentials;
  readonly #options: HttpClientOptions;
  #agent: Https.Agent | undefined;
  /** What the agent connects with, as JSON: node:util's comparison of objects is 0.1 MB of code that nothing else loads. */
  #tls: string | undefined;

  constructor(credentials: Credentials, options: HttpClientOptions) {
    this.#credentials = credentials;
    this.#options = options;
  }

  /** @returns the answer's JSON object */
  async json(call: Call, signal = NEVER): Promise<Record<string, unknown>> {
    return this.#exchange(call, signal, async (response) => {
      const text = await textOf(response, this.#options.answerLimit);
      if (text === undefined) throw badAnswer(`an answer of more than ${this.#options.answerLimit} bytes`);
      let value: unknown;
      try {
        value = JSON.parse(text);
      } catch (error) {
        throw badAnswer(`no JSON: ${text.slice(0, 100)}`, response.statusCode, error);
      }
      if (!isObject(value)) throw badAnswer(`no JSON object: ${text.slice(0, 100)}`, response.statusCode);
      return value;
    });
  }

  /** The bytes of an answer as they come; all of it within the time limit. */
  async *bytes(call: Call, signal = NEVER): AsyncGenerator<Buffer> {
    const exchange = new Exchange(signal, this.#options.timeoutMs, this.#credentials.server.host);
    try {
      let length = 0;
      for await (const chunk of (await this.#open(call, exchange)) as AsyncIterable<Buffer>) {
        length += chunk.length;
        if (length > this.#options.answerLimit)
          throw badAnswer(`an answer of more than ${this.#options.answerLimit} bytes`);
        yield chunk;
      }
      exchange.throwIfEnded();
    } catch (error) {
      throw exchange.explained(error);
    } finally {
      exchange.end();
    }
  }

  /**
   * The same without an end in sight: only its beginning has the time limit. Its connection ends with it: behind one address are several
   * API servers, and agents that kept theirs would stay for ever with those that were there while another was restarted.
   *
   * @param idleMs of silence after which the connection counts as dead; `limitIdle` changes it as the stream teaches
   * @param opened called when the answer begins
   */
  async *stream(
    call: Call,
    signal: AbortSignal,
    { idleMs, opened }: { readonly idleMs: number; readonly opened: (() => void) | undefined },
  ): AsyncGenerator<{ readonly chunk: Buffer; limitIdle(ms: number): void }> {
    const exchange = new Exchange(signal, this.#options.timeoutMs, this.#credentials.server.host);
    try {
      const response = await this.#open({ ...call, isLast: true }, exchange);
      exchange.begun(idleMs);
      opened?.();
      const limitIdle = (ms: number) => exchange.limitIdle(ms);
      for await (const chunk of response) yield { chunk, limitIdle };
      exchange.throwIfEnded();
    } catch (error) {
      throw exchange.explained(error);
    } finally {
      exchange.end();
    }
  }

  close(): void {
    this.#agent?.destroy();
  }

  async #exchange<T>(
    call: Call,
    signal: AbortSignal,
    read: (response: Http.IncomingMessage) => Promise<T>,
  ): Promise<T> {
    const exchange = new Exchange(signal, this.#options.timeoutMs, this.#credentials.server.host);
    try {
      return await read(await this.#open(call, exchange));
    } catch (error) {
      throw exchange.explained(error);
    } finally {
      exchange.end();
    }
  }

  /** @returns an answer of status 2xx, its body unread */
  async #open(call: Call, exchange: Exchange): Promise<Http.IncomingMessage> {
    for (let isFirst = true; ; isFirst = false) {
      const access = await exchange.until(this.#credentials.current());
      const response = await this.#send(call, access, exchange);
      const { statusCode = 0, statusMessage = '', headers } = response;
      if (statusCode >= 200 && statusCode < 300) return response;
      const body = (await textOf(response, REFUSAL_LIMIT)) ?? '';
      if (statusCode !== 401 || !isFirst)
        throw refusal(statusCode, statusMessage, headers['retry-after'], body);
      this.#credentials.distrust(access);
    }
  }

  async #send(call: Call, access: Access, exchange: Exchange): Promise<Http.IncomingMessage> {
    const { method, body, contentType = 'application/json', isLast = false } = call;
    const text = body === undefined ? undefined : JSON.stringify(body);
    const url = this.#url(call);
    for (;;) {
      const request = https().request(url, {
        method,
        agent: this.#agentFor(access.tls),
        headers: {
          accept: 'application/json',
          'user-agent': 'oom-witness',
          ...access.headers,
          ...(isLast && { connection: 'close' }),
          ...(text === undefined
            ? {}
            : { 'content-type': contentType, 'content-length': String(Buffer.byteLength(text)) }),
        },
        ...(access.auth === undefined ? {} : { auth: access.auth }),
      });
      try {
        return await exchange.answer(request, text);
      } catch (error) {
        // The server closed the kept-alive connection at the same moment. Only what may be done twice is done again.
        const wasClosing = request.reusedSocket && (error as NodeJS.ErrnoException).code === 'ECONNRESET';
        if (!wasClosing || method !== 'GET' || exchange.hasEnded) throw error;
      }
    }
  }

  #url({ path, query = {} }: Call): URL {
    const { server } = this.#credentials;
    // The server may stand behind a path (`https://rancher/k8s/clusters/c-1`).
    const url = new URL(server.pathname.replace(/\/$/, '') + path, server);
    for (const [name, value] of Object.entries(query))
      if (value !== undefined) url.searchParams.set(name, value);
    return url;
  }

  /** New certificates need new connections. A watch on the old ones goes on until its end. */
  #agentFor(tls: Access['tls']): Https.Agent {
    const wanted = JSON.stringify(tls);
    if (this.#agent !== undefined && wanted === this.#tls) return this.#agent;
    this.#tls = wanted;
    this.#agent = new (https().Agent)({
      keepAlive: true,
      keepAliveMsecs: KEEP_ALIVE_MS,
      maxSockets: MAX_CONNECTIONS,
      timeout: IDLE_CONNECTION_MS,
      ...tls,
    });
    return this.#agent;
  }
}

/** @returns undefined where it is longer than `limit` bytes */
async function textOf(response: Http.IncomingMessage, limit: number): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > limit) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, length).toString('utf8');
}
