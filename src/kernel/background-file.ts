/**
 * A file that is written from its start to its end by a thread that must not stand still. On a disk that others keep busy, a
 * write(2) into the page cache takes as long as they do (measured: 10 s behind a dd, on a disk of 4 MB/s).
 */
import { closeSync, writeSync } from 'node:fs';
import type { Transfer } from './background-io.ts';
import { errnoName } from './libc.ts';

/** As much of background-io.ts as a file needs. */
export interface WritingIo {
  transfer(length: number): Pick<Transfer, 'data' | 'write' | 'result' | 'free'>;
}

interface Writing {
  readonly transfer: ReturnType<WritingIo['transfer']>;
  from: number;
}

export class BackgroundFile {
  readonly #fd: number;
  readonly #io: WritingIo | undefined;
  #writing: Writing | undefined;
  #size = 0;

  /** @param io without it, writes are waited for */
  constructor(fd: number, io: WritingIo | undefined) {
    this.#fd = fd;
    this.#io = io;
  }

  /** Bytes that are written. */
  get size(): number {
    return this.#size;
  }

  /** As far as is known: see `isWritten`. */
  get isWriting(): boolean {
    return this.#writing !== undefined;
  }

  /** Only when all that came before is written. */
  write(text: string): void {
    const bytes = Buffer.from(text);
    if (this.#io === undefined) {
      for (let from = 0; from < bytes.length; ) from += writeSync(this.#fd, bytes, from);
      this.#size += bytes.length;
      return;
    }
    const transfer = this.#io.transfer(bytes.length);
    bytes.copy(transfer.data);
    this.#writing = { transfer, from: 0 };
    transfer.write(this.#fd, 0, bytes.length, this.#size);
  }

  /**
   * Whether all is written; waits for so many milliseconds at most.
   *
   * @throws the disk's error
   */
  isWritten(waitMs: number): boolean {
    while (this.#writing !== undefined) {
      const { transfer, from } = this.#writing;
      const written = transfer.result(waitMs);
      if (written === undefined) return false;
      if (written > 0) this.#size += written;
      this.#writing.from += written;
      if (written > 0 && this.#writing.from < transfer.data.length)
        transfer.write(this.#fd, this.#writing.from, transfer.data.length, this.#size);
      else {
        this.#writing = undefined;
        transfer.free();
      }
      if (written < 0) throw new Error(`${errnoName(-written)}, write after ${from} bytes`);
    }
    return true;
  }

  /** While it is written to, its descriptor cannot be closed: that one ends with the thread that opened it. */
  close(): void {
    if (this.#writing === undefined) closeSync(this.#fd);
  }
}
