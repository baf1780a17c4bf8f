import { KERN } from '../kernel/kmsg-record.ts';
import { visibleText } from '../kernel/visible-text.ts';
import { type DecodedLine, type DecodeLine, type Decoder, type LogRecord, NEEDLES } from './decoder.ts';
import { facility, level } from './priority.ts';
import { parseWallTime, type WallTime } from './wall-time.ts';

const LONGEST_OBJECT = 256 << 10;
const DEEPEST = 16;
/** A message stands so deep in its object. */
const DEEPEST_TEXT = 3;
/** Of one message: the console of a virtual machine is one in some clouds. */
const MOST_LINES = 10_000;
const OF_THE_TEXT = 'that of the whole text which the log is a part of';

export type Fields = Readonly<Record<string, unknown>>;

/** An object or a list that has been opened in an earlier line. */
interface Open {
  readonly isList: boolean;
  /** What stands before it in the line that opened it. */
  readonly name: string;
  text: string;
}

/**
 * `dmesg --json` (one document) and `journalctl -o json`, `json-pretty`, `json-seq` or `json-sse` (one object after another); with
 * `plain` also what log shippers make of lines: one object each, one below the other or in lists.
 */
export class JsonDecoder implements Decoder {
  // A message that is not UTF-8 is an array of bytes in journalctl's JSON.
  readonly needles = [...NEEDLES, '"MESSAGE":[', '"MESSAGE" : ['];
  readonly linesBefore = 64;
  readonly linesAfter = 64;
  readonly #plain: DecodeLine | undefined;
  #open: Open[] = [];

  constructor(plain?: DecodeLine) {
    this.#plain = plain;
  }

