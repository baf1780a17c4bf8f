import { isAscii } from 'node:buffer';
import { visibleText } from '../kernel/visible-text.ts';

/** A line that somebody keeps holds the whole piece that it was cut from: pieces are small, so that memory stays bounded. */
const PIECE_BYTES = 8 << 10;

/** Lines of a chunk as text. Many are converted together where all of them are ASCII: one by one costs ten times as much. */
export class LineText {
  readonly bytes: Buffer;
  /** Of the bytes from `#start` to `#end`; undefined where not all of them are ASCII. */
  #piece: string | undefined;
  #start = 0;
  #end = 0;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  slice(start: number, end: number): string {
    if (end > this.#end) this.#convert(start);
    return this.#piece === undefined || end > this.#end
      ? visibleText(this.bytes.subarray(start, end))
      : this.#piece.slice(start - this.#start, end - this.#start);
  }

  #convert(start: number): void {
    const piece = this.bytes.subarray(start, start + PIECE_BYTES);
    this.#piece = isAscii(piece) ? piece.toString('latin1') : undefined;
    this.#start = start;
    this.#end = start + piece.length;
  }
}
