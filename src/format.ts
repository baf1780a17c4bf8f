/** Numbers, times and hostile text as people read them. Pure; this file imports nothing. */

const MiB = 1024 ** 2;
const UNITS = ['MiB', 'GiB', 'TiB', 'PiB'] as const;
export type SizeUnit = (typeof UNITS)[number];

/** `1.98 GiB`, `64 MiB`: at most three digits; under a tenth of a MiB it is said to be less than that. */
export function size(bytes: number): string {
  const unit = sizeUnit(bytes);
  return `${sizeIn(unit, bytes)} ${unit}`;
}

/** The unit in which `bytes` has at most three digits before the point. */
export function sizeUnit(bytes: number): SizeUnit {
  let power = 0;
  while (power < UNITS.length - 1 && Math.round(bytes / (MiB * 1024 ** power)) >= 1000) power++;
  return UNITS[power]!;
}

/** The number alone, for sizes that share a unit: `1.96` of GiB. MiB have a tenth only below ten. */
export function sizeIn(unit: SizeUnit, bytes: number): string {
  const value = bytes / (MiB * 1024 ** UNITS.indexOf(unit));
  if (value === 0) return '0';
  const least = unit === 'MiB' ? 0.1 : 0.01;
  if (value < least) return `under ${least}`;
  if (unit === 'MiB') return value.toFixed(value < 9.95 ? 1 : 0);
  return value.toFixed(value < 9.995 ? 2 : value < 99.95 ? 1 : 0);
}

const SPANS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1000],
] as const;

/** `2 h 10 min`: the largest unit and, with `parts` 2, the next one if it is not zero. Under a second: `under 1 s`. */
export function duration(ms: number, parts: 1 | 2 = 2): string {
  const first = SPANS.findIndex(([, length]) => ms >= length);
  if (first < 0) return 'under 1 s';
  let rest = ms;
  return SPANS.slice(first, first + parts)
    .flatMap(([name, length]) => {
      const count = Math.floor(rest / length);
      rest -= count * length;
      return count > 0 ? [`${count} ${name}`] : [];
    })
    .join(' ');
}

/** `1st`, `2nd`, `3rd`, `11th`, `22nd` */
export function ordinal(n: number): string {
  const teens = n % 100 >= 11 && n % 100 <= 13;
  return `${n}${teens ? 'th' : (['th', 'st', 'nd', 'rd'][n % 10] ?? 'th')}`;
}

/** `1 line`, `7 lines` */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

/** `local`: the time zone of this machine, as its other tools print it, without naming it. `utc`: with ` UTC` behind. */
export type TimeZone = 'local' | 'utc';

/** `03:14:15`, or with `to: 'minute'` `03:14`; the date before it where it is not the day of `seenAt`. */
export function clockTime(
  time: number,
  seenAt: number,
  zone: TimeZone,
  to: 'second' | 'minute' = 'second',
): string {
  const [date, clock] = dateAndClock(time, zone);
  const shown = to === 'second' ? clock : clock.slice(0, 5);
  const sameDay = date === dateAndClock(seenAt, zone)[0];
  return `${sameDay ? '' : `${date} `}${shown}${zone === 'utc' ? ' UTC' : ''}`;
}

function dateAndClock(time: number, zone: TimeZone): [date: string, clock: string] {
  const shift = zone === 'local' ? new Date(time).getTimezoneOffset() * 60_000 : 0;
  const iso = new Date(time - shift).toISOString();
  return [iso.slice(0, 10), iso.slice(11, 19)];
}

/**
 * Characters that act instead of being seen: controls (terminal escapes begin with one), formats (right-to-left
 * overrides, zero-width), line and paragraph separators. As `\xNN` of their UTF-8 bytes.
 */
export function printable(text: string): string {
  return text.toWellFormed().replace(UNSEEN, escaped);
}

const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

function escaped(character: string): string {
  return [...new TextEncoder().encode(character)]
    .map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`)
    .join('');
}

/** East Asian letters and pictures take two columns of a terminal, marks that stand on another letter none. */
const WIDE =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97c\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6\u{20000}-\u{3fffd}\p{Emoji_Presentation}]/gu;
const ON_ANOTHER = /[\p{Mn}\p{Me}]/gu;

/** Columns of a terminal that printable text takes. */
export function columnsOf(text: string): number {
  return Array.from(text.replace(ON_ANOTHER, '').replace(WIDE, '--')).length;
}

const CUT = ' \u2026 ';

/** `printable`, cut in the middle to at most `limit` UTF-16 units; neither an escape nor a character is cut in two. */
export function shown(text: string, limit: number): string {
  if (text.length <= limit) {
    const whole = printable(text);
    if (whole.length <= limit) return whole;
  }
  const room = Math.max(2, limit - CUT.length);
  const head = fitting(characters(text.slice(0, limit)), Math.ceil(room / 2));
  const tail = fitting(characters(text.slice(-limit)).reverse(), Math.floor(room / 2));
  return `${head.join('').trimEnd()}${CUT}${tail.reverse().join('').trimStart()}`;
}

function characters(text: string): string[] {
  return Array.from(text.toWellFormed(), (character) => character.replace(UNSEEN, escaped));
}

function fitting(shownCharacters: readonly string[], room: number): string[] {
  const taken: string[] = [];
  let length = 0;
  for (const character of shownCharacters) {
    length += character.length;
    if (length > room) break;
    taken.push(character);
  }
  return taken;
}
