/**
 * Reads of files that may not answer, for a thread that must not stand still: /proc/PID/cmdline takes the lock of that
 * process's address space, and one that maps a file of a dead server, NFS or FUSE, may hold it for ever. Anybody who
 * can mount or serve such a file can make one.
 */
import { closeSync, openSync } from 'node:fs';
import type { BackgroundIo, Transfer } from './background-io.ts';

/** A read takes 20 µs, and 100 ms in the worst of 5,000 on a machine with eight busy loops for each processor. */
const PATIENCE_MS = 200;
/** That have not answered; then no more is asked. Less than there are threads to ask. */
const MOST_LATE = 48;

interface Late {
  readonly fd: number;
  readonly transfer: Transfer;
}

export class PatientReader {
  readonly #io: BackgroundIo;
  readonly #length: number;
  readonly #late = new Map<string, Late>();
  #transfer: Transfer;

  /** @param length of what a file holds, no more is read */
  constructor(io: BackgroundIo, length: number) {
    this.#io = io;
    this.#length = length;
    this.#transfer = io.transfer(length);
  }

  /**
   * Waits once for a file that does not answer, and then no more until it has.
   *
   * @returns undefined: it cannot be read, or not now; otherwise valid until the next read
   */
  read(path: string, patienceMs = PATIENCE_MS): Buffer | undefined {
    this.#closeThoseDone();
    if (this.#late.has(path) || this.#late.size >= MOST_LATE) return undefined;
    let fd: number;
    try {
      fd = openSync(path, 'r');
    } catch {
      return undefined;
    }
    const transfer = this.#transfer;
    transfer.read(fd);
    const length = transfer.result(patienceMs);
    if (length === undefined) {
      this.#late.set(path, { fd, transfer });
      this.#transfer = this.#io.transfer(this.#length);
      return undefined;
    }
    closeSync(fd);
    return length < 0 ? undefined : transfer.data.subarray(0, length);
  }

  #closeThoseDone(): void {
    for (const [path, { fd, transfer }] of this.#late) {
      if (transfer.result(0) === undefined) continue;
      closeSync(fd);
      transfer.free();
      this.#late.delete(path);
    }
  }
}
