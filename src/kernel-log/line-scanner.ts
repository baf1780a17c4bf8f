import type { Decoder } from './decoder.ts';
import { LineText } from './line-text.ts';

const NUL = 0x00;
const NEWLINE = 0x0a;
const RETURN = 0x0d;
/** No record of the kernel is as long in any format; what is longer is not looked at. */
export const LONGEST_LINE = 512 << 10;

type Searched = Pick<Decoder, 'needles' | 'linesBefore' | 'linesAfter'>;

export interface LineTaker {
  /** @param at where the line begins, in bytes from the start of the stream */
  take(line: string, at: number): void;
  /** Completes what waits for more lines. */
  complete(): void;
  /** The line that comes next does not follow the one before. */
  skipped(): void;
  /** Nothing has begun that the next lines could be part of. */
  readonly idle: boolean;
}

/**
 * Cuts chunks into lines. While its taker is idle it looks at no line at all but searches the bytes for the next one
 * that matters, so that a log without kills costs little more than reading it.
 */
export class LineScanner {
  readonly #decoder: Searched;
  readonly #taker: LineTaker;
  #rest: Buffer = Buffer.alloc(0);
  #lines = 0;
  /** Where `#rest` begins in the stream. */
  #at = 0;
  #overlong = false;
  /** So many lines are taken in any case. */
  #linger: number;

  /** @param first so many lines at the start are taken in any case */
  constructor(decoder: Searched, taker: LineTaker, first = 0) {
    this.#decoder = decoder;
    this.#taker = taker;
    this.#linger = first;
  }

  /** How many lines have been seen. */
  get lines(): number {
    return this.#lines;
  }

  /**
   * Everything before it has been looked at: a stream that begins there, with nothing open, goes on as this one does.
   * Undefined while something is open.
   */
  get settledAt(): number | undefined {
    return this.#linger === 0 && this.#taker.idle ? this.#at : undefined;
  }

  push(chunk: Buffer): void {
    const data = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const needles = this.#decoder.needles.map((needle) => new Needle(data, needle));
    const text = new LineText(data);
    let at = 0;
    for (;;) {
      if (this.#linger === 0 && this.#isIdle()) {
        const hit = Math.min(...needles.map((needle) => needle.next(at)));
        const start = linesBack(data, Math.min(hit, data.length), this.#decoder.linesBefore, at);
        if (start > at) {
          this.#taker.skipped();
          // If there was one, its end is passed.
          this.#overlong = false;
          this.#lines += countNewlines(data, at, start);
          at = start;
        }
        if (hit === Number.POSITIVE_INFINITY) break;
        this.#linger = countNewlines(data, at, hit) + 1 + this.#decoder.linesAfter;
      }
      const end = data.indexOf(NEWLINE, at);
      if (end < 0) break;
      this.#take(text, at, end);
      at = end + 1;
    }
    this.#overlong ||= data.length - at > LONGEST_LINE + 1 && data.indexOf(NEWLINE, at) < 0;
    // A copy, so that the rest does not hold the whole chunk.
    this.#rest = this.#overlong ? Buffer.alloc(0) : Buffer.from(data.subarray(at));
    this.#at += data.length - this.#rest.length;
  }

  /** Nothing has come for a while: what was seen is not gone on with. The start of a line is kept. */
  settle(): void {
    this.#taker.complete();
    if (this.#taker.idle) this.#linger = 0;
  }

  end(): void {
    const lines = this.#rest;
    const text = new LineText(lines);
    this.#rest = Buffer.alloc(0);
    for (let at = 0; at < lines.length; ) {
      const newline = lines.indexOf(NEWLINE, at);
      const end = newline < 0 ? lines.length : newline;
      this.#take(text, at, end);
      at = end + 1;
    }
    this.#at += lines.length;
    this.#taker.complete();
  }

  #take(text: LineText, start: number, end: number): void {
    this.#lines += 1;
    if (!this.#taker.idle) this.#linger = this.#decoder.linesAfter;
    else if (this.#linger > 0) this.#linger -= 1;
    const skip = this.#overlong || end - start > LONGEST_LINE;
    this.#overlong = false;
    if (skip) return;
    // Where the power failed, a file system leaves NULs.
    let first = start;
    while (first < end && text.bytes[first] === NUL) first += 1;
    let last = end;
    while (last > first && text.bytes[last - 1] === RETURN) last -= 1;
    this.#taker.take(text.slice(first, last), this.#at + start);
  }

  #isIdle(): boolean {
    if (!this.#taker.idle) return false;
    this.#taker.complete();
    return this.#taker.idle;
  }
}

/** Where a text occurs in a chunk; each place is searched once. */
class Needle {
  readonly #data: Buffer;
  readonly #text: string;
  #found = -1;

  constructor(data: Buffer, text: string) {
    this.#data = data;
    this.#text = text;
  }

  /** @returns infinity when it does not occur at or after `from` */
  next(from: number): number {
    if (this.#found < from) {
      const found = this.#data.indexOf(this.#text, from, 'latin1');
      this.#found = found < 0 ? Number.POSITIVE_INFINITY : found;
    }
    return this.#found;
  }
}

/** The start of the line at `position`, and `count` lines before it, but not before `lowest`. */
function linesBack(data: Buffer, position: number, count: number, lowest: number): number {
  let at = position;
  for (let line = 0; line <= count && at > lowest; line++) {
    const newline = at === 0 ? -1 : data.lastIndexOf(NEWLINE, at - 1);
    if (newline < lowest) return lowest;
    at = line === count ? newline + 1 : newline;
  }
  return Math.max(at, lowest);
}

function countNewlines(data: Buffer, from: number, to: number): number {
  let count = 0;
  for (let at = data.indexOf(NEWLINE, from); at >= 0 && at < to; at = data.indexOf(NEWLINE, at + 1))
    count += 1;
  return count;
}
