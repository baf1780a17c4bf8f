import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';
import { type Certificates, makeCertificates } from '../fixtures/tls.ts';
import { answerTo } from './api-double-answers.ts';
import { ApiWatch } from './api-double-watch.ts';
import { type ApiObject, ObjectStore, resourcePath } from './object-store.ts';

export interface ApiRequest {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage['headers'];
  /** The same, each line a value of its own. */
  readonly headerLines: IncomingMessage['headersDistinct'];
  // biome-ignore lint/suspicious/noExplicitAny: what is tested may send anything
  readonly body: any;
  /** When it came, `performance.now()`. */
  readonly at: number;
}

export type Fault =
  /** A Status object as the API makes it. */
  | {
      readonly kind: 'status';
      readonly status: number;
      readonly reason?: string;
      readonly message?: string;
      readonly headers?: Readonly<Record<string, string>>;
    }
  /** Any bytes. */
  | {
      readonly kind: 'raw';
      readonly status?: number;
      readonly body: string;
      readonly headers?: Readonly<Record<string, string>>;
    }
  /** The connection is cut before an answer. */
  | { readonly kind: 'reset' }
  /** No answer ever. */
  | { readonly kind: 'hang' }
  /** The headers come, and then nothing. */
  | { readonly kind: 'mute' };

/**
 * An API server in this process, over HTTPS with an authority of its own, for faults that a real one cannot be made to show. What it
 * does right it does as the real one: both pass api-contract.ts. Objects of any kind are kept as they are; nothing is admitted,
 * defaulted or collected.
 */
export class ApiDouble {
  readonly store = new ObjectStore();
  /** In order; watches too. */
  readonly requests: ApiRequest[] = [];
  /** Bearer tokens that are let in; take one out, and it has expired. */
  readonly tokens = new Set(['first-token']);
  readonly certificates: Certificates;
  /** How many connections were ever made. */
  connections = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #watches = new Set<ApiWatch>();
  readonly #faults: { readonly match: RegExp; readonly fault: Fault; left: number }[] = [];
  readonly #awaitWatch: (() => void)[] = [];
  #port = 0;

  constructor(certificates: Certificates) {
    this.certificates = certificates;
    this.#server = createServer({
      cert: readFileSync(certificates.serverCert),
      key: readFileSync(certificates.serverKey),
    });
    this.#server.on('secureConnection', (socket) => {
      this.connections += 1;
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
    this.#server.on('request', (request, response) => void this.#take(request, response));
  }

  static async start(t: { after(clean: () => unknown): void }): Promise<ApiDouble> {
    const double = new ApiDouble(makeCertificates(t));
    await double.up();
    t.after(() => double.down());
    return double;
  }

  get url(): string {
    return `https://127.0.0.1:${this.#port}`;
  }

  /** How many watches are open. */
  get watching(): number {
    return this.#watches.size;
  }

  /**
   * Writes a kubeconfig file.
   *
   * @param user what stands in its `user`
   * @returns its path
   */
  kubeconfig(user: object = { token: 'first-token' }, cluster: object = {}): string {
    const path = join(this.certificates.folder, `kubeconfig-${this.requests.length}-${Math.random()}.json`);
    const config = {
      'current-context': 'double',
      clusters: [
        {
          name: 'double',
          cluster: { server: this.url, 'certificate-authority': this.certificates.ca, ...cluster },
        },
      ],
      users: [{ name: 'somebody', user }],
      contexts: [{ name: 'double', context: { cluster: 'double', user: 'somebody' } }],
    };
    writeFileSync(path, JSON.stringify(config));
    return path;
  }

  /** Creates or replaces the object at a path like `/api/v1/namespaces/default/pods/a`. */
  put(path: string, object: ApiObject): ApiObject {
    return this.store.put(resourcePath(path)!, object);
  }

  remove(path: string): void {
    this.store.remove(resourcePath(path)!);
  }

  object(path: string): ApiObject | undefined {
    return this.store.get(resourcePath(path)!);
  }

  /** The next `times` requests whose `METHOD /path?query` matches meet this instead of an answer. */
  fail(match: RegExp, fault: Fault, times = 1): void {
    this.#faults.push({ match, fault, left: times });
  }

  /** All watches end as they do after `timeoutSeconds`. */
  endWatches(): void {
    for (const watch of this.#watches) watch.end();
  }

  sendBookmarks(): void {
    for (const watch of this.#watches) watch.bookmark();
  }

  /** Anything, to all who watch. */
  sendToWatches(text: string): void {
    for (const watch of this.#watches) watch.send(text);
  }

  /** As when the server or something in between dies. */
  cutConnections(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Resolves when somebody watches from now on. */
  nextWatch(): Promise<void> {
    return new Promise((resolve) => this.#awaitWatch.push(resolve));
  }

  /** Resolves when all connections are closed that are open now. */
  async closed(): Promise<void> {
    const closed = [...this.#sockets].map((socket) => new Promise((resolve) => socket.on('close', resolve)));
    await Promise.all(closed);
  }

  async down(): Promise<void> {
    if (!this.#server.listening) return;
    this.#server.close();
    this.cutConnections();
    await once(this.#server, 'close');
  }

  /** On the port that it had. */
  async up(): Promise<void> {
    this.#server.listen(this.#port, '127.0.0.1');
    await once(this.#server, 'listening');
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  async #take(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(incoming.url!, this.url);
    const text = await textOf(incoming);
    const request: ApiRequest = {
      method: incoming.method!,
      path: url.pathname,
      query: url.searchParams,
      headers: incoming.headers,
      headerLines: incoming.headersDistinct,
      body: text === '' ? undefined : JSON.parse(text),
      at: performance.now(),
    };
    this.requests.push(request);
    const said = `${request.method} ${incoming.url}`;
    const meant = this.#faults.find(({ match, left }) => left > 0 && match.test(said));
    if (meant !== undefined) {
      meant.left -= 1;
      this.#failWith(meant.fault, incoming, response);
      return;
    }
    const answer = answerTo(request, this.store, this.tokens);
    if (answer.kind === 'watch')
      return this.#watch(new ApiWatch(this.store, answer.watch, response), response);
    send(response, answer.status, JSON.stringify(answer.body));
  }

  #watch(watch: ApiWatch, response: ServerResponse): void {
    this.#watches.add(watch);
    for (const resolve of this.#awaitWatch.splice(0)) resolve();
    response.on('close', () => {
      watch.end();
      this.#watches.delete(watch);
    });
  }

  #failWith(fault: Fault, incoming: IncomingMessage, response: ServerResponse): void {
    switch (fault.kind) {
      case 'status': {
        const { status, reason = '', message = 'as the test wants it', headers } = fault;
        const body = { kind: 'Status', apiVersion: 'v1', status: 'Failure', message, reason, code: status };
        send(response, status, JSON.stringify(body), headers);
        return;
      }
      case 'raw':
        send(response, fault.status ?? 200, fault.body, fault.headers);
        return;
      case 'reset':
        incoming.socket.destroy();
        return;
      case 'mute':
        response.writeHead(200, { 'content-type': 'application/json' });
        response.flushHeaders();
    }
  }
}

function send(
  response: ServerResponse,
  status: number,
  body: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(body);
}

async function textOf(incoming: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}
