/**
 * Lines as people hand them over: quoted, numbered, indented, coloured, with the name of the file that grep found them in, behind
 * what a log shipper or a terminal put before them, or the kernel's words alone (dmesg -t, journalctl -o cat).
 */
import { KERN } from '../kernel/kmsg-record.ts';
import { type DecodedLine, type DecodeLine, type Decoder, LineDecoder } from './decoder.ts';
import { parsedEntry } from './json.ts';
import { stampAt } from './kernel-stamp.ts';
import { type HeadParser, octal } from './syslog.ts';
import { parseWallTime } from './wall-time.ts';

const COLOUR = /\u001b\[[\d;]*[Km]/g;
/** Also the prompt of a serial console, behind which the kernel goes on writing. */
const QUOTE =
  /^(?:\S+ login: (?=\[ *\d)|[\s>|*"'`#+-]+|\d{1,7}(?:\t|[:|] ?|-(?=\D))|(?:[^\s:]*\/)?(?:syslog|messages|kern|dmesg)(?:[.-][^\s:/]*)?:(?:\d+:)?)+/;
/** What closes a quote that was opened before the line. */
const CLOSING = /["'`],?$|\s*\|$/;
/** What closes one that was opened before the words, in a table also the columns behind it. */
const REST = /["'`],?$|(?<!["\\])"[,;\t].*$|\s*\|$/s;
const OPENING = /["'`|]\s*$/;
/** No word before it ends in a colon: it would be the program that says `kernel:`. */
const KERNEL = /^(?:\S*[^\s:] +){0,8}?kernel: ?/;
/** So long a start of a line is searched for that of a record. */
const LONGEST_START = 256;
const MOST_STARTS = 4;
/** Where a record may begin: `<4>[   27.287451]`, `[Sat Nov 21 03:14:15 2026]`, `Nov 21 03:14:15 ` or a time in ISO 8601. */
const START =
  /(?:<\d{1,3}>)?\[ *\d+\.\d{6}\]|\[[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d{2}:\d{2}:\d{2} \d{4}\]|[A-Z][a-z]{2} [ \d]\d \d{2}:\d{2}:\d{2} |\d{4}-\d{2}-\d{2}T\d\S+ /g;
/** A program says what follows it. */
const PROGRAM = /[^\s:]:(?: |$)/;
const TIME = /\b\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(?:[.,]\d{1,9})?(?:Z|[+-]\d{2}:?\d{2})?/;
/** What shippers put before the words: times, labels in braces or brackets, the stream of a container (CRI); and logcat. */
const SHIPPED =
  /^(?:(?:\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}\S*|\d{2}-\d{2} \d{2}:\d{2}:\d{2}\.\d{3} +\d+ +\d+ [A-Z] (?:kernel)? *:|\{[^{}]*\}|\[pod\/[^\]]*\]|std(?:out|err) [FP])\s+)+/;
/** What only the kernel says, e.g. within an event of Kubernetes. */
const WORDS =
  /(?:Memory cgroup out|Out) of memory(?: \(oom_kill_allocating_task\))?: Kill|(?:K|OOM k)illed process \d|oom-kill:constraint=/;
/** fluentd's files: a time, a tag, and an object. */
const TAGGED = /^(\d{4}-\d{2}-\d{2}T\S+\t)\S+\t(\{.*\})$/s;
/** What node-problem-detector says of the kernel's words. */
const DETECTED = /\bReason:\w*OOMKilling Message:$/;
const INFO = 6;

/** What is tried first, and the clock by which logs without a year are dated. */
export interface Known {
  readonly decode: DecodeLine;
  readonly headOf: HeadParser;
  readonly now: () => number;
}

/** Lines of a file that programs write to, too: only such count as the kernel's that say it themselves. */
export function quotedDecoder(known: Known): Decoder {
  return new LineDecoder((line, at) => quoted(line, at, known));
}

/** Every line counts as the kernel's, unless a program says it. */
export function pastedDecoder(known: Known): Decoder {
  return new LineDecoder(
    (line, at) => quoted(line, at, known),
    (line, at) => unknown(line, at, known),
  );
}

/** One line by itself. */
export function decodePasted(line: string, at: number, known: Known): DecodedLine | undefined {
  return quoted(line, at, known) ?? unknown(line, at, known);
}

function unknown(line: string, at: number, known: Known): DecodedLine | undefined {
  const bare = unquoted(line);
  if (bare === '') return undefined;
  if (/^\{.*\},?$/s.test(bare))
    return parsedEntry(bare.replace(/,$/, ''), at, (text) => decodePasted(text, at, known));
  const [, before, json] = TAGGED.exec(bare) ?? [];
  if (before !== undefined && json !== undefined) {
    const record = parsedEntry(json, at, (text) => decodePasted(text, at, known));
    return record && completed(record, before, known);
  }
  return embedded(bare, at, known) ?? words(bare, at, known);
}

function quoted(line: string, at: number, { decode }: Known): DecodedLine | undefined {
  const record = decode(line, at);
  if (record !== undefined) return record;
  const bare = unquoted(line);
  const inside = bare === line ? undefined : decode(bare, at);
  // What goes on below it is quoted, too.
  return inside && { ...inside, indent: undefined };
}

function unquoted(line: string): string {
  const plain = line.replace(COLOUR, '').replaceAll('\u00a0', ' ');
  const quote = QUOTE.exec(plain)?.[0] ?? '';
  const bare = plain.slice(quote.length).trimEnd();
  return /["'`|]/.test(quote) ? bare.replace(CLOSING, '') : bare;
}

/** A record behind something that is no part of it. */
function embedded(bare: string, at: number, known: Known): DecodedLine | undefined {
  let tried = 0;
  for (const { 0: start, index } of bare.slice(0, LONGEST_START).matchAll(START)) {
    tried += 1;
    if (tried > MOST_STARTS) return undefined;
    const before = bare.slice(0, index);
    // No program writes the kernel's priority.
    if (PROGRAM.test(before.replace(TIME, '')) && !start.startsWith('<')) continue;
    const record = known.decode(bare.slice(index), at);
    // What would go on below it stands behind the same things again.
    if (record !== undefined) return completed({ ...record, indent: undefined }, before, known);
  }
  return undefined;
}

function words(bare: string, at: number, known: Known): DecodedLine {
  const shipped = SHIPPED.exec(bare)?.[0] ?? '';
  const rest = bare.slice(shipped.length);
  const said = WORDS.exec(rest)?.index ?? 0;
  const before = rest.slice(0, said);
  const isProgram = PROGRAM.test(before) && !DETECTED.test(before);
  const start = KERNEL.exec(rest)?.[0].length ?? (isProgram ? 0 : said);
  const stamp = stampAt(rest, start);
  const record = {
    facility: KERN,
    level: INFO,
    sequence: at,
    timestampUs: stamp?.timestampUs,
    text: octal(rest.slice(stamp?.end ?? start)),
  };
  return completed(record, shipped + rest.slice(0, start), known);
}

/** With the time and the host that stand before it. */
function completed(record: DecodedLine, before: string, { headOf, now }: Known): DecodedLine {
  if (before === '') return record;
  const head = headOf(`${before.trimEnd()} kernel: `);
  const host = record.host ?? head?.host;
  const text = OPENING.test(before) ? record.text.replace(REST, '') : record.text;
  if (record.wallTime !== undefined) return { ...record, host, text };
  const time = head?.wallTime === undefined ? parseWallTime(TIME.exec(before)?.[0] ?? '', now()) : undefined;
  const { wallTime, wholeSeconds, doubt } = time ? { ...time, wallTime: time.ms } : (head ?? record);
  return { ...record, host, text, wallTime, wholeSeconds, doubt };
}
