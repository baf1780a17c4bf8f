/** Syslog receivers inside the test's own process: they take messages apart as the RFCs say, independent of the sender's code. */
import assert from 'node:assert/strict';
import dgram from 'node:dgram';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import net from 'node:net';
import tls from 'node:tls';
import { loadLibc, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK } from '../../src/kernel/libc.ts';

export interface SyslogReceiver {
  readonly port: number;
  /** Complete messages in order of arrival. */
  readonly messages: readonly string[];
  /** What each connection sent in all, byte for byte. */
  readonly connections: readonly string[];
  /** Cuts every connection and listens again at the same address. */
  restart(): Promise<void>;
}

type Cleanup = { after(clean: () => void | Promise<void>): void };

/** @param onConnection what it does instead of reading */
export async function receiveStream(
  t: Cleanup,
  options?: tls.TlsOptions,
  onConnection?: (socket: net.Socket) => void,
): Promise<SyslogReceiver> {
  const messages: string[] = [];
  const connections: string[] = [];
  const sockets = new Set<net.Socket>();
  const take = (socket: net.Socket) => {
    let bytes = Buffer.alloc(0);
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {});
    if (onConnection) return onConnection(socket);
    socket.on('data', (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
    });
    socket.on('end', () => {
      connections.push(bytes.toString());
      messages.push(...unframed(bytes));
    });
  };
  const server = options ? tls.createServer(options, take) : net.createServer(take);
  const listen = async (port: number) => {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
  };
  const close = async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((closed) => server.close(closed));
  };
  server.on('tlsClientError', () => {});
  await listen(0);
  t.after(close);
  const { port } = server.address() as net.AddressInfo;
  return {
    port,
    messages,
    connections,
    async restart() {
      await close();
      await listen(port);
    },
  };
}

/** RFC 6587: with octet counting a frame begins with a digit, a message with `<`. */
function unframed(bytes: Buffer): string[] {
  const messages: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const counted = /^([1-9]\d*) /.exec(bytes.toString('latin1', at, at + 12));
    const end = bytes.indexOf('\n', at);
    const start = counted ? at + counted[0].length : at;
    const stop = counted ? start + Number(counted[1]) : end < 0 ? bytes.length : end;
    assert.ok(stop <= bytes.length, 'a frame is cut off');
    messages.push(bytes.toString('utf8', start, stop));
    at = counted || end < 0 ? stop : stop + 1;
  }
  return messages;
}

export async function receiveUdp(t: Cleanup): Promise<SyslogReceiver> {
  const messages: string[] = [];
  let socket: dgram.Socket;
  const listen = async (port: number) => {
    socket = dgram.createSocket('udp4');
    socket.on('message', (bytes) => messages.push(bytes.toString()));
    socket.bind(port, '127.0.0.1');
    await once(socket, 'listening');
  };
  const close = () => new Promise<void>((closed) => socket.close(closed));
  await listen(0);
  t.after(close);
  const { port } = socket!.address();
  return {
    port,
    messages,
    connections: [],
    async restart() {
      await close();
      await listen(port);
    },
  };
}

const AF_UNIX = 1;

export interface UnixReceiver {
  /** Everything that has come so far; it also reads on its own. */
  read(): readonly string[];
  /** Stops to read on its own, as a frozen server does. */
  pause(): void;
  restart(): void;
}

/** Needs a Node.js with FFI. */
export function receiveUnix(t: Cleanup, path: string): UnixReceiver {
  const loaded = loadLibc();
  if ('missing' in loaded) throw new Error(loaded.missing);
  const { libc } = loaded;
  const messages: string[] = [];
  const buffer = Buffer.alloc(128 * 1024);
  let fd = -1;
  const listen = () => {
    rmSync(path, { force: true });
    const address = Buffer.alloc(2 + Buffer.byteLength(path) + 1);
    address.writeUInt16LE(AF_UNIX);
    address.write(path, 2);
    fd = libc.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert.equal(libc.bind(fd, address, address.length), 0, 'bind');
  };
  const read = () => {
    for (;;) {
      const length = Number(libc.recv(fd, buffer, BigInt(buffer.length), 0));
      if (length < 0) return messages;
      messages.push(buffer.toString('utf8', 0, length));
    }
  };
  listen();
  const reading = setInterval(read, 2);
  t.after(() => {
    clearInterval(reading);
    libc.close(fd);
  });
  return {
    read,
    pause: () => clearInterval(reading),
    restart() {
      read();
      libc.close(fd);
      listen();
    },
  };
}

/** Takes connections and reads nothing. */
export async function receiveNothing(t: Cleanup): Promise<number> {
  const sockets: net.Socket[] = [];
  const server = net.createServer({ pauseOnConnect: true, allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    sockets.push(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((closed) => server.close(closed));
  });
  return (server.address() as net.AddressInfo).port;
}
