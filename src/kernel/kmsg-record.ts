import { visibleText } from './visible-text.ts';

/** One record of the kernel's log, from /dev/kmsg or from a file that somebody made of it. */
export interface KernelRecord {
  /** 0 (emergency) to 7 (debug). */
  readonly level: number;
  /** 0 is the kernel itself; user space cannot write that one. */
  readonly facility: number;
  readonly sequence: number;
  /** Microseconds of the kernel's own clock since boot; it stops while the machine sleeps. */
  readonly timestampUs: number;
  /** Escapes undone; may hold newlines. */
  readonly text: string;
}

export const KERN = 0;

const COMMA = 0x2c;
const SEMICOLON = 0x3b;
const NEWLINE = 0x0a;
const ZERO = 0x30;

/** A record whose text has not been read yet. */
export interface KmsgHeader extends Omit<KernelRecord, 'text'> {
  /** Where the text stands in the bytes. */
  readonly textStart: number;
  readonly textEnd: number;
}

/**
 * Reads one record as /dev/kmsg gives it (Documentation/ABI/testing/dev-kmsg): `prefix,sequence,microseconds,flags;text`,
 * where the prefix is level | facility << 3. Further header fields and the dictionary lines after the text are skipped.
 *
 * @returns undefined for what is not a record
 */
export function parseKmsgRecord(record: Buffer | string): KernelRecord | undefined {
  const bytes = typeof record === 'string' ? Buffer.from(record, 'utf8') : record;
  const header = parseKmsgHeader(bytes);
  return header && withText(header, bytes);
}

/** All but the text, which costs most. */
export function parseKmsgHeader(bytes: Buffer): KmsgHeader | undefined {
  const header = [0, 0, 0];
  let at = 0;
  for (let field = 0; field < 3; field++) {
    const start = at;
    let value = 0;
    for (let digit = (bytes[at] ?? 0) - ZERO; digit >= 0 && digit <= 9; digit = (bytes[at] ?? 0) - ZERO) {
      value = value * 10 + digit;
      at += 1;
    }
    const end = bytes[at];
    const last = field === 2 && end === SEMICOLON;
    if (at === start || !(end === COMMA || last) || !Number.isSafeInteger(value)) return undefined;
    header[field] = value;
    if (!last) at += 1;
  }
  const semicolon = bytes.indexOf(SEMICOLON, at);
  if (semicolon < 0) return undefined;
  const newline = bytes.indexOf(NEWLINE, at);
  if (newline >= 0 && newline < semicolon) return undefined;
  const [prefix, sequence, timestampUs] = header as [number, number, number];
  return {
    level: prefix & 7,
    facility: Math.floor(prefix / 8),
    sequence,
    timestampUs,
    textStart: semicolon + 1,
    textEnd: newline < 0 ? bytes.length : newline,
  };
}

/** @param bytes those that the header was read from */
export function withText(header: KmsgHeader, bytes: Buffer): KernelRecord {
  const { level, facility, sequence, timestampUs, textStart, textEnd } = header;
  return { level, facility, sequence, timestampUs, text: unescapeBytes(bytes, textStart, textEnd) };
}

/** The kernel writes every byte that is not printable ASCII, and the backslash itself, as `\xNN`. */
function unescapeBytes(bytes: Buffer, start: number, end: number): string {
  const text = bytes.toString('latin1', start, end);
  let ascii = true;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === 0x5c || code > 0x7e) {
      ascii = false;
      break;
    }
  }
  if (ascii) return text;
  const plain = text.replace(/\\x([0-9a-f]{2})/g, (_escape, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return visibleText(Buffer.from(plain, 'latin1'));
}
