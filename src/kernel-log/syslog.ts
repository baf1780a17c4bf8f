import { type DecodedLine, type Decoder, LineDecoder } from './decoder.ts';
import { microseconds } from './dmesg.ts';
import { type WallTime, wallTimeParser } from './wall-time.ts';

type ParseWallTime = (text: string) => WallTime | undefined;

const PRIORITY = /^<(\d{1,3})>(?:1 )?/;
/**
 * RFC 3164 and rsyslog's files, journalctl -o short, short-precise, short-iso, short-full, short-unix, short-monotonic:
 * a time, the host, `kernel:`.
 */
const LINE =
  /^(?:([A-Z][a-z]{2} [ \d]\d \d{2}:\d{2}:\d{2}(?:\.\d+)?)|(\d{4}-\d{2}-\d{2}T\S+)|[A-Z][a-z]{2} (\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}(?:\.\d+)?) (\S+)|(\d{9,11}\.\d{1,9})|\[ *(\d+)\.(\d{1,6})\]) (\S+) (?:kernel: |kernel - \S+ (?:-|\[.*?\]) (?:\ufeff)?)/;
const STAMP = /^\[ *(\d+)\.(\d{6})\] ?(?:\[ *[TC]\d+\] )?/;

export function syslogDecoder(now: () => number): Decoder {
  const parse = wallTimeParser(now);
  return new LineDecoder((line) => decodeSyslog(line, parse));
}

/** The kernel's lines of a syslog file (RFC 3164, RFC 5424) or of what journalctl prints; other programs' are no records. */
export function decodeSyslog(line: string, parse: ParseWallTime): DecodedLine | undefined {
  const priority = PRIORITY.exec(line);
  const start = priority?.[0].length ?? 0;
  const found = LINE.exec(start === 0 ? line : line.slice(start));
  if (!found) return undefined;
  const body = line.slice(start + found[0].length);
  const stamp = STAMP.exec(body);
  const monotonic = stamp ?? (found[6] === undefined ? null : [found[0], found[6], found[7]]);
  const timestampUs = monotonic ? microseconds(monotonic[1] as string, monotonic[2] ?? '') : undefined;
  const number = priority ? Number(priority[1]) : 6;
  return {
    facility: number >> 3,
    level: number & 7,
    ...(timestampUs !== undefined && { timestampUs }),
    ...wall(found, parse),
    host: found[8],
    text: octal(body.slice(stamp?.[0].length ?? 0)),
    indent: start + found[0].length,
  };
}

function wall(
  found: RegExpExecArray,
  parse: ParseWallTime,
): Pick<DecodedLine, 'wallTime' | 'wholeSeconds' | 'doubt'> {
  if (found[5] !== undefined) return { wallTime: Math.floor(Number(found[5]) * 1000), wholeSeconds: false };
  const zone = found[4] === 'UTC' || found[4] === 'GMT' ? 'Z' : '';
  const text = found[1] ?? found[2] ?? (found[3] === undefined ? undefined : found[3] + zone);
  const parsed = text === undefined ? undefined : parse(text);
  if (parsed === undefined) return {};
  return {
    wallTime: parsed.ms,
    wholeSeconds: parsed.wholeSeconds,
    ...(parsed.doubt !== undefined && { doubt: parsed.doubt }),
  };
}

/** rsyslog writes control characters as `#` and three octal digits. */
function octal(text: string): string {
  if (!text.includes('#')) return text;
  return text.replace(/#(0[0-3][0-7]|177)/g, (_escape, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}
