import { type DecodedLine, type Decoder, LineDecoder } from './decoder.ts';
import { parseWallTime } from './wall-time.ts';

const FACILITIES = [
  'kern',
  'user',
  'mail',
  'daemon',
  'auth',
  'syslog',
  'lpr',
  'news',
  'uucp',
  'cron',
  'authpriv',
  'ftp',
];
const LEVELS = ['emerg', 'alert', 'crit', 'err', 'warn', 'notice', 'info', 'debug'];

/** `kern  :err   : ` (-x) or `<3>` (--raw) */
const PREFIX = /^(?:([a-z0-9]+) *:([a-z]+) *: |<(\d{1,4})>)/;
/** `[   27.287451] `, with `<    0.000001>` of -d, or `[Sat Nov 21 03:14:15 2026] ` of -T, or `[Nov21 03:14] ` of -e */
const BRACKET =
  /^\[ *(?:(\d+)\.(\d{1,6})(?: <[ \d.]*>)?|([A-Z][a-z]{2} [A-Z][a-z]{2} [^\]]{16,17})|[A-Z][a-z]{2}\d{2} \d{2}:\d{2}|\+[\d.]+)\](?: |(?=\[ *[TC]?\d+\]))/;
/** --time-format iso */
const ISO = /^(\d{4}-\d{2}-\d{2}T[\d:]{8},\d{6}[+-]\d{2}:\d{2}) /;
/** CONFIG_PRINTK_CALLER: which task or CPU printed it. Some kernels print the CPU before the task. */
const CALLER = /^ ?(?:\[ *\d+\] )?\[ *[TC]\d+\] /;

export function dmesgDecoder(now: () => number): Decoder {
  return new LineDecoder((line, at) => decodeDmesg(line, at, now()));
}

/** What dmesg of util-linux and of busybox prints, in all its text forms. */
export function decodeDmesg(line: string, sequence: number, now: number): DecodedLine | undefined {
  const prefix = PREFIX.exec(line);
  const rest = line.slice(prefix?.[0].length ?? 0);
  const time = BRACKET.exec(rest) ?? ISO.exec(rest);
  if (!time) return undefined;
  const body = rest.slice(time[0].length);
  const stamps = time[0].startsWith('[') ? bracket(time, now) : wall(time[1] as string, now);
  const priority = prefix?.[3] === undefined ? undefined : Number(prefix[3]);
  return {
    facility: priority === undefined ? facility(prefix?.[1]) : priority >> 3,
    level: priority === undefined ? level(prefix?.[2]) : priority & 7,
    sequence,
    ...stamps,
    text: body.replace(CALLER, ''),
    indent: priority === undefined ? line.length - body.length : 0,
  };
}

/** Without its facility a line counts as the kernel's: only root can write others into the kernel's log. */
export function facility(name: string | undefined): number {
  const index = name === undefined ? 0 : FACILITIES.indexOf(name);
  return index < 0 ? FACILITIES.length : index;
}

export function level(name: string | undefined): number {
  const index = LEVELS.indexOf(name ?? 'info');
  return index < 0 ? LEVELS.length - 1 : index;
}

function bracket(time: RegExpExecArray, now: number): Pick<DecodedLine, 'timestampUs' | 'wallTime'> {
  if (time[1] !== undefined) return { timestampUs: microseconds(time[1], time[2] ?? '') };
  return time[3] === undefined ? {} : wall(time[3], now);
}

function wall(text: string, now: number): Pick<DecodedLine, 'wallTime' | 'wholeSeconds' | 'doubt'> {
  const parsed = parseWallTime(text, now);
  if (parsed === undefined) return {};
  return {
    wallTime: parsed.ms,
    wholeSeconds: parsed.wholeSeconds,
    // dmesg itself warns of it: the kernel's clock stands still while the machine sleeps.
    doubt: parsed.doubt ?? 'converted by dmesg, which does not count the time that the machine slept',
  };
}

/** @returns undefined when it is too large to be exact */
export function microseconds(seconds: string, fraction: string): number | undefined {
  const us = Number(seconds) * 1e6 + Number(fraction.slice(0, 6).padEnd(6, '0'));
  return Number.isSafeInteger(us) ? us : undefined;
}