  line(line: string, at: number): LogRecord | undefined {
    const text = line.replace(/^(?:\u001e|data: )/, '').trim();
    if (/^\{.*\},?$/s.test(text)) return parsedEntry(text.replace(/,$/, ''), at, this.#plain);
    if (this.#open.length === 0 && /^\[.*\]$/s.test(text)) return parsedEntry(text, at, this.#plain);
    let rest = text;
    let record: LogRecord | undefined;
    while (/^[}\]]/.test(rest)) {
      rest = rest.slice(1);
      record = this.#close(at, rest.startsWith(',') ? ',' : '') ?? record;
    }
    rest = rest.replace(/^,/, '');
    const opening = /[[{]$/.exec(rest);
    if (opening && this.#open.length < DEEPEST)
      this.#open.push({ isList: opening[0] === '[', name: rest.slice(0, -1), text: '' });
    else this.#add(rest);
    return record;
  }

  flush(): LogRecord | undefined {
    return undefined;
  }

  skipped(): void {
    this.#open = [];
  }

  #close(at: number, comma: string): LogRecord | undefined {
    const closed = this.#open.pop();
    if (closed === undefined) return undefined;
    const json = closed.isList ? `[${closed.text}]` : `{${closed.text}}`;
    const around = this.#open.at(-1);
    if (around !== undefined && !around.isList) this.#add(closed.name + json + comma);
    else if (!closed.isList) return parsedEntry(json, at, this.#plain);
    return undefined;
  }

  #add(text: string): void {
    const open = this.#open.at(-1);
    if (open !== undefined && open.text.length + text.length <= LONGEST_OBJECT) open.text += `${text}\n`;
  }
}

/**
 * What one object says, or a list of them.
 *
 * @param plain reads the text of an object that is neither dmesg's nor journald's; without it such are no records
 */
export function parsedEntry(
  json: string,
  at: number,
  plain: DecodeLine | undefined,
): DecodedLine | undefined {
  try {
    return entryOf(JSON.parse(json), at, plain);
  } catch {
    return undefined;
  }
}

function entryOf(
  entry: unknown,
  at: number,
  plain: DecodeLine | undefined,
  depth = 0,
): DecodedLine | undefined {
  if (Array.isArray(entry))
    return together(
      entry.map((element) => entryOf(isPair(element) ? pair(element) : element, at, plain, depth)),
      at,
    );
  if (!isObject(entry)) return undefined;
  if ('msg' in entry && 'pri' in entry) return dmesgEntry(entry, at);
  if ('_TRANSPORT' in entry) return journalEntry(entry, at);
  const fields = new Map(Object.entries(entry).map(([name, value]) => [name.toLowerCase(), value]));
  return plain && shippedEntry(fields, at, plain, depth);
}

/** A time and a line, as Loki answers. */
function isPair(element: unknown): element is [string, string] {
  return (
    Array.isArray(element) && element.length === 2 && element.every((value) => typeof value === 'string')
  );
}

function pair([time, line]: [string, string]): Fields {
  return { time, line };
}

/** Several records in one line: what is not the first comes after it. */
function together(records: readonly (LogRecord | undefined)[], at: number): DecodedLine | undefined {
  const [first, ...more] = records
    .flatMap((record) => (record === undefined ? [] : [record, ...(record.more ?? [])]))
    .map((record, index) => ({ ...record, sequence: at + index, more: undefined }));
  return first && { ...first, more };
}

function dmesgEntry(fields: Fields, sequence: number): LogRecord | undefined {
  const { fac, pri, time, msg } = fields;
  if (typeof msg !== 'string') return undefined;
  const timestampUs = typeof time === 'number' ? Math.round(time * 1e6) : undefined;
  return {
    facility: typeof fac === 'string' ? facility(fac) : KERN,
    level: typeof pri === 'number' ? pri & 7 : level(typeof pri === 'string' ? pri : undefined),
    sequence,
    ...(Number.isSafeInteger(timestampUs) && { timestampUs }),
    text: msg.replace(/^\[ *[TC]\d+\] /, ''),
  };
}

/** Fields with an underscore are journald's own word; a program can set the others (systemd.journal-fields(7)). */
export function journalEntry(fields: Fields, sequence: number): LogRecord | undefined {
  const text = message(fields.MESSAGE);
  if (text === undefined || fields._TRANSPORT !== 'kernel') return undefined;
  const number = (name: string) => {
    const value = Number(fields[name]);
    return typeof fields[name] === 'string' && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
  };
  const string = (name: string) => (typeof fields[name] === 'string' ? (fields[name] as string) : undefined);
  const timestampUs = number('_SOURCE_MONOTONIC_TIMESTAMP');
  const realtime = number('_SOURCE_REALTIME_TIMESTAMP') ?? number('__REALTIME_TIMESTAMP');
  return {
    facility: number('SYSLOG_FACILITY') ?? KERN,
    level: number('PRIORITY') ?? 6,
    sequence,
    timestampUs,
    wallTime: realtime === undefined ? undefined : Math.floor(realtime / 1000),
    host: string('_HOSTNAME'),
    bootId: string('_BOOT_ID'),
    text,
  };
}

function message(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  if (!Array.isArray(value) || !value.every((byte) => Number.isInteger(byte) && byte >= 0 && byte < 256))
    return undefined;
  return visibleText(Buffer.from(value as number[]));
}

/** In small letters, the likeliest first. */
export const TEXT: readonly string[] = [
  'message',
  'msg',
  'log',
  'line',
  'textpayload',
  'text',
  '_raw',
  '@message',
  'body',
  'output',
  'stdout',
  'syslogmessage',
];
const HOST = ['_hostname', 'hostname', 'host', 'node', 'node_name', 'nodename', 'computer'];
const TIME = [
  'timestamp',
  '@timestamp',
  'time',
  'ts',
  '_time',
  'talos-time',
  'date',
  'lasttimestamp',
  'timegenerated',
  '__realtime_timestamp',
];
/** Who says it, and by what way it came. */
const SPEAKER = [
  '_transport',
  '_comm',
  'syslog_identifier',
  'identifier',
  'ident',
  'facility',
  'program',
  'appname',
  'app_name',
  'logger',
];

/**
 * A line of a log in an object of a shipper's, with what stands around it: time and host.
 *
 * @param fields by their names in small letters
 */
export function shippedEntry(
  fields: ReadonlyMap<string, unknown>,
  at: number,
  plain: DecodeLine,
  depth = 0,
): DecodedLine | undefined {
  const [speaker] = strings(fields, SPEAKER);
  if (speaker !== undefined && !/^kern(?:el)?$/.test(speaker)) return undefined;
  const [text] = strings(fields, TEXT);
  if (text === undefined) {
    const inner = depth < DEEPEST_TEXT ? [...fields.values()] : [];
    return around(
      fields,
      firstOf(inner, (value) => entryOf(value, at, plain, depth + 1)),
    );
  }
  const lines = text.trimEnd().split(/\r?\n/, MOST_LINES);
  const records = lines.map((line, index) => around(fields, plain(line, at + index)));
  const [first, ...more] = records.filter((record) => record !== undefined);
  if (first === undefined || lines.length === 1) return first;
  const dated = (record: LogRecord) => ({
    ...record,
    doubt: record.doubt ?? (record.wallTime === undefined ? undefined : OF_THE_TEXT),
  });
  return { ...dated(first), more: more.map(dated) };
}

/** With the time and the host that stand around it. */
function around(
  fields: ReadonlyMap<string, unknown>,
  record: DecodedLine | undefined,
): DecodedLine | undefined {
  if (record === undefined) return undefined;
  const more = record.more?.flatMap((line) => around(fields, line) ?? []);
  const host = fields.get('host');
  const [name] = isObject(host)
    ? strings(new Map(Object.entries(host)), ['name', 'hostname'])
    : strings(fields, HOST);
  const time = record.wallTime === undefined ? firstOf(TIME, (key) => timeOf(fields.get(key))) : undefined;
  return {
    ...record,
    more,
    indent: undefined,
    host: record.host ?? name,
    ...(time && { wallTime: time.ms, wholeSeconds: time.wholeSeconds, doubt: time.doubt }),
  };
}

function strings(fields: ReadonlyMap<string, unknown>, names: readonly string[]): string[] {
  return names.map((name) => fields.get(name)).filter((value) => typeof value === 'string');
}

/** ISO 8601, or a number of seconds, milliseconds, microseconds or nanoseconds since the epoch. */
function timeOf(value: unknown): WallTime | undefined {
  if (typeof value === 'string' && !/^\d+(?:\.\d+)?$/.test(value)) return parseWallTime(value, 0);
  const number = typeof value === 'string' || typeof value === 'number' ? Number(value) : Number.NaN;
  // Until the year 5138 a number of seconds has eleven digits.
  const ms = [number * 1000, number, number / 1000, number / 1e6].find((each) => each < 1e14);
  return ms !== undefined && ms >= 1e11 ? { ms: Math.floor(ms), wholeSeconds: false } : undefined;
}

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function firstOf<T, R>(values: readonly T[], find: (value: T) => R | undefined): R | undefined {
  for (const value of values) {
    const found = find(value);
    if (found !== undefined) return found;
  }
  return undefined;
}
