/**
 * The kernel's process events: fork, exec and exit of every process, pushed over netlink
 * (Documentation/driver-api/connector.rst, include/uapi/linux/cn_proc.h).
 *
 * Needs CAP_NET_ADMIN (kernels before 6.6), the initial pid namespace and the initial network namespace; from another
 * network namespace `send` fails with ECONNREFUSED, and this thread alone enters the host's.
 */
import { closeSync, openSync, readdirSync, readlinkSync } from 'node:fs';
import {
  AF_NETLINK,
  CLONE_NEWNET,
  EAGAIN,
  ECONNREFUSED,
  EINTR,
  ENOBUFS,
  errnoName,
  type Libc,
  SO_RCVBUFFORCE,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOL_SOCKET,
} from './libc.ts';

const NETLINK_CONNECTOR = 11;
const CN_IDX_PROC = 1;
const CN_VAL_PROC = 1;
const NLMSG_DONE = 3;
const PROC_CN_MCAST_LISTEN = 1;

const PROC_EVENT_FORK = 0x1;
const PROC_EVENT_EXEC = 0x2;
const PROC_EVENT_EXIT = 0x80000000;

const NETLINK_HEADER = 16;
const EVENT = NETLINK_HEADER + 20;
const TIMESTAMP = EVENT + 8;
const DATA = EVENT + 16;
/** A FORK event, the longest that is read, ends here. The kernel sends more: struct proc_event whole, whatever the event. */
const SHORTEST = DATA + 16;

/** 8 MiB of kernel memory at most, filled only while we are late: about 12,000 events on x86-64. */
const RECEIVE_BUFFER = 8 << 20;

const MOST_NAMESPACES = 256;

export interface ProcEventHandler {
  /** A process, not a thread. Times are CLOCK_MONOTONIC, ms. */
  fork(pid: number, parentPid: number, time: number): void;
  /** This process has started a second thread (and perhaps more). */
  thread(pid: number, threadId: number): void;
  exec(pid: number, time: number): void;
  /** `status` is a wait status: its low 7 bits are the signal. For the thread-group leader only. */
  exit(pid: number, status: number, time: number): void;
}

export class ProcConnector {
  readonly fd: number;
  readonly #libc: Libc;
  readonly #buffer = Buffer.alloc(4096);
  readonly #capacity = BigInt(4096);

  private constructor(libc: Libc, fd: number) {
    this.#libc = libc;
    this.fd = fd;
  }

  /**
   * Subscribes. On success nothing is proved yet: in a foreign pid or user namespace the kernel stays silent.
   *
   * @throws with the call and the errno's name
   */
  static open(libc: Libc, procRoot: string): ProcConnector {
    let { fd, failed } = subscribed(libc);
    if (failed === ECONNREFUSED)
      for (const namespace of networkNamespaces(procRoot)) {
        libc.close(fd);
        enterNamespace(libc, namespace, CLONE_NEWNET);
        ({ fd, failed } = subscribed(libc));
        if (failed !== ECONNREFUSED) break;
      }
    if (failed !== 0) {
      libc.close(fd);
      throw new Error(`subscribing to process events failed: ${errnoName(failed)}`);
    }
    return new ProcConnector(libc, fd);
  }

