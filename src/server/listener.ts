import { once } from 'node:events';
import type { RequestListener, Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { ListenAddress } from '../config/listen-address.ts';

/**
 * `import ... from 'node:http'` evaluates all of its exports, WebSocket among them, and so loads undici: 7.0 MB of
 * anonymous memory and 30 ms instead of 0.5 MB and 3 ms.
 */
const http = process.getBuiltinModule('node:http');

/** The address cannot be used; the message is one line that names the option and the mend. */
export class ListenError extends Error {
  constructor(message: string, cause: unknown) {
    super(message, { cause });
    this.name = 'ListenError';
  }
}

/** An HTTP server for few readers, none of whom can hold it up. */
export interface Listener {
  /** With the port that was chosen where 0 was asked for. */
  readonly url: string;
  /** The address that was bound. */
  readonly address: string;
  /** Lets answers end that have begun, for at most a second. */
  close(): Promise<void>;
}

export interface ListenerOptions {
  readonly listen: ListenAddress;
  /** The option that the address comes from, e.g. `listen`, and how else it can be mended than by another address. */
  readonly option: string;
  readonly instead: string;
  /** Given the address when it is bound. */
  readonly answer: (address: string) => RequestListener;
}

const LIMITS = {
  /** Bytes; browsers send about 1 KiB. */
  maxHeaderSize: 8 << 10,
  headersTimeout: 5000,
  requestTimeout: 10_000,
  keepAliveTimeout: 5000,
  connectionsCheckingInterval: 5000,
} as const;
/** Bounds memory: an unread answer may have a MiB. */
const MAX_CONNECTIONS = 128;
/** A reader that takes nothing for so long is gone. */
const SILENCE_MS = 30_000;
const CLOSE_MS = 1000;

/** @throws ListenError when the address is taken, not of this machine or not allowed */
export async function openListener(options: ListenerOptions): Promise<Listener> {
  const { host, port: wanted } = options.listen;
  const server = http.createServer(LIMITS);
  keepNewest(server);
  server.setTimeout(SILENCE_MS);
  try {
    server.listen({ port: wanted, ...(host !== '' && { host }) });
    await once(server, 'listening');
  } catch (error) {
    throw new ListenError(explained(error as NodeJS.ErrnoException, options), error);
  }
  // Such an error of one connection (too many open files) passes; the agent's work does not depend on it.
  server.on('error', () => {});
  const { address, port, family } = server.address() as AddressInfo;
  server.on('request', oneAtATime(options.answer(address)));
  const shown = family === 'IPv6' ? `[${address}]` : address;
  return { url: `http://${shown}:${port}/`, address, close: () => close(server) };
}

/** The oldest goes for the newest: whoever opens many and says nothing cannot keep the kubelet or Prometheus out. */
function keepNewest(server: Server): void {
  const open = new Set<Socket>();
  server.on('connection', (socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
    if (open.size <= MAX_CONNECTIONS) return;
    const [oldest] = open;
    open.delete(oldest!);
    oldest!.destroy();
  });
}

/**
 * Cuts off who asks again before he has the answer (pipelining, which no browser, Prometheus or kubelet does): 20,000 requests of one
 * connection made 20 MB of answers that nobody read, and each of its neighbours as many (measured).
 */
function oneAtATime(answer: RequestListener): RequestListener {
  const answering = new WeakSet<Socket>();
  return (request, response) => {
    const { socket } = request;
    if (answering.has(socket)) return void socket.destroy();
    answering.add(socket);
    response.once('close', () => answering.delete(socket));
    return answer(request, response);
  };
}

function explained({ code, message }: NodeJS.ErrnoException, options: ListenerOptions): string {
  const { listen, option, instead } = options;
  const place = `--${option} ${listen.host.includes(':') ? `[${listen.host}]` : listen.host}:${listen.port}`;
  switch (code) {
    case 'EADDRINUSE':
      return `${place}: the port is in use. Choose another one, or ${instead}.`;
    case 'EACCES':
      return `${place}: ports below 1024 need root. Choose a higher one, or ${instead}.`;
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `${place}: this machine has no such address. Use 127.0.0.1, [::1], 0.0.0.0 or one of its own, or ${instead}.`;
    default:
      return `${place}: ${message}. Use another HOST:PORT, or ${instead}.`;
  }
}

async function close(server: Server): Promise<void> {
  const closed = once(server, 'close');
  server.close();
  server.closeIdleConnections();
  const timer = setTimeout(() => server.closeAllConnections(), CLOSE_MS);
  await closed;
  clearTimeout(timer);
}
