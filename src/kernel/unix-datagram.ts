/** Datagrams to a local socket (unix(7), SOCK_DGRAM), which Node.js has no name for, through libc. */
import { EAGAIN, EINTR, errnoName, loadFunctions, SOCK_CLOEXEC, SOCK_DGRAM } from './libc.ts';

const AF_UNIX = 1;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const SIOCOUTQ = 0x5411;

/** sockaddr_un: two bytes of family, then the path and its zero byte. */
export const LONGEST_SOCKET_PATH = 107;

const signatures = {
  socket: { arguments: ['i32', 'i32', 'i32'], return: 'i32' },
  connect: { arguments: ['i32', 'pointer', 'u32'], return: 'i32' },
  send: { arguments: ['i32', 'pointer', 'u64', 'i32'], return: 'i64' },
  ioctl: { arguments: ['i32', 'u64', 'pointer'], return: 'i32' },
  close: { arguments: ['i32'], return: 'i32' },
} as const;

type Pointer = NodeJS.ArrayBufferView;

interface SocketCalls {
  socket(domain: number, type: number, protocol: number): number;
  connect(fd: number, address: Pointer, length: number): number;
  send(fd: number, buffer: Pointer, length: bigint, flags: number): bigint;
  ioctl(fd: number, request: bigint, argument: Pointer): number;
  close(fd: number): number;
  errno(): number;
}

/** A socket that is connected to one receiver; when that has ended, `send` fails with ECONNREFUSED. */
export interface UnixDatagramSocket {
  /** False where the receiver's queue is full: try again later. */
  send(bytes: Buffer): boolean;
  /**
   * How much of what was sent the receiver has not yet read (SIOCOUTQ): for a local socket the kernel counts a
   * datagram for its sender until the receiver takes it, or ends.
   */
  unread(): number;
  close(): void;
}

export type ConnectUnixDatagram = (path: string) => UnixDatagramSocket;

/** @returns how to connect, or why that cannot be done (an older Node.js, another libc) */
export function loadUnixDatagram(): { connect: ConnectUnixDatagram } | { missing: string } {
  const loaded = loadFunctions<Omit<SocketCalls, 'errno'>>(signatures);
  if ('missing' in loaded) return loaded;
  const calls = { ...loaded.functions, errno: loaded.errno };
  return { connect: (path) => connect(calls, path) };
}

function connect(libc: SocketCalls, path: string): UnixDatagramSocket {
  const failure = (call: string) => {
    const code = errnoName(libc.errno());
    return Object.assign(new Error(`${call} ${path}: ${code}`), { code });
  };
  const name = Buffer.from(path);
  if (name.length > LONGEST_SOCKET_PATH) throw new Error(`${path} is too long for a socket`);
  const address = Buffer.alloc(2 + name.length + 1);
  address.writeUInt16LE(AF_UNIX);
  name.copy(address, 2);

  const fd = libc.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) throw failure('socket');
  if (libc.connect(fd, address, address.length) < 0) {
    const error = failure('connect');
    libc.close(fd);
    throw error;
  }
  return {
    send(bytes) {
      for (;;) {
        if (libc.send(fd, bytes, BigInt(bytes.length), MSG_DONTWAIT | MSG_NOSIGNAL) >= 0n) return true;
        const errno = libc.errno();
        if (errno === EAGAIN) return false;
        if (errno !== EINTR) throw failure('send');
      }
    },
    unread() {
      const count = Buffer.alloc(4);
      if (libc.ioctl(fd, BigInt(SIOCOUTQ), count) < 0) throw failure('ioctl SIOCOUTQ');
      return count.readInt32LE();
    },
    close: () => void libc.close(fd),
  };
}
