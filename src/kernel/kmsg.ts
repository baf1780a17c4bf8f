/**
 * Reads /dev/kmsg without ever losing its place (Documentation/ABI/testing/dev-kmsg).
 *
 * The first read after open gives the oldest record that the ring still holds. EPIPE says that records were overwritten
 * before we read them; the next read goes on with the oldest one left, and the gap in the sequence numbers is the loss.
 */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { type KernelRecord, type KmsgHeader, parseKmsgHeader, withText } from './kmsg-record.ts';

/** A record is at most 8 KiB with its dictionary; a smaller buffer can give EINVAL. */
const RECORD_BUFFER = 16 << 10;

/** Major 1, minor 11 (Documentation/admin-guide/devices.txt), as st_rdev has them. */
const KMSG_DEVICE = (1 << 8) | 11;

/** One record a read; the errors are those of read(2) on the device. */
export interface KmsgDevice {
  readonly fd: number;
  read(buffer: Buffer): number;
  close(): void;
}

export interface KmsgObserver {
  /** The ring was overwritten under us. */
  overrun(): void;
  /** So many records are missing before this sequence number. */
  lost(count: number, sequence: number): void;
}

export class KmsgReader {
  readonly #source: KmsgDevice;
  readonly #buffer = Buffer.allocUnsafeSlow(RECORD_BUFFER);
  readonly #observer: KmsgObserver;
  #next: number | undefined;

  /** @param after sequence number of the last record that was dealt with; older ones are skipped */
  constructor(source: KmsgDevice, observer: KmsgObserver, after?: number) {
    this.#source = source;
    this.#observer = observer;
    this.#next = after === undefined ? undefined : after + 1;
  }

  /**
   * @param after as for the constructor
   * @throws as open(2): EACCES or EPERM without CAP_SYSLOG or the device, ENOENT where there is none; and where
   *   something else is mounted in its place, which would look like a log in which nothing ever happens
   */
  static open(path: string, observer: KmsgObserver, after?: number): KmsgReader {
    return new KmsgReader(openDevice(path), observer, after);
  }

  get fd(): number {
    return this.#source.fd;
  }

  /** Sequence number of the record that was read last; -1 before the first. */
  get sequence(): number {
    return this.#next === undefined ? -1 : this.#next - 1;
  }

  /**
   * Hands over the records that are there, at most `limit`, without waiting.
   *
   * @returns `more` when the limit was reached
   * @throws as read(2), but for what is part of reading on: EAGAIN, EINTR and EPIPE
   */
  drain(take: (record: KernelRecord) => void, limit: number): 'empty' | 'more' {
    return this.#each((header, bytes) => take(withText(header, bytes)), limit);
  }

  /** As `drain`, for records that nobody wants: only their place is read. */
  passOver(limit: number): 'empty' | 'more' {
    return this.#each(() => {}, limit);
  }

  #each(take: (header: KmsgHeader, bytes: Buffer) => void, limit: number): 'empty' | 'more' {
    for (let count = 0; count < limit; count++) {
      let length: number;
      try {
        length = this.#source.read(this.#buffer);
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
      if (length === 0) throw new Error('the kernel log came to an end, which the real one never does');
      const bytes = this.#buffer.subarray(0, length);
      const record = parseKmsgHeader(bytes);
      if (record === undefined) continue;
      const expected = this.#next;
      if (expected !== undefined) {
        if (record.sequence < expected) continue;
        if (record.sequence > expected) this.#observer.lost(record.sequence - expected, record.sequence);
      }
      this.#next = record.sequence + 1;
      take(record, bytes);
    }
    return 'more';
  }

  close(): void {
    this.#source.close();
  }
}

function openDevice(path: string): KmsgDevice {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const stat = fstatSync(fd);
  if (!stat.isCharacterDevice() || stat.rdev !== KMSG_DEVICE) {
    closeSync(fd);
    throw new Error(`${path} is not the kernel's log: mount the host's /dev/kmsg`);
  }
  return {
    fd,
    read: (buffer) => readSync(fd, buffer, 0, buffer.length, null),
    close: () => closeSync(fd),
  };
}
