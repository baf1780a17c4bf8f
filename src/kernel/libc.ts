/**
 * The calls of libc that Node.js has no name for, through `node:ffi` (Node.js 26.1 and later, experimental).
 * Everything that `node:fs` can do is done with it: measured, open + read + close of a /proc file costs 5.9 µs
 * through node:fs, 6.4 through FFI and 4.8 in C.
 */
import { getSystemErrorName } from 'node:util';

export const AF_NETLINK = 16;
export const SOCK_DGRAM = 2;
export const SOCK_CLOEXEC = 0o2000000;
export const SOCK_NONBLOCK = 0o4000;
export const SOL_SOCKET = 1;
export const SO_RCVBUFFORCE = 33;
export const POLLIN = 1;
export const CLONE_NEWCGROUP = 0x02000000;
export const CLONE_NEWNET = 0x40000000;
export const EINTR = 4;
export const EAGAIN = 11;
export const ENOBUFS = 105;
export const EINPROGRESS = 115;
export const ECONNREFUSED = 111;

const signatures = {
  socket: { arguments: ['i32', 'i32', 'i32'], return: 'i32' },
  bind: { arguments: ['i32', 'pointer', 'u32'], return: 'i32' },
  send: { arguments: ['i32', 'pointer', 'u64', 'i32'], return: 'i64' },
  recv: { arguments: ['i32', 'pointer', 'u64', 'i32'], return: 'i64' },
  setsockopt: { arguments: ['i32', 'i32', 'i32', 'pointer', 'u32'], return: 'i32' },
  poll: { arguments: ['pointer', 'u64', 'i32'], return: 'i32' },
  close: { arguments: ['i32'], return: 'i32' },
  setns: { arguments: ['i32', 'i32'], return: 'i32' },
  eventfd: { arguments: ['u32', 'i32'], return: 'i32' },
  posix_spawn: {
    arguments: ['pointer', 'pointer', 'pointer', 'pointer', 'pointer', 'pointer'],
    return: 'i32',
  },
  kill: { arguments: ['i32', 'i32'], return: 'i32' },
  waitpid: { arguments: ['i32', 'pointer', 'i32'], return: 'i32' },
} as const;

type Pointer = NodeJS.ArrayBufferView | bigint | null;

const LIBC = 'libc.so.6';

/** Negative results mean an error: see `errno()`. Sizes come and go as BigInt. */
export interface Libc {
  socket(domain: number, type: number, protocol: number): number;
  bind(fd: number, address: Pointer, length: number): number;
  send(fd: number, buffer: Pointer, length: bigint, flags: number): bigint;
  recv(fd: number, buffer: Pointer, length: bigint, flags: number): bigint;
  setsockopt(fd: number, level: number, name: number, value: Pointer, length: number): number;
  poll(fds: Pointer, count: bigint, timeoutMs: number): number;
  close(fd: number): number;
  setns(fd: number, kind: number): number;
  eventfd(initial: number, flags: number): number;
  posix_spawn(
    pid: Pointer,
    path: Pointer,
    actions: Pointer,
    attributes: Pointer,
    argv: Pointer,
    environment: Pointer,
  ): number;
  kill(pid: number, signal: number): number;
  waitpid(pid: number, status: Pointer, options: number): number;
  /** Of the last call in this thread. */
  errno(): number;
  /** The address of the view's first byte; the view must be kept alive by the caller. */
  addressOf(view: NodeJS.ArrayBufferView): bigint;
}

/** `ECONNREFUSED` for 111 */
export function errnoName(errno: number): string {
  try {
    return getSystemErrorName(-errno);
  } catch {
    return `errno ${errno}`;
  }
}

export type LoadedLibc = { readonly libc: Libc } | { readonly missing: string };

/** @returns what the capture thread needs of libc, or why there is none */
export function loadLibc(): LoadedLibc {
  const loaded = loadFunctions<Omit<Libc, 'errno' | 'addressOf'>>(signatures);
  if ('missing' in loaded) return loaded;
  const { functions, errno, addressOf } = loaded;
  return { libc: { ...functions, errno, addressOf } };
}

type Signatures = Parameters<typeof import('node:ffi').dlopen>[1] & object;

export interface LoadedFunctions<F> {
  readonly functions: F;
  errno(): number;
  addressOf(view: NodeJS.ArrayBufferView): bigint;
}

/**
 * @typeParam F what the signatures mean in TypeScript
 * @param library where they are in an older libc, if not in its main part
 * @returns functions of libc, or why they are not to be had (an older Node.js, another libc)
 */
export function loadFunctions<F>(
  wanted: Signatures,
  library = LIBC,
): LoadedFunctions<F> | { missing: string } {
  const ffi = process.getBuiltinModule('node:ffi');
  if (ffi === undefined) {
    const { node } = process.versions;
    if (process.allowedNodeEnvironmentFlags.has('--experimental-ffi'))
      return { missing: `node:ffi of Node.js ${node} is switched off (--no-experimental-ffi)` };
    return { missing: `Node.js ${node} has no node:ffi (26.1 or later has it)` };
  }
  try {
    const { functions } = ffi.dlopen(library, {
      ...wanted,
      __errno_location: { arguments: [], return: 'pointer' },
    });
    // One address for each thread, as long as the thread lives.
    const errnoAddress = functions.__errno_location() as bigint;
    return {
      functions: functions as F,
      errno: () => ffi.getInt32(errnoAddress),
      addressOf: (view) => ffi.getRawPointer(view as Uint8Array<ArrayBuffer>),
    };
  } catch (error) {
    return { missing: `${library} cannot be loaded: ${(error as Error).message}` };
  }
}
