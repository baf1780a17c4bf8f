import { type Decoder, type LogRecord, NEEDLES } from './decoder.ts';
import { journalEntry } from './json.ts';
import { parseWallTime, type WallTime } from './wall-time.ts';

const FIELD = /^(?: {4})?([A-Z_][A-Z0-9_]*)=(.*)$/s;
/** In `export`, a value that is not text follows its name in a line of its own, behind its length in eight bytes. */
const BINARY = /^[A-Z_][A-Z0-9_]*$/;
const LENGTH = /^(?:\\x[0-9a-f]{2}|.){8}/s;
/** In `verbose`, the lines of a value stand below its first. */
const BELOW = /^ {5,}/;
/** `Sat 2026-11-21 03:14:15.926031 UTC [s=…;i=…]` begins an entry of `verbose`. */
const HEAD = /^\S+ (\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}(?:\.\d+)?) (\S+) \[s=/;
const LONGEST_ENTRY = 64 << 10;
/** Some of the fields that each entry has. */
const OF_EACH = /^(?: {4})?(?:__CURSOR|__REALTIME_TIMESTAMP|_BOOT_ID|_MACHINE_ID|_HOSTNAME|_TRANSPORT)=/;

/** `journalctl -o export` and `-o verbose`: a field in each line. */
export class JournalFieldsDecoder implements Decoder {
  readonly needles = NEEDLES;
  readonly linesBefore = 64;
  readonly linesAfter = 64;
  readonly #now: () => number;
  #fields: Record<string, string> = {};
  /** Where its first line begins. */
  #at = 0;
  #size = 0;
  /** Only `verbose` has it in a line of its own. */
  #time: WallTime | undefined;
  /** The field whose value may go on in the next line. */
  #last: string | undefined;
  #isBinary = false;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Whether the first lines of a log are such. */
  static isFormatOf(lines: readonly string[]): boolean {
    return lines.some((line) => HEAD.test(line)) || lines.filter((line) => OF_EACH.test(line)).length > 2;
  }

  line(line: string, at: number): LogRecord | undefined {
    const [, name, value] = FIELD.exec(line) ?? [];
    if (name !== undefined && value !== undefined) {
      this.#set(name, value, at);
      this.#isBinary = false;
      return undefined;
    }
    if (BINARY.test(line)) {
      this.#last = line;
      this.#isBinary = true;
      return undefined;
    }
    if (this.#last !== undefined && (this.#isBinary ? line !== '' : BELOW.test(line))) {
      const begun = this.#fields[this.#last];
      if (begun === undefined) this.#set(this.#last, line.replace(LENGTH, ''), at);
      else
        this.#set(this.#last, `${begun}\n${this.#isBinary ? line : line.slice(this.#last.length + 5)}`, at);
      return undefined;
    }
    const record = this.flush();
    const [, time, zone] = HEAD.exec(line) ?? [];
    this.#time =
      time === undefined
        ? undefined
        : parseWallTime(time + (/^(?:UTC|GMT)$/.test(zone ?? '') ? 'Z' : ''), this.#now());
    return record;
  }

  flush(): LogRecord | undefined {
    const record = journalEntry(this.#fields, this.#at);
    const time = this.#time;
    this.skipped();
    if (record === undefined || record.wallTime !== undefined || time === undefined) return record;
    return { ...record, wallTime: time.ms, wholeSeconds: time.wholeSeconds, doubt: time.doubt };
  }

  skipped(): void {
    this.#fields = {};
    this.#size = 0;
    this.#time = undefined;
    this.#last = undefined;
    this.#isBinary = false;
  }

  #set(name: string, value: string, at: number): void {
    if (this.#size === 0) this.#at = at;
    this.#size += name.length + value.length;
    this.#last = name;
    if (this.#size <= LONGEST_ENTRY) this.#fields[name] = value;
  }
}
