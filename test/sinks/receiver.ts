import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { Readable } from 'node:stream';
import type { TestContext } from 'node:test';
import type { Certificates } from '../fixtures/tls.ts';

export interface ReceivedRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
  /** The number of the connection that it came over, from 0. */
  readonly connection: number;
  /** Whether the client showed a certificate of the test's authority. */
  readonly clientAuthorized: boolean;
}

/** What a receiver does with a request: answers, or `hang` (never), `cut` (closes the connection), `endless` (400, and never stops talking). */
export type Reaction =
  | { readonly status: number; readonly headers?: Readonly<Record<string, string>>; readonly body?: string }
  | 'hang'
  | 'endless'
  | 'cut';

export interface ReceiverOptions {
  /** HTTPS with this server certificate; clients may show one of the same authority. */
  readonly tls?: Certificates;
  /** Looks at each request first; what it returns is the reaction. Default: 200 `ok`. */
  readonly react?: (request: ReceivedRequest) => Reaction;
}

/** A web server on loopback that keeps what it receives and misbehaves on demand. */
export class Receiver {
  readonly requests: ReceivedRequest[] = [];
  readonly #options: ReceiverOptions;
  readonly #server: http.Server;
  readonly #sockets = new Set<Socket>();
  readonly #connectionOf = new WeakMap<Socket, number>();
  #queued: Reaction[] = [];
  #connections = 0;
  #port = 0;

  static async start(t: TestContext, options: ReceiverOptions = {}): Promise<Receiver> {
    const receiver = new Receiver(options);
    await receiver.#listen();
    t.after(() => receiver.stop());
    return receiver;
  }

  private constructor(options: ReceiverOptions) {
    this.#options = options;
    const { tls } = options;
    const onRequest: http.RequestListener = (request, response) => this.#take(request, response);
    this.#server = tls
      ? https.createServer({ ...identityOf(tls), requestCert: true, rejectUnauthorized: false }, onRequest)
      : http.createServer(onRequest);
    // Idle connections stay until the client ends them: a sink that forgets to is found out.
    this.#server.keepAliveTimeout = 0;
    this.#server.on(tls ? 'secureConnection' : 'connection', (socket: Socket) =>
      this.#connectionOf.set(socket, this.#connections++),
    );
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
      socket.on('error', () => {});
    });
  }

  get openConnections(): number {
    return this.#sockets.size;
  }

  get url(): string {
    return `${this.#options.tls ? 'https' : 'http'}://localhost:${this.#port}`;
  }

  /** The next requests get these reactions, in this order. */
  next(...reactions: readonly Reaction[]): void {
    this.#queued.push(...reactions);
  }

  /** @param tls instead of the certificates that it had */
  async restart(tls?: Certificates): Promise<void> {
    await this.stop();
    if (tls) (this.#server as https.Server).setSecureContext(identityOf(tls));
    await this.#listen();
  }

  async stop(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  async #listen(): Promise<void> {
    this.#server.listen(this.#port, 'localhost');
    await once(this.#server, 'listening');
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  async #take(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of request) chunks.push(chunk);
    } catch {
      return; // the client went away in the middle
    }
    const received: ReceivedRequest = {
      method: request.method ?? '',
      path: request.url ?? '',
      headers: request.headers,
      body: Buffer.concat(chunks).toString('utf8'),
      connection: this.#connectionOf.get(request.socket) ?? -1,
      clientAuthorized: (request.socket as { authorized?: boolean }).authorized === true,
    };
    const reaction = this.#queued.shift() ?? this.#options.react?.(received) ?? { status: 200, body: 'ok' };
    this.requests.push(received);
    if (reaction === 'hang') return;
    if (reaction === 'cut') request.socket.destroy();
    else if (reaction === 'endless') Readable.from(babble()).pipe(response.writeHead(400));
    else response.writeHead(reaction.status, reaction.headers).end(reaction.body ?? '');
  }
}

function identityOf({ serverCert, serverKey, ca }: Certificates) {
  return { cert: readFileSync(serverCert), key: readFileSync(serverKey), ca: readFileSync(ca) };
}

function* babble(): Generator<Buffer> {
  for (;;) yield Buffer.alloc(64 * 1024, 'x');
}
