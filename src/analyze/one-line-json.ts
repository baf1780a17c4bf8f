import { LONGEST_LINE } from '../kernel-log/line-scanner.ts';
import { peek } from './open-input.ts';

const NEWLINE = 0x0a;
const QUOTE = 0x22;
const COMMA = 0x2c;
const OPEN_LIST = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const BLANK = 0x20;

/**
 * A JSON document in a single line that is too long to be looked at (`jq -c`, exports): each object of its lists comes in a
 * line of its own. Other input comes as it is.
 */
export async function* objectsInLines(input: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const { first, whole } = await peek(input, (bytes) => bytes.length > LONGEST_LINE || isInLines(bytes));
  if (first.length <= LONGEST_LINE || isInLines(first)) {
    yield* whole;
    return;
  }
  const lines = new ObjectLines();
  for await (const chunk of whole) yield lines.next(chunk);
}

/** Whether it is no JSON, or its first line is of a length that is looked at. */
function isInLines(bytes: Buffer): boolean {
  const start = bytes.findIndex((byte) => byte > BLANK);
  if (start >= 0 && !isOpening(bytes[start])) return true;
  const end = bytes.indexOf(NEWLINE, Math.max(start, 0));
  return end >= 0 && end <= LONGEST_LINE;
}

/** What opens, separates and closes the objects of a list becomes a line feed; what is in them stays in one line. */
class ObjectLines {
  #depth = 0;
  /** How deep the objects are that are lines; 0: their list has not begun. */
  #list = 0;
  /** The last byte that is no blank opened a list. */
  #isOpened = false;
  #isString = false;
  #isEscaped = false;

  next(chunk: Buffer): Buffer {
    const bytes = Buffer.from(chunk);
    for (let at = 0; at < bytes.length; at++) {
      const byte = bytes[at] as number;
      if (this.#isString) this.#string(byte);
      else if (byte > BLANK && this.#isBetween(byte)) bytes[at] = NEWLINE;
    }
    return bytes;
  }

  #string(byte: number): void {
    if (this.#isEscaped) this.#isEscaped = false;
    else if (byte === BACKSLASH) this.#isEscaped = true;
    else if (byte === QUOTE) this.#isString = false;
  }

  #isBetween(byte: number): boolean {
    const isFirst = this.#isOpened && byte === OPEN_OBJECT;
    if (isFirst && this.#list === 0) this.#list = this.#depth;
    this.#isOpened = byte === OPEN_LIST;
    switch (byte) {
      case QUOTE:
        this.#isString = true;
        return false;
      case OPEN_LIST:
        this.#depth += 1;
        // Around the list nothing is a line.
        return this.#list === 0;
      case OPEN_OBJECT:
        this.#depth += 1;
        return false;
      case CLOSE_OBJECT:
        this.#depth -= 1;
        return false;
      case CLOSE_LIST: {
        const isEnd = this.#depth === this.#list;
        this.#depth -= 1;
        if (isEnd) this.#list = 0;
        return isEnd;
      }
      default:
        return byte === COMMA && this.#depth === this.#list;
    }
  }
}

function isOpening(byte: number | undefined): boolean {
  return byte === OPEN_LIST || byte === OPEN_OBJECT;
}
