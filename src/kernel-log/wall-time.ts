import { monthIndex } from './month-names.ts';

const DAY_MS = 86_400_000;

const ISO = /^(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2}:\d{2})(?:[.,](\d{1,9}))?(Z|[+-]\d{2}:?\d{2})?$/;
/** `Sat Nov 21 03:14:15 2026`, as ctime(3) writes it, or with a zone, as crash(8) does; some languages have the day first */
const CTIME = /^\S+ +(\S+) +(\d{1,2}) (\d{2}):(\d{2}):(\d{2})(?: ([A-Z]{3,5}))? (\d{4})$/;
const DAY_FIRST = /^(\S+) +(\d{1,2}) +([^\s\d]\S*) /;
/** `Nov 21 03:14:15`, RFC 3164; journalctl -o short-precise adds microseconds */
const NO_YEAR = /^(\S+) +(\d{1,2}) (\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,9}))?$/;

export interface WallTime {
  /** Milliseconds since the epoch. */
  readonly ms: number;
  readonly wholeSeconds: boolean;
  readonly doubt?: string;
}

/** Why a log's time is unknown though each of its lines has one. */
export const UNREADABLE_TIME = 'the time stamps of the log are in a language that is not read here';
const NO_ZONE = 'the log names no time zone: that of this machine is assumed';
const NO_ZONE_NOR_YEAR = 'the log names neither year nor time zone: those of this machine are assumed';

/**
 * A time stamp of a log. One without a zone is taken as local time, one without a year as the latest that is not in the
 * future.
 *
 * @param now milliseconds since the epoch
 */
export function parseWallTime(text: string, now: number): WallTime | undefined {
  const iso = ISO.exec(text);
  if (iso) {
    const zone = iso[4] === undefined ? '' : iso[4].replace(/^([+-]\d{2})(\d{2})$/, '$1:$2');
    const ms = Date.parse(`${iso[1]}T${iso[2]}.${(iso[3] ?? '').slice(0, 3).padEnd(3, '0')}${zone}`);
    return wallTime(ms, iso[3] === undefined, zone === '' ? NO_ZONE : undefined);
  }
  const ctime = CTIME.exec(text.replace(DAY_FIRST, '$1 $3 $2 '));
  if (ctime) {
    const at = local(Number(ctime[7]), ctime, 1);
    if (ctime[6] !== 'UTC') return wallTime(at, true, NO_ZONE);
    return wallTime(at - new Date(at).getTimezoneOffset() * 60_000, true, undefined);
  }
  const short = NO_YEAR.exec(text);
  if (!short) return undefined;
  const fraction = Number((short[6] ?? '0').slice(0, 3).padEnd(3, '0'));
  const year = new Date(now).getFullYear();
  const thisYear = local(year, short, 1);
  const ms = thisYear > now + DAY_MS ? local(year - 1, short, 1) : thisYear;
  return wallTime(ms + fraction, short[6] === undefined, NO_ZONE_NOR_YEAR);
}

function local(year: number, parts: RegExpExecArray, month: number): number {
  const [name, day, hour, minute, second] = parts.slice(month, month + 5);
  const index = monthIndex(name as string);
  if (index === undefined) return Number.NaN;
  return new Date(year, index, Number(day), Number(hour), Number(minute), Number(second)).getTime();
}

function wallTime(ms: number, wholeSeconds: boolean, doubt: string | undefined): WallTime | undefined {
  if (!Number.isFinite(ms)) return undefined;
  return { ms, wholeSeconds, ...(doubt !== undefined && { doubt }) };
}
