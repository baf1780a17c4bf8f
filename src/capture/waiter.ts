/** How the capture thread sleeps: until something has arrived, until it is told to stop, or until the time is over. */
import { EINTR, errnoName, type Libc, POLLIN, SOCK_CLOEXEC, SOCK_NONBLOCK } from '../kernel/libc.ts';

export interface Waiter {
  /** @returns whether anything is known to have arrived */
  wait(timeoutMs: number): boolean;
  /** Sleeps whatever arrives, until it is told to stop. */
  rest(ms: number): void;
  /** Whether there may be something to read, as far as the last wait knows. */
  isReadable(fd: number): boolean;
  /** Written to from the main thread to end a wait; undefined: setting the stop flag is enough. */
  readonly wakeFd?: number;
  close(): void;
}

/** Blocks in poll(2): nothing to do costs nothing. */
export class PollWaiter implements Waiter {
  readonly wakeFd: number;
  readonly #libc: Libc;
  readonly #fds: Buffer;
  readonly #count: bigint;
  readonly #places: ReadonlyMap<number, number>;

  constructor(libc: Libc, fds: readonly number[]) {
    this.#libc = libc;
    this.wakeFd = libc.eventfd(0, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (this.wakeFd < 0) throw new Error(`eventfd: ${errnoName(libc.errno())}`);
    const all = [this.wakeFd, ...fds];
    // struct pollfd { int fd; short events; short revents; }
    this.#fds = Buffer.alloc(all.length * 8);
    for (const [index, fd] of all.entries()) {
      this.#fds.writeInt32LE(fd, index * 8);
      this.#fds.writeInt16LE(POLLIN, index * 8 + 4);
    }
    this.#count = BigInt(all.length);
    this.#places = new Map(all.map((fd, index) => [fd, index * 8 + 6]));
  }

  isReadable(fd: number): boolean {
    const place = this.#places.get(fd);
    return place !== undefined && this.#fds.readInt16LE(place) !== 0;
  }

  wait(timeoutMs: number): boolean {
    return this.#poll(this.#count, timeoutMs) > 0;
  }

  rest(ms: number): void {
    this.#poll(1n, ms);
  }

  /** The wake-up descriptor is the first of all. */
  #poll(count: bigint, timeoutMs: number): number {
    const ready = this.#libc.poll(this.#fds, count, Math.ceil(timeoutMs));
    if (ready >= 0) return ready;
    const error = this.#libc.errno();
    if (error !== EINTR) throw new Error(`poll: ${errnoName(error)}`);
    return 0;
  }

  close(): void {
    this.#libc.close(this.wakeFd);
  }
}

/** Without poll(2): looks again every `everyMs` at the latest. */
export class TimedWaiter implements Waiter {
  readonly #stop: Int32Array<SharedArrayBuffer>;
  readonly #everyMs: number;

  constructor(stop: Int32Array<SharedArrayBuffer>, everyMs: number) {
    this.#stop = stop;
    this.#everyMs = everyMs;
  }

  wait(timeoutMs: number): boolean {
    Atomics.wait(this.#stop, 0, 0, Math.min(timeoutMs, this.#everyMs));
    return false;
  }

  rest(ms: number): void {
    this.wait(ms);
  }

  isReadable(): boolean {
    return true;
  }

  close(): void {}
}
