import type { AssemblerRecord } from '../assemble.ts';

/** A record as a log tells it: `sequence` is where its line begins, in bytes, unless the log keeps the kernel's own. */
export interface LogRecord extends AssemblerRecord {
  /** Milliseconds since the epoch; absent where the log has only the kernel's clock. */
  readonly wallTime?: number | undefined;
  /** `wallTime` knows no less than a second. */
  readonly wholeSeconds?: boolean | undefined;
  /** Why `wallTime` may be wrong, or is absent. */
  readonly doubt?: string | undefined;
  readonly host?: string | undefined;
  readonly bootId?: string | undefined;
  /** Of the lines below it in the same text. */
  readonly more?: readonly LogRecord[] | undefined;
}

/**
 * What one line says. `indent`: the text goes on in lines that are no records and are indented, best by so much; 0: in
 * every line that is no record.
 */
export interface DecodedLine extends LogRecord {
  readonly indent?: number | undefined;
}

/** @param at where the line begins, its record's sequence number unless the log has the kernel's own */
export type DecodeLine = (line: string, at: number) => DecodedLine | undefined;

/** One format of logs. */
export interface Decoder {
  /**
   * @param at where the line begins
   * @returns the record that is complete with this line
   */
  line(line: string, at: number): LogRecord | undefined;
  /** The record that waits for more lines, when there are none. */
  flush(): LogRecord | undefined;
  /** The next line does not follow the last one: forgets what began there. */
  skipped(): void;
  /** What some line of every kill report contains: other parts of a big log are not looked at. */
  readonly needles: readonly string[];
  /** How many lines before such a line its record can begin. */
  readonly linesBefore: number;
  /** How many lines after it the record can go on. */
  readonly linesAfter: number;
}

/**
 * In the header and the choice; in the kill, of every kernel but OpenVZ 6's; in that. A search stops at each first letter, so
 * a frequent one costs most: `oom-k` takes up to four times as long as `m-kill`.
 */
export const NEEDLES: readonly string[] = ['m-kill', 'Kill', 'OOM k'];

/** A format of one record per line, where further lines of a record's text are indented: below its first, or by a space. */
export class LineDecoder implements Decoder {
  readonly needles = NEEDLES;
  readonly linesBefore = 4;
  /** A process's name can break its line into 16. */
  readonly linesAfter = 16;
  readonly #decode: DecodeLine;
  readonly #otherwise: DecodeLine | undefined;
  #pending: DecodedLine | undefined;

  /** @param otherwise for a line that is not of the format and that no record goes on in */
  constructor(decode: DecodeLine, otherwise?: DecodeLine) {
    this.#decode = decode;
    this.#otherwise = otherwise;
  }

  line(line: string, at: number): LogRecord | undefined {
    const decoded = this.#decode(line, at);
    const pending = this.#pending;
    if (decoded !== undefined) {
      this.#pending = decoded;
      return pending;
    }
    if (pending?.indent !== undefined && this.#isBelow(line, pending.indent)) {
      const rest = line.search(/\S|$/) >= pending.indent ? line.slice(pending.indent) : line;
      if (pending.text.length < LONGEST_TEXT)
        this.#pending = { ...pending, text: `${pending.text}\n${rest}` };
      return undefined;
    }
    const other = this.#otherwise?.(line, at);
    this.#pending = other && pending ? goesOn(other, pending) : other;
    return pending;
  }

  /** Where other lines are read, too, only one that stands exactly so is sure to be no line of its own. */
  #isBelow(line: string, indent: number): boolean {
    if (this.#otherwise) return indent > 0 && line.search(/\S|$/) >= indent;
    return indent === 0 || line.startsWith(' ');
  }

  flush(): LogRecord | undefined {
    const pending = this.#pending;
    this.#pending = undefined;
    return pending;
  }

  skipped(): void {
    this.#pending = undefined;
  }
}

const LONGEST_TEXT = 16 << 10;

/** A line that says neither when nor where is mostly the rest of the one before, which was too long for a window. */
function goesOn(
  line: DecodedLine,
  { host, timestampUs, wallTime, wholeSeconds, doubt }: DecodedLine,
): DecodedLine {
  if (line.host !== undefined || line.timestampUs !== undefined || line.wallTime !== undefined) return line;
  return { ...line, host, timestampUs, wallTime, wholeSeconds, doubt };
}