  /**
   * Hands over what has arrived, at most `limit` events, without waiting. An overrun does not stop it: what was queued
   * before the kernel began to drop is still there, up to the whole receive buffer.
   *
   * @returns `overrun`: the kernel dropped events (ENOBUFS), so /proc must be read again; `more`: the limit was reached
   */
  drain(handler: ProcEventHandler, limit: number): 'empty' | 'more' | 'overrun' {
    const { recv, errno } = this.#libc;
    const buffer = this.#buffer;
    let overrun = false;
    for (let count = 0; count < limit; count++) {
      const length = Number(recv(this.fd, buffer, this.#capacity, 0));
      if (length < 0) {
        const error = errno();
        if (error === EINTR) continue;
        if (error === EAGAIN) return overrun ? 'overrun' : 'empty';
        if (error === ENOBUFS) {
          overrun = true;
          continue;
        }
        throw new Error(`reading process events failed: ${errnoName(error)}`);
      }
      if (length < SHORTEST) continue;
      dispatch(buffer, handler);
    }
    return overrun ? 'overrun' : 'more';
  }

  close(): void {
    this.#libc.close(this.fd);
  }
}

function dispatch(buffer: Buffer, handler: ProcEventHandler): void {
  const time = buffer.readUInt32LE(TIMESTAMP) / 1e6 + buffer.readUInt32LE(TIMESTAMP + 4) * (2 ** 32 / 1e6);
  switch (buffer.readUInt32LE(EVENT)) {
    case PROC_EVENT_FORK: {
      const childPid = buffer.readInt32LE(DATA + 8);
      const childTgid = buffer.readInt32LE(DATA + 12);
      if (childPid === childTgid) handler.fork(childTgid, buffer.readInt32LE(DATA + 4), time);
      else handler.thread(childTgid, childPid);
      return;
    }
    case PROC_EVENT_EXEC:
      handler.exec(buffer.readInt32LE(DATA + 4), time);
      return;
    case PROC_EVENT_EXIT: {
      const pid = buffer.readInt32LE(DATA);
      if (pid === buffer.readInt32LE(DATA + 4)) handler.exit(pid, buffer.readInt32LE(DATA + 8), time);
      return;
    }
  }
}

function subscribed(libc: Libc): { fd: number; failed: number } {
  const fd = connect(libc);
  return { fd, failed: subscribe(libc, fd) };
}

/**
 * A path for each network namespace that some process is in, the likeliest to be the host's first: process 1, then
 * kernel threads, which are always there and may be looked at where process 1 may not.
 */
function networkNamespaces(procRoot: string): string[] {
  const pids = readdirSync(procRoot)
    .map(Number)
    .filter((pid) => pid > 0)
    .sort((a, b) => a - b);
  const paths = new Map<string, string>();
  for (const pid of pids) {
    const path = `${procRoot}/${pid}/ns/net`;
    try {
      const namespace = readlinkSync(path);
      if (!paths.has(namespace)) paths.set(namespace, path);
    } catch {
      // Gone, or not ours to look at.
    }
    if (paths.size === MOST_NAMESPACES) break;
  }
  return [...paths.values()];
}

function connect(libc: Libc): number {
  const fd = libc.socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_CONNECTOR);
  if (fd < 0) throw new Error(`no socket for process events: ${errnoName(libc.errno())}`);
  const size = Buffer.alloc(4);
  size.writeInt32LE(RECEIVE_BUFFER);
  libc.setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, size, 4);
  const address = Buffer.alloc(12);
  address.writeUInt16LE(AF_NETLINK, 0);
  address.writeUInt32LE(CN_IDX_PROC, 8);
  if (libc.bind(fd, address, 12) < 0) {
    const error = libc.errno();
    libc.close(fd);
    throw new Error(`process events cannot be bound: ${errnoName(error)}`);
  }
  return fd;
}

/**
 * First the plain subscription, then the event filter: on 5.10 and 6.1 a filtered one alone delivers nothing, without
 * an error (measured); they ignore the second message and go on sending every kind of event.
 *
 * @returns 0 or the errno
 */
function subscribe(libc: Libc, fd: number): number {
  const plain = Buffer.alloc(4);
  plain.writeUInt32LE(PROC_CN_MCAST_LISTEN);
  const filtered = Buffer.alloc(8);
  filtered.writeUInt32LE(PROC_CN_MCAST_LISTEN);
  filtered.writeUInt32LE((PROC_EVENT_FORK | PROC_EVENT_EXEC | PROC_EVENT_EXIT) >>> 0, 4);
  for (const operation of [plain, filtered]) {
    const message = connectorMessage(operation);
    if (libc.send(fd, message, BigInt(message.length), 0) < 0n) return libc.errno();
  }
  return 0;
}

/** struct nlmsghdr, then struct cn_msg, then the operation. */
function connectorMessage(operation: Buffer): Buffer {
  const message = Buffer.alloc(NETLINK_HEADER + 20 + operation.length);
  message.writeUInt32LE(message.length, 0);
  message.writeUInt16LE(NLMSG_DONE, 4);
  message.writeUInt32LE(CN_IDX_PROC, 16);
  message.writeUInt32LE(CN_VAL_PROC, 20);
  message.writeUInt16LE(operation.length, 32);
  operation.copy(message, 36);
  return message;
}

/**
 * Moves the calling thread, and only it, into another namespace.
 *
 * @throws with the path and the errno's name (CAP_SYS_ADMIN is needed)
 */
export function enterNamespace(libc: Libc, path: string, kind: number): void {
  const fd = openSync(path, 'r');
  try {
    if (libc.setns(fd, kind) < 0) throw new Error(`${path} cannot be entered: ${errnoName(libc.errno())}`);
  } finally {
    closeSync(fd);
  }
}
