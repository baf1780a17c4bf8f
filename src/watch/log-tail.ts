/**
 * The bytes that are appended to a log file, whatever rotation does to it: renamed and made anew, copied and truncated,
 * removed for a while. One stream for its reader, in which a file follows the other.
 *
 * Nothing is believed of names and sizes: each read takes the last bytes of the one before along, and when they are not
 * the same any more, the file was truncated, even if it has grown past that place meanwhile. What of it was not read yet is
 * looked for in the files beside it, where `copytruncate` put it. A renamed file is read to its end before the new one is
 * begun, and the new one is begun only when something is in it: until then, the writer may still have the old one open.
 */
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  openSync,
  readSync,
  type Stats,
  statSync,
} from 'node:fs';
import path from 'node:path';
import {
  bytesBefore,
  continues,
  fingerprint,
  OVERLAP_BYTES,
  rotatedSince,
  siblings,
} from './log-identity.ts';
import type { LogPlace } from './place.ts';

export const CHUNK_BYTES = 256 << 10;
/** For telling the format of a log by what is in it already. */
const SAMPLE_BYTES = 64 << 10;
/** A file may be truncated, renamed and made anew between two looks; not again and again within one. */
const MOST_LOOKS = 8;
const NUL = 0;
const NEWLINE = 0x0a;
const BREAK = Buffer.of(NEWLINE);

export interface TailObserver {
  /** Another file took its place, or it began anew. */
  changed(how: 'renamed' | 'truncated' | 'made anew'): void;
  /** What was written to the end of the earlier file may not have been read. */
  gap(reason: string): void;
}

/** A file that is or was the log. */
interface Segment {
  readonly fd: number;
  readonly device: number;
  readonly inode: number;
  /** Where the stream had come when it was begun, and where that was in the file. */
  readonly streamStart: number;
  readonly fileStart: number;
  /** How far it has been read. */
  offset: number;
  /** The bytes before `offset`, as many as there are up to OVERLAP_BYTES. */
  overlap: Buffer;
  /** Not the log itself but what `copytruncate` made of its end. */
  readonly isCopy: boolean;
}

export class LogTail {
  readonly #path: string;
  readonly #observer: TailObserver;
  readonly #buffer = Buffer.allocUnsafeSlow(OVERLAP_BYTES + CHUNK_BYTES);
  /** The last one is being read; earlier ones are kept for `place`. */
  #segments: Segment[] = [];
  #fd: number | undefined;
  #streamed = 0;
  /** The last byte of the stream; a file begins a line. */
  #last = NEWLINE;
  #breakDue = false;
  #problem: string | undefined;
  #readProblem: string | undefined;

  constructor(file: string, observer: TailObserver) {
    this.#path = file;
    this.#observer = observer;
  }

  /** Why nothing can be read, with the mend. What was open before is still read. */
  get problem(): string | undefined {
    return this.#readProblem ?? this.#problem;
  }

