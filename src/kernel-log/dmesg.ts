import { type DecodedLine, type Decoder, LineDecoder } from './decoder.ts';
import { microseconds } from './kernel-stamp.ts';
import { facility, level } from './priority.ts';
import { parseWallTime, UNREADABLE_TIME } from './wall-time.ts';

/** `kern  :err   : ` (-x), `node-7: kern:  err: ` (talosctl), `<3>` (--raw), or what a console before 4.15 puts after a loss */
const PREFIX =
  /^(?:(?:(?!\d+:)(\S+): )?([a-z0-9]+) *: *([a-z]+) *: |<(\d{1,4})>|\*\* \d+ printk messages dropped \*\* )/;
/**
 * `[   27.287451] `, with `<    0.000001>` of -d or with that alone, or `[Sat Nov 21 03:14:15 2026] ` of -T in whatever language, or
 * `[Nov21 03:14] ` of -e
 */
const BRACKET =
  /^\[ *(?:(\d+)\.(\d{1,6})s?(?: <[ \d.]*>)?|<[ \d.]*>|([^\s\d+[\]][^[\]]{0,40}\d{2}:\d{2}:\d{2}[^[\]]{0,20})|[A-Z][a-z]{2}\d{2} \d{2}:\d{2}|\+[\d.]+)\](?: |(?=\[ *[TC]?\d+\]|\[pid:|-?\(\d))/;
/** `2026-11-21T03:14:15,000001+00:00 ` of --time-format iso, or `[2026-11-21T03:14:15.000001Z]: ` of talosctl */
const ISO =
  /^(?:(\d{4}-\d{2}-\d{2}T[\d:]{8},\d{6}[+-]\d{2}:\d{2})|\[(\d{4}-\d{2}-\d{2}T[\d:]{8}[.\d]*Z)\]:) /;
/**
 * CONFIG_PRINTK_CALLER: which task or CPU printed it. Some kernels print the CPU before the task; those of Android phones
 * `[2:       kswapd0:   85] `, `(2)[85:kswapd0]` or `[pid:85,cpu2,kswapd0]`, whatever their makers chose.
 */
const CALLER =
  /^ ?(?:\[pid:\d+,cpu\d+,.{1,15}?\]|(?:\[ *\d+\] )?\[ *[TC]\d+\] |[A-Z]?\[\d+: *.{1,15}: *\d+\] |-?\(\d+\)\[\d+:.{1,15}?\] ?)/;

export function dmesgDecoder(now: () => number): Decoder {
  return new LineDecoder((line, at) => decodeDmesg(line, at, now()));
}

/** What dmesg of util-linux and of busybox prints, in all its text forms, and talosctl's. */
export function decodeDmesg(line: string, sequence: number, now: number): DecodedLine | undefined {
  const prefix = PREFIX.exec(line);
  const rest = line.slice(prefix?.[0].length ?? 0);
  const clock = BRACKET.exec(rest);
  const iso = clock === null ? ISO.exec(rest) : null;
  const time = clock ?? iso;
  if (!time) return undefined;
  const body = rest.slice(time[0].length);
  const stamps = iso ? wall((iso[1] ?? iso[2]) as string, now) : bracket(time, now);
  const priority = prefix?.[4] === undefined ? undefined : Number(prefix[4]);
  return {
    facility: priority === undefined ? facility(prefix?.[2]) : priority >> 3,
    level: priority === undefined ? level(prefix?.[3]) : priority & 7,
    sequence,
    host: prefix?.[1],
    ...stamps,
    text: body.replace(CALLER, ''),
    // --raw and talosctl print further lines of a record as they are.
    indent: priority === undefined && iso?.[2] === undefined ? line.length - body.length : 0,
  };
}

function bracket(
  time: RegExpExecArray,
  now: number,
): Pick<DecodedLine, 'timestampUs' | 'wallTime' | 'wholeSeconds' | 'doubt'> {
  if (time[1] !== undefined) return { timestampUs: microseconds(time[1], time[2] ?? '') };
  return time[3] === undefined ? {} : wall(time[3], now);
}

function wall(text: string, now: number): Pick<DecodedLine, 'wallTime' | 'wholeSeconds' | 'doubt'> {
  const parsed = parseWallTime(text, now);
  if (parsed === undefined) return { doubt: UNREADABLE_TIME };
  return {
    wallTime: parsed.ms,
    wholeSeconds: parsed.wholeSeconds,
    // dmesg itself warns of it: the kernel's clock stands still while the machine sleeps.
    doubt: parsed.doubt ?? 'converted by dmesg, which does not count the time that the machine slept',
  };
}
