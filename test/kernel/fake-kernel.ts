import assert from 'node:assert/strict';
import { EAGAIN, type Libc } from '../../src/kernel/libc.ts';

/** PROC_EVENT_* of include/uapi/linux/cn_proc.h. */
export const FORK = 0x00000001;
export const EXEC = 0x00000002;
export const UID = 0x00000004;
export const COMM = 0x00000200;
export const EXIT = 0x80000000;

/**
 * A datagram of the kernel: struct nlmsghdr, struct cn_msg, then struct proc_event, which is
 * `what, cpu, timestamp_ns` and a union of which the longest member has six 32-bit fields.
 */
export function event(what: number, timestampNs: bigint, ...fields: number[]): Buffer {
  const datagram = Buffer.alloc(16 + 20 + 40);
  datagram.writeUInt32LE(datagram.length, 0);
  datagram.writeUInt16LE(3, 4); // NLMSG_DONE
  datagram.writeUInt32LE(1, 16); // CN_IDX_PROC
  datagram.writeUInt32LE(1, 20); // CN_VAL_PROC
  datagram.writeUInt16LE(40, 32);
  datagram.writeUInt32LE(what, 36);
  datagram.writeUInt32LE(3, 40); // cpu
  datagram.writeBigUInt64LE(timestampNs, 44);
  for (const [index, field] of fields.entries()) datagram.writeUInt32LE(field, 52 + 4 * index);
  return datagram;
}

/** A kernel whose socket gives these datagrams and errors (numbers), one a call, and then has nothing. */
export class FakeKernel {
  readonly sent: Buffer[] = [];
  readonly closed: number[] = [];
  readonly entered: number[] = [];
  bound = '';
  /** The answer to the next send; 0: it is accepted. */
  refusals: number[] = [];
  readonly #received: (Buffer | number)[];
  #sockets = 0;
  #errno = 0;

  constructor(received: readonly (Buffer | number)[] = []) {
    this.#received = [...received];
  }

  get unread(): number {
    return this.#received.length;
  }

  receive(...datagrams: readonly Buffer[]): void {
    this.#received.push(...datagrams);
  }

  #fail(errno: number): -1 {
    this.#errno = errno;
    return -1;
  }

  /** What `ProcConnector` calls of it. */
  readonly libc = {
    socket: () => 1_000 + this.#sockets++,
    setsockopt: () => 0,
    bind: (_fd: number, address: Buffer, length: number) => {
      this.bound = address.toString('hex', 0, length);
      return 0;
    },
    send: (_fd: number, buffer: Buffer, length: bigint) => {
      const refusal = this.refusals.shift() ?? 0;
      if (refusal !== 0) return BigInt(this.#fail(refusal));
      this.sent.push(Buffer.from(buffer.subarray(0, Number(length))));
      return length;
    },
    recv: (_fd: number, buffer: Buffer, length: bigint) => {
      const next = this.#received.shift() ?? EAGAIN;
      if (typeof next === 'number') return BigInt(this.#fail(next));
      assert.ok(BigInt(next.length) <= length);
      return BigInt(next.copy(buffer));
    },
    setns: (_fd: number, kind: number) => {
      this.entered.push(kind);
      return 0;
    },
    close: (fd: number) => {
      this.closed.push(fd);
      return 0;
    },
    errno: () => this.#errno,
  } as Partial<Libc> as Libc;
}
