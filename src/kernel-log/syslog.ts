import { type DecodedLine, type Decoder, LineDecoder } from './decoder.ts';
import { microseconds, stampAt } from './kernel-stamp.ts';
import { FACILITIES, facility, level } from './priority.ts';
import { parseWallTime, UNREADABLE_TIME } from './wall-time.ts';

const PRIORITY = /^<(\d{1,3})>(?:1 )?/;
const FACILITY = [...FACILITIES, 'local[0-7]'].join('|');
const LEVEL = 'emerg|panic|alert|crit|err|error|warn|warning|notice|info|debug';
/** `Nov 21 03:14:15`; journalctl names the month in its user's language, and an export can put a time of its own before. */
const SHORT = String.raw`(?:\d{4}-\d{2}-\d{2}T\S+ )?(?<short>[^\s"'|>:]{2,10} [ \d]?\d \d{2}:\d{2}:\d{2}(?:\.\d+)?)`;
const ISO = String.raw`(?<iso>\d{4}-\d{2}-\d{2}(?:T| (?=\d{2}:\d{2}:\d{2}))\S+)`;
const FULL = String.raw`[A-Z][a-z]{2} (?<full>\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}(?:\.\d+)?) (?<zone>\S+)`;
const CTIME = String.raw`(?<ctime>[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d{2}:\d{2}:\d{2} \d{4})`;
const UNIX = String.raw`(?<unix>\d{9,11}\.\d{1,9})`;
const MONOTONIC = String.raw`\[ *(?<seconds>\d+)\.(?<fraction>\d{1,6})(?: [ \d.*<>]*)?\]`;
/**
 * RFC 3164 and rsyslog's files, journalctl -o short, short-precise, short-iso, short-full, short-unix, short-monotonic, short-delta, and
 * what busybox and OpenWrt write: a time, mostly the host, at some the facility and level, `kernel:`.
 */
const LINE = new RegExp(
  String.raw`^(?:(?:${SHORT}|${ISO}|${FULL}|${CTIME}|${UNIX})(?: (?<host>\S+))??|${MONOTONIC} (?<host>\S+)) ` +
    String.raw`(?:(?<facility>${FACILITY})\.(?<level>${LEVEL}) |(?:${LEVEL.toUpperCase()}) )?` +
    String.raw`(?:kernel: |kernel - \S+ (?:-|\[.*?\]) (?:\ufeff)?)`,
);
const BEFORE_STAMP = / *(?:<\d>)? *(?=\[ *\d+\.\d)/y;
const BYTE_ORDER_MARK = 0xfeff;
const LESS = 0x3c;
const SPACE = 0x20;

/** What stands in a line before the kernel's own words. */
interface Head extends Pick<DecodedLine, 'facility' | 'level' | 'timestampUs' | 'host'> {
  readonly text: string;
  readonly wallTime?: number;
  readonly wholeSeconds?: boolean;
  readonly doubt?: string | undefined;
}

export type HeadParser = (line: string) => Head | undefined;

export function syslogDecoder(now: () => number): Decoder {
  const headOf = headParser(now);
  return new LineDecoder((line, at) => decodeSyslog(line, at, headOf));
}

/** The kernel's lines of a syslog file (RFC 3164, RFC 5424) or of what journalctl prints; other programs' are no records. */
export function decodeSyslog(line: string, sequence: number, headOf: HeadParser): DecodedLine | undefined {
  const head = headOf(line);
  if (head === undefined) return undefined;
  const indent = head.text.length;
  const stamp = stampAt(line, wordsAt(line, indent));
  return {
    facility: head.facility,
    level: head.level,
    sequence,
    timestampUs: stamp === undefined ? head.timestampUs : stamp.timestampUs,
    wallTime: head.wallTime,
    wholeSeconds: head.wholeSeconds,
    doubt: head.doubt,
    host: head.host,
    text: octal(line.slice(stamp?.end ?? indent)),
    indent,
  };
}

/** Where the kernel's stamp may be: some daemons leave its priority or a blank before it. */
function wordsAt(line: string, start: number): number {
  const first = line.charCodeAt(start);
  if (first !== SPACE && first !== LESS) return start;
  BEFORE_STAMP.lastIndex = start;
  return BEFORE_STAMP.test(line) ? BEFORE_STAMP.lastIndex : start;
}

/**
 * Lines come many at a time with the same head: the last one is kept, which saves a third of what a dump costs. No part
 * of a head but a byte order mark at its end depends on what comes after it.
 */
export function headParser(now: () => number): HeadParser {
  let last: Head | undefined;
  return (line) => {
    if (last !== undefined && line.startsWith(last.text)) {
      if (line.charCodeAt(last.text.length) !== BYTE_ORDER_MARK) return last;
    }
    const head = parseHead(line, now);
    last = head ?? last;
    return head;
  };
}

function parseHead(line: string, now: () => number): Head | undefined {
  const priority = PRIORITY.exec(line);
  const start = priority?.[0].length ?? 0;
  const found = LINE.exec(start === 0 ? line : line.slice(start));
  if (!found) return undefined;
  const groups = found.groups as Readonly<Record<string, string | undefined>>;
  const number = priority ? Number(priority[1]) : 6;
  return {
    text: line.slice(0, start + found[0].length),
    facility: groups.facility === undefined ? number >> 3 : facility(groups.facility),
    level: groups.level === undefined ? number & 7 : level(groups.level),
    timestampUs:
      groups.seconds === undefined ? undefined : microseconds(groups.seconds, groups.fraction ?? ''),
    host: groups.host,
    ...wall(groups, now),
  };
}

function wall(
  { short, iso, full, zone, ctime, unix }: Readonly<Record<string, string | undefined>>,
  now: () => number,
): Pick<Head, 'wallTime' | 'wholeSeconds' | 'doubt'> {
  if (unix !== undefined) return { wallTime: Math.floor(Number(unix) * 1000), wholeSeconds: false };
  const text =
    full === undefined ? (short ?? iso ?? ctime) : full + (/^(?:UTC|GMT)$/.test(zone ?? '') ? 'Z' : '');
  if (text === undefined) return {};
  const parsed = parseWallTime(text, now());
  if (parsed === undefined) return { doubt: UNREADABLE_TIME };
  const { ms, wholeSeconds, doubt } = parsed;
  return { wallTime: ms, wholeSeconds, doubt };
}

/** rsyslog writes control characters as `#` and three octal digits. */
export function octal(text: string): string {
  if (!text.includes('#')) return text;
  return text.replace(/#(0[0-3][0-7]|177)/g, (_escape, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}
