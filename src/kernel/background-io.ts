/**
 * Reads and writes that may take seconds or never end, each made by a thread of glibc's (aio(7)): ours waits for as long as it
 * wants to, and goes on. That costs 12 µs more than a read of its own.
 *
 * Their memory is none of V8's: what ends late finds it there, even when the thread that asked has ended.
 */
import { EAGAIN, EINPROGRESS, loadFunctions } from './libc.ts';

/** struct aiocb of glibc (aio.h) on a machine of 64 bits: where its fields are, and where what we put behind it is. */
const AIO_FILDES = 0;
const AIO_BUF = 16;
const AIO_NBYTES = 24;
const AIO_SIGEV_NOTIFY = 44;
const AIO_OFFSET = 128;
const LIST = 168;
const TIMEOUT = 176;
const DATA = 192;

const SIGEV_NONE = 1;

/** A thread is named after the one that makes it, unless that has another name at that moment. */
const NAME = Buffer.from('background-io\0');
const PR_SET_NAME = 15;
const PR_GET_NAME = 16;
const LONGEST_NAME = 16;

/** At once, in the whole process; one more waits until another one is done. */
const THREADS = 64;

const signatures = {
  aio_init: { arguments: ['pointer'], return: 'void' },
  aio_read: { arguments: ['pointer'], return: 'i32' },
  aio_write: { arguments: ['pointer'], return: 'i32' },
  aio_suspend: { arguments: ['pointer', 'i32', 'pointer'], return: 'i32' },
  aio_error: { arguments: ['pointer'], return: 'i32' },
  aio_return: { arguments: ['pointer'], return: 'i64' },
  prctl: { arguments: ['i32', 'pointer'], return: 'i32' },
  malloc: { arguments: ['u64'], return: 'pointer' },
  free: { arguments: ['pointer'], return: 'void' },
} as const;

interface Calls {
  aio_init(settings: Buffer): void;
  aio_read(block: bigint): number;
  aio_write(block: bigint): number;
  aio_suspend(list: bigint, count: number, timeout: bigint): number;
  aio_error(block: bigint): number;
  aio_return(block: bigint): bigint;
  prctl(operation: number, name: Buffer): number;
  malloc(size: bigint): bigint;
  free(memory: bigint): void;
}

type View = (address: bigint, length: number) => Buffer;

export class BackgroundIo {
  readonly #calls: Calls;
  readonly #view: View;

  private constructor(calls: Calls, view: View) {
    this.#calls = calls;
    this.#view = view;
  }

  /** @returns undefined without node:ffi, or with another libc */
  static load(): BackgroundIo | undefined {
    const ffi = process.getBuiltinModule('node:ffi');
    // Before glibc 2.34 these are in a library of their own.
    for (const library of ['libc.so.6', 'librt.so.1']) {
      const loaded = loadFunctions<Calls>(signatures, library);
      if ('missing' in loaded) continue;
      const settings = Buffer.alloc(32);
      settings.writeInt32LE(THREADS, 0);
      loaded.functions.aio_init(settings);
      return new BackgroundIo(loaded.functions, (address, length) => ffi.toBuffer(address, length, false));
    }
    return undefined;
  }

  /** @param length what it can carry at most, bytes */
  transfer(length: number): Transfer {
    const address = this.#calls.malloc(BigInt(DATA + length));
    return new Transfer(this.#calls, address, this.#view(address, DATA + length));
  }
}

/** One read or write at a time, as often as wanted. Descriptors must stay open until there is a result. */
export class Transfer {
  /** What is to be written, or what was read. */
  readonly data: Buffer;
  readonly #calls: Calls;
  readonly #address: bigint;
  readonly #memory: Buffer;
  readonly #ownName = Buffer.alloc(LONGEST_NAME);
  #refused = false;

  constructor(calls: Calls, address: bigint, memory: Buffer) {
    this.#calls = calls;
    this.#address = address;
    this.#memory = memory;
    this.data = memory.subarray(DATA);
    memory.fill(0, 0, DATA);
    memory.writeInt32LE(SIGEV_NONE, AIO_SIGEV_NOTIFY);
    memory.writeBigUInt64LE(address, LIST);
  }

  read(fd: number): void {
    this.#begin('aio_read', fd, 0, this.data.length, 0);
  }

  /** Writes `data` between these two, at this position of the file. */
  write(fd: number, from: number, to: number, position: number): void {
    this.#begin('aio_write', fd, from, to - from, position);
  }

  #begin(call: 'aio_read' | 'aio_write', fd: number, from: number, length: number, position: number): void {
    const { prctl, [call]: begin } = this.#calls;
    this.#memory.writeInt32LE(fd, AIO_FILDES);
    this.#memory.writeBigUInt64LE(this.#address + BigInt(DATA + from), AIO_BUF);
    this.#memory.writeBigUInt64LE(BigInt(length), AIO_NBYTES);
    this.#memory.writeBigInt64LE(BigInt(position), AIO_OFFSET);
    prctl(PR_GET_NAME, this.#ownName);
    prctl(PR_SET_NAME, NAME);
    this.#refused = begin(this.#address) < 0;
    prctl(PR_SET_NAME, this.#ownName);
  }

  /**
   * Waits for so many milliseconds at most.
   *
   * @returns the number of bytes or, negative, an errno; undefined: it is still under way
   */
  result(waitMs: number): number | undefined {
    if (this.#refused) return -EAGAIN;
    const { aio_error, aio_return, aio_suspend } = this.#calls;
    const own = this.#address;
    let error = aio_error(own);
    if (error === EINPROGRESS && waitMs > 0) {
      this.#memory.writeBigInt64LE(BigInt(Math.floor(waitMs / 1000)), TIMEOUT);
      this.#memory.writeBigInt64LE(BigInt(Math.floor((waitMs % 1000) * 1e6)), TIMEOUT + 8);
      aio_suspend(own + BigInt(LIST), 1, own + BigInt(TIMEOUT));
      error = aio_error(own);
    }
    if (error === EINPROGRESS) return undefined;
    return error === 0 ? Number(aio_return(own)) : -error;
  }

  /** Of its memory; only of one that is not under way. */
  free(): void {
    this.#calls.free(this.#address);
  }
}
