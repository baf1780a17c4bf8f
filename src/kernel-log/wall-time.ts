const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
const DAY_MS = 86_400_000;

const ISO = /^(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2}:\d{2})(?:[.,](\d{1,9}))?(Z|[+-]\d{2}:?\d{2})?$/;
/** `Sat Nov 21 03:14:15 2026`, as ctime(3) writes it; some languages have the day first */
const CTIME = /^\S+ +(\S+) +(\d{1,2}) (\d{2}):(\d{2}):(\d{2}) (\d{4})$/;
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
  if (ctime) return wallTime(local(Number(ctime[6]), ctime, 1), true, NO_ZONE);
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

/** In English, with its number as in Chinese, Japanese (月) and Korean (월), or begun as in one of the other languages. */
function monthIndex(name: string): number | undefined {
  const number = /^(\d{1,2})[\u6708\uc6d4]$/.exec(name)?.[1];
  const index = number === undefined ? MONTHS.indexOf(name) : Number(number) - 1;
  return index >= 0 && index < MONTHS.length ? index : otherMonth(name);
}

/** dmesg -T and journalctl abbreviate as the C library does, mostly to the first three letters. */
function otherMonth(name: string): number | undefined {
  if (lastOther?.name !== name) lastOther = { name, month: findOtherMonth(name) };
  return lastOther.month;
}

function findOtherMonth(name: string): number | undefined {
  const start = name.toLowerCase().replace(/\.$/, '');
  if (!/^\p{L}{3,}$/u.test(start)) return undefined;
  otherNames ??= LANGUAGES.flatMap(monthNames);
  const found = new Set(otherNames.filter(([known]) => known.startsWith(start)).map(([, month]) => month));
  // Listopad is October in Croatian and November in Polish.
  return found.size === 1 ? [...found][0] : undefined;
}

/** Of all languages; made when a log needs it. */
let otherNames: (readonly [name: string, month: number])[] | undefined;
/** Each line of a log names the same month. */
let lastOther: { readonly name: string; readonly month: number | undefined } | undefined;

const LANGUAGES = [
  'cs',
  'da',
  'de',
  'es',
  'fr',
  'hr',
  'hu',
  'id',
  'it',
  'nb',
  'nl',
  'pl',
  'pt',
  'ro',
  'ru',
  'sv',
  'tr',
  'uk',
];

function monthNames(language: string): (readonly [name: string, month: number])[] {
  return (['long', 'short'] as const).flatMap((month) => {
    const alone = new Intl.DateTimeFormat(language, { month, timeZone: 'UTC' });
    const dated = new Intl.DateTimeFormat(language, { month, day: 'numeric', timeZone: 'UTC' });
    return MONTHS.flatMap((_, index) => {
      const date = new Date(Date.UTC(2026, index, 1));
      const inDate = dated.formatToParts(date).find(({ type }) => type === 'month')?.value ?? '';
      return [alone.format(date), inDate].map((known) => [known.toLowerCase(), index] as const);
    });
  });
}

function wallTime(ms: number, wholeSeconds: boolean, doubt: string | undefined): WallTime | undefined {
  if (!Number.isFinite(ms)) return undefined;
  return { ms, wholeSeconds, ...(doubt !== undefined && { doubt }) };
}
