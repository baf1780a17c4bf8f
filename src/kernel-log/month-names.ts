/** The months as logs name them: in the language of whoever wrote one. */

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** In English, with its number as in Chinese, Japanese (月) and Korean (월), or begun as in one of the other languages. */
export function monthIndex(name: string): number | undefined {
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
