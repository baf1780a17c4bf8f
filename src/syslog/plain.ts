/** Plain RFC 3164 over UDP and TCP, by syslog-client. */
import type { Socket } from 'node:net';
import type { PlainMessage, SyslogMessage } from './message.ts';
import { letGo, untilRead } from './stream.ts';
import type { Server, Transport } from './transport.ts';
import { addressOf } from './udp.ts';

/** What is used of syslog-client 1.1.1, which brings no types. */
interface SyslogClient {
  createClient(address: string, options: ClientOptions): Client;
  readonly Transport: { readonly Tcp: number; readonly Udp: number };
}

interface ClientOptions {
  readonly port: number;
  readonly transport: number;
  readonly tcpTimeout: number;
  readonly rfc3164: true;
}

interface Client {
  log(message: string, options: LogOptions, done: (error?: Error) => void): void;
  getTransport(done: (error: Error | null | undefined, socket?: Socket) => void): void;
  on(event: 'error', listener: (error: Error) => void): void;
  close(): void;
}

interface LogOptions {
  readonly facility: number;
  readonly severity: number;
  readonly timestamp: Date;
  readonly syslogHostname: string;
}

/** Its own idle limit ends in an error that says nothing about the messages; `signal` is the limit here. */
const NO_IDLE_LIMIT_MS = 2 ** 31 - 1;

/**
 * syslog-client always writes a header of its own, `<PRI>` date, host name and for RFC 5424 an empty structured data, and
 * a line feed behind: so it can carry RFC 3164 with newline framing and nothing else. Facility and severity are given
 * with each message, because its constructor takes 0 for unset. It emits `error` also for the ordinary end of a
 * connection; here a client lives for one batch only and the socket itself tells what became of it. Over TCP delivered
 * means that the server has read it (see `untilRead`); over UDP that it was sent: its socket is not told of closed ports.
 */
class PlainTransport implements Transport {
  readonly #library: SyslogClient;
  readonly #server: Server;
  readonly #protocol: 'tcp' | 'udp';

  constructor(library: SyslogClient, server: Server, protocol: 'tcp' | 'udp') {
    this.#library = library;
    this.#server = server;
    this.#protocol = protocol;
  }

  async send(messages: readonly SyslogMessage[], signal: AbortSignal): Promise<void> {
    const { address } = await addressOf(this.#server.host);
    signal.throwIfAborted();
    const { createClient, Transport } = this.#library;
    const client = createClient(address, {
      port: this.#server.port,
      transport: this.#protocol === 'tcp' ? Transport.Tcp : Transport.Udp,
      tcpTimeout: NO_IDLE_LIMIT_MS,
      rfc3164: true,
    });
    client.on('error', () => {});
    const write = async () => {
      for (const { plain } of messages) await log(client, plain!);
    };
    try {
      if (this.#protocol === 'udp') return await write();
      const startedAt = performance.now();
      const socket = await connected(client, signal);
      await untilRead(socket, write, performance.now() - startedAt, signal);
    } finally {
      client.close();
    }
  }
}

/** Loads the client. */
export async function plain(server: Server, protocol: 'tcp' | 'udp'): Promise<Transport> {
  // @ts-expect-error: it has no declarations
  const library = (await import('syslog-client')) as { default: SyslogClient };
  return new PlainTransport(library.default, server, protocol);
}

/** Its socket cannot be had before it is connected: where `signal` comes first, it is closed as soon as it can be. */
function connected(client: Client, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    client.getTransport((error, socket) => {
      signal.removeEventListener('abort', onAbort);
      if (error || !socket) return reject(error ?? new Error('no connection'));
      if (signal.aborted) return letGo(socket);
      socket.ref();
      resolve(socket);
    });
  });
}

function log(client: Client, message: PlainMessage): Promise<void> {
  const { facility, severity, time, hostname, content } = message;
  return new Promise((resolve, reject) => {
    client.log(content, { facility, severity, timestamp: time, syslogHostname: hostname }, (error) =>
      error ? reject(error) : resolve(),
    );
  });
}
