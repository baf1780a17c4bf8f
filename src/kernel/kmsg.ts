/**
 * Reads /dev/kmsg without ever losing its place (Documentation/ABI/testing/dev-kmsg).
 *
 * The first read after open gives the oldest record that the ring still holds. EPIPE says that records were overwritten
 * before we read them; the next read goes on with the oldest one left, and the gap in the sequence numbers is the loss.
 */
import { closeSync, constants, openSync, readSync } from 'node:fs';
import { type KernelRecord, parseKmsgRecord } from './kmsg-record.ts';

/** A record is at most 8 KiB with its dictionary; a smaller buffer can give EINVAL. */
const RECORD_BUFFER = 16 << 10;

export interface KmsgObserver {
  /** The ring was overwritten under us. */
  overrun(): void;
  /** So many records are missing before this sequence number. */
  lost(count: number, sequence: number): void;
}

export class KmsgReader {
  readonly fd: number;
  readonly #buffer = Buffer.allocUnsafeSlow(RECORD_BUFFER);
  readonly #observer: KmsgObserver;
  #next: number | undefined;

  private constructor(fd: number, observer: KmsgObserver, after: number | undefined) {
    this.fd = fd;
    this.#observer = observer;
    this.#next = after === undefined ? undefined : after + 1;
  }

  /**
   * @param after sequence number of the last record that was dealt with; older ones are skipped
   * @throws as open(2): EACCES or EPERM without CAP_SYSLOG or the device, ENOENT where there is none
   */
  static open(path: string, observer: KmsgObserver, after?: number): KmsgReader {
    return new KmsgReader(openSync(path, constants.O_RDONLY | constants.O_NONBLOCK), observer, after);
  }

  /** Sequence number of the record that was read last; -1 before the first. */
  get sequence(): number {
    return this.#next === undefined ? -1 : this.#next - 1;
  }

  /**
   * Hands over the records that are there, at most `limit`, without waiting.
   *
   * @returns `more` when the limit was reached
   */
  drain(take: (record: KernelRecord) => void, limit: number): 'empty' | 'more' {
    for (let count = 0; count < limit; count++) {
      let length: number;
      try {
        length = readSync(this.fd, this.#buffer, 0, RECORD_BUFFER, null);
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code === 'EAGAIN') return 'empty';
        if (code === 'EPIPE') {
          this.#observer.overrun();
          continue;
        }
        if (code === 'EINTR') continue;
        throw error;
      }
      if (length === 0) return 'empty';
      const record = parseKmsgRecord(this.#buffer.subarray(0, length));
      if (record === undefined) continue;
      const expected = this.#next;
      if (expected !== undefined) {
        if (record.sequence < expected) continue;
        if (record.sequence > expected) this.#observer.lost(record.sequence - expected, record.sequence);
      }
      this.#next = record.sequence + 1;
      take(record);
    }
    return 'more';
  }

  close(): void {
    closeSync(this.fd);
  }
}
