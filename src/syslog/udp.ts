import type { Socket } from 'node:dgram';
import { once } from 'node:events';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { dgram, dns } from '../net/lazy-builtins.ts';
import type { SyslogMessage } from './message.ts';
import type { Server, Transport } from './transport.ts';

/** How long a machine in the same building may take to say that nobody listens there. */
const REFUSAL_MS = 50;

/** The largest datagram of IPv4: 65,535 bytes less the headers of IP and UDP. */
export const UDP_MAX_BYTES = 65_507;

/**
 * RFC 5426: one datagram for each message. Delivered means: sent, and nobody has said that the port is closed (ICMP,
 * which a firewall may swallow). What a full receiver or the network drops is lost without notice.
 */
export class UdpTransport implements Transport {
  readonly #server: Server;

  constructor(server: Server) {
    this.#server = server;
  }

  async send(messages: readonly SyslogMessage[], signal: AbortSignal): Promise<void> {
    const { address, family } = await addressOf(this.#server.host);
    signal.throwIfAborted();
    const socket = dgram().createSocket(family === 6 ? 'udp6' : 'udp4');
    const failed = once(socket, 'error').then(([error]) => Promise.reject(error));
    failed.catch(() => {});
    try {
      await Promise.race([failed, sendAll(socket, this.#server.port, address, messages, signal)]);
    } finally {
      socket.close();
    }
  }
}

/** The names of this machine stand for both families, but its syslog servers listen on IPv4 first. */
export function addressOf(host: string): Promise<{ address: string; family: number }> {
  return dns().promises.lookup(host, { order: 'ipv4first' });
}

async function sendAll(
  socket: Socket,
  port: number,
  address: string,
  messages: readonly SyslogMessage[],
  signal: AbortSignal,
): Promise<void> {
  // Only a connected socket is told that a port is closed.
  socket.connect(port, address);
  await once(socket, 'connect', { signal });
  const send = promisify((bytes: Buffer, sent: (error: Error | null) => void) => socket.send(bytes, sent));
  for (const { bytes } of messages) {
    signal.throwIfAborted();
    await send(bytes);
  }
  await sleep(REFUSAL_MS, undefined, { signal });
  // What has come while this process stood still is read before.
  await nextTurn();
}