  /** It is not there, but the folder that it would be in is. */
  get isAwaited(): boolean {
    return !existsSync(this.#path) && existsSync(path.dirname(this.#path));
  }

  /** Of the file that is being read; follows it when it is renamed. */
  get fd(): number | undefined {
    return this.#fd;
  }

  /** How many bytes the stream has had. */
  get streamed(): number {
    return this.#streamed;
  }

  /**
   * Where to begin: at the end where `from` is undefined, else where an earlier run stopped. A file that is not there yet is
   * read from its start when it comes.
   *
   * @returns what stands before that place, for telling the format
   */
  open(from?: LogPlace): Buffer {
    if (from !== undefined) {
      if (this.#continueIn([this.#path, ...siblings(this.#path)], from)) return this.#sample();
      this.#observer.gap('the file in which an earlier run stopped is not there any more');
    }
    const fd = this.#stat() && this.#openFile(this.#path);
    if (fd === undefined) return Buffer.alloc(0);
    const stat = fstatSync(fd);
    this.#begin(fd, stat, from === undefined ? stat.size : 0);
    return this.#sample();
  }

  /**
   * @returns the next bytes, at most CHUNK_BYTES, valid until the next call; undefined when there are no more for now. Runs
   *   of zero bytes (a hole, where a truncated file was written to at its old end) begin and end with a newline.
   */
  read(): Buffer | undefined {
    for (let look = 0; look < MOST_LOOKS; look++) {
      if (this.#breakDue) {
        this.#breakDue = false;
        this.#last = NEWLINE;
        return BREAK;
      }
      const segment = this.#segments.at(-1);
      if (segment === undefined) {
        if (!this.#reopen('made anew')) return undefined;
        continue;
      }
      const bytes = this.#readOn(segment);
      if (bytes === 'truncated') {
        this.#truncated(segment);
        continue;
      }
      if (bytes !== undefined) return bytes;
      if (!this.#hasSuccessor(segment)) return undefined;
      // Lines that were written to the old file after it had been read and before the new one was looked at.
      const late = this.#readOn(segment);
      if (late !== undefined && late !== 'truncated') return late;
      if (this.#beginRotatedSince(segment)) continue;
      if (!this.#reopen(segment.isCopy ? undefined : 'renamed')) return undefined;
    }
    return undefined;
  }

  /** @param streamed a number of bytes of the stream, up to which everything is done with */
  place(streamed: number): LogPlace | undefined {
    while (this.#segments.length > 1 && (this.#segments[1] as Segment).streamStart <= streamed)
      this.#segments.shift();
    const [segment] = this.#segments;
    if (segment === undefined) return undefined;
    return {
      inode: segment.inode,
      offset: Math.min(segment.offset, Math.max(0, segment.fileStart + streamed - segment.streamStart)),
      end: segment.offset,
      fingerprint: fingerprint(segment.overlap),
    };
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  #readOn(segment: Segment): Buffer | 'truncated' | undefined {
    const { fd, overlap, offset } = segment;
    const start = offset - overlap.length;
    let length: number;
    try {
      length = readSync(fd, this.#buffer, 0, overlap.length + CHUNK_BYTES, start);
    } catch (error) {
      this.#readProblem = `${this.#path}: ${(error as Error).message}`;
      return undefined;
    }
    this.#readProblem = undefined;
    if (!this.#buffer.subarray(0, Math.min(length, overlap.length)).equals(overlap)) return 'truncated';
    if (length === overlap.length) return undefined;
    segment.offset = start + length;
    segment.overlap = Buffer.from(this.#buffer.subarray(Math.max(0, length - OVERLAP_BYTES), length));
    const bytes = this.#buffer.subarray(overlap.length, length);
    this.#streamed += bytes.length;
    breakAtHoles(bytes);
    this.#last = bytes.at(-1) as number;
    return bytes;
  }

  /** Whether another file is under the name now and has something in it. */
  #hasSuccessor({ inode, device }: Segment): boolean {
    const stat = this.#stat();
    return stat !== undefined && stat.size > 0 && (stat.ino !== inode || stat.dev !== device);
  }

  /** Where the log was rotated more than once since we looked. */
  #beginRotatedSince({ fd }: Segment): boolean {
    const [next] = rotatedSince(this.#path, fstatSync(fd));
    const nextFd = next === undefined ? undefined : this.#openFile(next);
    if (nextFd === undefined) return false;
    this.#observer.changed('renamed');
    this.#begin(nextFd, fstatSync(nextFd), 0);
    return true;
  }

  #truncated(segment: Segment): void {
    const { inode, offset, overlap } = segment;
    this.#observer.changed('truncated');
    const place = { inode, offset, end: offset, fingerprint: fingerprint(overlap) };
    if (this.#continueIn(siblings(this.#path), place)) return;
    this.#observer.gap('it was truncated, and what stood at its end is in no file beside it');
    this.#begin(segment.fd, fstatSync(segment.fd), 0);
  }

  #reopen(how: 'renamed' | 'made anew' | undefined): boolean {
    const fd = this.#stat() && this.#openFile(this.#path);
    if (fd === undefined) return false;
    if (how !== undefined) this.#observer.changed(how);
    this.#begin(fd, fstatSync(fd), 0);
    return true;
  }

  /** Goes on in the first file that has what was read until then. */
  #continueIn(files: readonly string[], from: LogPlace): boolean {
    for (const file of files) {
      const fd = this.#openFile(file);
      if (fd === undefined) continue;
      const stat = fstatSync(fd);
      if (continues(fd, stat, from)) {
        this.#begin(fd, stat, from.offset, file !== this.#path);
        return true;
      }
      closeSync(fd);
    }
    return false;
  }

  /** @param isCopy the stream goes on in it where it was, perhaps within a line */
  #begin(fd: number, { dev, ino }: Stats, offset: number, isCopy = false): void {
    if (this.#fd !== undefined && this.#fd !== fd) closeSync(this.#fd);
    this.#fd = fd;
    // A line that the file before did not end, ends with it.
    if (!isCopy && this.#last !== NEWLINE) {
      this.#breakDue = true;
      this.#streamed += 1;
    }
    this.#segments.push({
      fd,
      device: dev,
      inode: ino,
      streamStart: this.#streamed,
      fileStart: offset,
      offset,
      overlap: bytesBefore(fd, offset, OVERLAP_BYTES),
      isCopy,
    });
  }

  #stat(): Stats | undefined {
    try {
      const stat = statSync(this.#path);
      this.#problem = stat.isFile()
        ? undefined
        : `${this.#path}: is no regular file. Name one that a syslog daemon writes the kernel's lines to`;
      return stat.isFile() ? stat : undefined;
    } catch (error) {
      this.#problem = explained(this.#path, error as NodeJS.ErrnoException);
      return undefined;
    }
  }

  #openFile(file: string): number | undefined {
    try {
      // A FIFO of that name must not hold us up.
      const fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
      if (fstatSync(fd).isFile()) return fd;
      closeSync(fd);
    } catch (error) {
      if (file === this.#path) this.#problem = explained(file, error as NodeJS.ErrnoException);
    }
    return undefined;
  }

  #sample(): Buffer {
    const segment = this.#segments.at(-1);
    return segment === undefined ? Buffer.alloc(0) : bytesBefore(segment.fd, segment.offset, SAMPLE_BYTES);
  }
}

/** The first and the last zero byte of each run become newlines, so that what follows a hole is a line. */
function breakAtHoles(bytes: Buffer): void {
  for (let at = bytes.indexOf(NUL); at >= 0; at = bytes.indexOf(NUL, at)) {
    bytes[at] = NEWLINE;
    let end = at + 1;
    while (bytes[end] === NUL) end += 1;
    bytes[end - 1] = NEWLINE;
    at = end;
  }
}

function explained(file: string, { code, message }: NodeJS.ErrnoException): string {
  switch (code) {
    case 'ENOENT':
      return `${file}: not there. Name the file that a syslog daemon writes the kernel's lines to`;
    case 'EACCES':
    case 'EPERM':
      return `${file}: permission denied. Run as root, or as a member of the group that may read it`;
    default:
      return `${file}: ${message}`;
  }
}
