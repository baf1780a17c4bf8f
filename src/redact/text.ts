import { characterClass } from './characters.ts';
import { CommandReader } from './command.ts';
import { type LiteralCursor, Literals } from './literals.ts';
import { isHarmlessValue, secretWord } from './names.ts';
import { PipeReader } from './pipe.ts';
import { PROGRAMS_WITH_SECRETS } from './programs.ts';
import { isOpen, type Range } from './range.ts';
import { basicCredentialsAt, PLACE_READERS, sqlStringAt, TOKEN_READERS } from './shape.ts';
import { headerValueEnd, isQuote, listEnd, quotedEnd, unquoted, valueEnd } from './value.ts';

/** What a literal may be the sign of. Absent: a command with a secret. */
interface Anchor {
  readonly read?: 'name' | ((text: string, at: number, end: number) => Range | undefined);
  /** A word begins, or ends, with the literal. */
  readonly begins?: true;
  readonly ends?: true;
}

const NAMES = 'pass pw psk pswd secret token key cred auth sig cookie jwt bearer sess mnemonic'.split(' ');

/** Every secret has one of these before, in or beside it: a text without any costs one search. */
const anchors = (): (readonly [literal: string, anchor: Anchor])[] => [
  ...[...PROGRAMS_WITH_SECRETS, 'sudo']
    // Any text with the name of such a program has an anchor, and a longer one would hide it.
    .filter((program) => !NAMES.some((name) => program.includes(name)))
    .map((program) => [program, { begins: true, ends: true }] as const),
  ...['-u', '--user'].map((option) => [option, { ends: true }] as const),
  ...NAMES.map((name) => [name, { read: 'name' }] as const),
  ...['-pin', '-otp', '-totp'].map((option) => [option, { read: 'name', ends: true }] as const),
  ...TOKEN_READERS.map(([literal, read]) => [literal, { read, begins: true }] as const),
  ...PLACE_READERS.map(([literal, read]) => [literal, { read }] as const),
  ['basic', { read: basicCredentialsAt, ends: true }],
];

let literals: Literals<Anchor> | undefined;

/** Made for the first text: that takes 3 ms, for which both threads have more to do while they start. */
function anchorsIn(text: string): LiteralCursor<Anchor> {
  literals ??= new Literals(anchors());
  return literals.in(text);
}

const isWordCharacter = characterClass(/[\w-]/);
const isNameCharacter = characterClass(/[\w.-]/);

/** The next anchor; the cursor stands at its literal. */
function nextAnchor(cursor: LiteralCursor<Anchor>, text: string): Anchor | undefined {
  for (let anchor = cursor.next(); anchor !== undefined; anchor = cursor.next()) {
    if (anchor.begins && isWordCharacter(text, cursor.start - 1)) continue;
    if (anchor.ends && isNameCharacter(text, cursor.end)) continue;
    return anchor;
  }
  return undefined;
}

export function isSuspicious(text: string): boolean {
  return nextAnchor(anchorsIn(text), text) !== undefined;
}

/** Too short for a token, and nothing that may stand between a name and its value. */
const SHORT_WORD = /^[\w.]{0,12}$/;

/** Secrets in a text of any kind: a line of a script, a configuration, a log. */
export function secretsInText(text: string): Range[] {
  // The first lines of the agent's log are all like this, and its start does not wait for the table of literals.
  if (SHORT_WORD.test(text)) return [];
  return isSuspicious(text) ? [...secretsByShape(text, false), ...secretsOfCommands(text)] : [];
}

/** Secrets within one argument. `NAME=value` has all the rest as its value; an argument with spaces may be a script. */
export function secretsInArgument(argument: string, isScript: boolean): Range[] {
  if (!isSuspicious(argument)) return [];
  const ranges = secretsByShape(argument, !isScript);
  return /\s/.test(argument) ? [...ranges, ...secretsOfCommands(argument)] : ranges;
}

/** No real text has as many that are not masked yet: what follows is taken for one more, so that a hostile one costs no more. */
export const MAX_SECRETS = 500;

function secretsByShape(text: string, isArgument: boolean): Range[] {
  const ranges: Range[] = [];
  const cursor = anchorsIn(text);
  let floor = 0;
  for (let anchor = nextAnchor(cursor, text); anchor !== undefined; anchor = nextAnchor(cursor, text)) {
    if (anchor.read === undefined) continue;
    if (anchor.read === 'name') {
      const start = nameStart(text, cursor.start, floor);
      const end = nameEnd(text, cursor.end);
      const found = start < floor ? undefined : valueOfName(text, start, end, isArgument);
      if (found && isOpen(text, found)) ranges.push(found);
      floor = found?.end ?? end;
    } else {
      const found = anchor.read(text, cursor.start, cursor.end);
      if (!found) continue;
      if (isOpen(text, found)) ranges.push(found);
      // A DSN's password stands before its anchor.
      floor = Math.max(found.end, cursor.end);
    }
    if (ranges.length >= MAX_SECRETS) return [...ranges, { start: floor, end: text.length }];
    cursor.skipTo(floor);
  }
  return ranges;
}

const HEXADECIMAL = /^[\da-f]{2}$/i;

function nameStart(text: string, at: number, floor: number): number {
  let start = at;
  while (start > floor && isNameCharacter(text, start - 1)) start--;
  // `%3Ftoken%3D`: a query within a query.
  const isEncoded =
    text[start - 1] === '%' && start + 2 <= at && HEXADECIMAL.test(text.slice(start, start + 2));
  return isEncoded ? start + 2 : start;
}

function nameEnd(text: string, from: number): number {
  let end = from;
  while (isNameCharacter(text, end)) end++;
  return end;
}

/** What the least of all forms has after a name; most names have nothing of it. */
const MAY_HAVE_VALUE = /[\\"'\]]*\s*[\\"'=:,>%(v]/iy;
const HEADER = /^(?:(?:proxy-)?authorization|(?:set-)?cookie)$/i;
const SCHEME = /^(?:bearer|basic|token|digest|negotiate|apikey|aws4-hmac-sha256)[ \t]+(?=\S)/i;
/** `--from-literal=` of `--from-literal=password=v`. */
const OPTION_BEFORE = /^--?[\w-]{1,64}=$/;
const BEARER = /[ \t]+([\w.~+/=-]{6,})/y;

/** The secret that belongs to the name at `start`..`end`, if it is the name of one and a value follows. */
function valueOfName(text: string, start: number, end: number, isArgument: boolean): Range | undefined {
  const isBearer = end - start === 6 && /^bearer/i.test(text.slice(start, end));
  MAY_HAVE_VALUE.lastIndex = end;
  if (!isBearer && !MAY_HAVE_VALUE.test(text)) return undefined;
  const name = text.slice(start, end);
  if (isBearer) {
    BEARER.lastIndex = end;
    const token = BEARER.exec(text)?.[1];
    if (token !== undefined) return { start: BEARER.lastIndex - token.length, end: BEARER.lastIndex };
  }
  const word = secretWord(name);
  if (word === undefined) return undefined;
  const isApart = text[end] !== '=' && text[end] !== ':';
  const apart = isApart ? valueApart(text, start, end, name) : undefined;
  if (apart) return apart;
  let from = afterSeparator(text, start, end, word);
  if (from === undefined) return undefined;
  if (text[end] === '"' || text[end] === '\\') {
    // JSON: an object has keys of its own, a list is a value.
    if (text[from] === '{') return undefined;
    if (text[from] === '[') return { start: from + 1, end: listEnd(text, from + 1) };
  }

  const isHeader = HEADER.test(name);
  const isWhole =
    isArgument &&
    (start === 0
      ? name.startsWith('-') || isHeader || !goesOn(text, from)
      : OPTION_BEFORE.test(text.slice(0, Math.min(start, 70))) && !goesOn(text, from));
  const to = isWhole ? text.length : isHeader ? headerValueEnd(text, start, from) : valueEnd(text, from);
  let value = unquoted(text, { start: from, end: to });
  if (isHeader || word === 'authorization') {
    from = value.start + (SCHEME.exec(text.slice(value.start, value.start + 32))?.[0].length ?? 0);
    value = { start: from, end: value.end };
  }
  if (value.end <= value.start) return undefined;
  // Longer than any harmless value: not worth a copy.
  if (value.end - value.start <= 256 && isHarmlessValue(word, text.slice(value.start, value.end)))
    return undefined;
  return value;
}

const SQL_GAP = /\s{1,8}|\s{0,8}\(\s{0,8}/y;
const LOGIN_CALL = /\(\s{0,8}\\?(["'])[^"'\\]{0,128}\\?\1\s{0,8},\s{0,8}/y;
const BESIDE = /\\?["']?\s{0,8},?\s{0,32}\\?["']?value\\?["']?\s{0,4}[:=]\s{0,4}/iy;

/** The value of a name that no `=` or `:` of its own follows. */
function valueApart(text: string, start: number, end: number, name: string): Range | undefined {
  // `<password>x</password>`
  if (text[start - 1] === '<' && text[end] === '>') {
    const close = text.indexOf('<', end);
    return { start: end + 1, end: close === -1 ? text.length : close };
  }
  // `{"name":"DB_PASSWORD","value":"x"}`
  BESIDE.lastIndex = end;
  if (BESIDE.test(text)) {
    const from = BESIDE.lastIndex;
    const to = isQuote(text, from) ? quotedEnd(text, from) : valueEnd(text, from);
    return unquoted(text, { start: from, end: to });
  }
  // `db.auth("u", "x")`, `db.changeUserPassword("u", "x")`
  LOGIN_CALL.lastIndex = end;
  if (/(?:auth|password)$/i.test(name) && LOGIN_CALL.test(text))
    return sqlStringAt(text, LOGIN_CALL.lastIndex);
  // `ALTER ROLE u WITH PASSWORD 'x'`, `SET PASSWORD = PASSWORD('x')`
  SQL_GAP.lastIndex = end;
  return /^password$/i.test(name) && SQL_GAP.test(text) ? sqlStringAt(text, SQL_GAP.lastIndex) : undefined;
}

const ENCODED_EQUALS = /^%3d$/i;

/** Where the value begins: after `=`, `:` or `=>` (or `,` between quotations) and blanks; undefined when no value follows. */
function afterSeparator(text: string, start: number, end: number, word: string): number | undefined {
  if (ENCODED_EQUALS.test(text.slice(end, end + 3))) return end + 3;
  let at = end;
  const quote = text[start - 1];
  const isQuoted = quote === '"' || quote === "'";
  if (isQuoted && text[at] === '\\' && text[at + 1] === quote) at += 2;
  else if (isQuoted && text[at] === quote) at++;
  // `env["TOKEN"] = "x"`
  if (at > end && text[at] === ']') at++;
  const afterName = at;
  at = skipBlanks(text, at);
  const separator = text[at];
  if (separator === ',' && afterName > end) {
    // `setenv("TOKEN", "x")`, `["app","--password","x"]`
    const value = skipBlanks(text, at + 1);
    return isQuote(text, value) ? value : undefined;
  }
  if (separator !== '=' && separator !== ':') return undefined;
  const hasBlankBefore = at > end && at > afterName;
  at++;
  if (separator === '=' && text[at] === '>') at++;
  const value = skipBlanks(text, at);
  if (separator === '=') {
    // `PASSWORD= command`: empty. `password = value`: not.
    return value > at && !hasBlankBefore && text[at - 1] === '=' && !isQuoted ? undefined : value;
  }
  // `secret://x`, `Token::next`, `registry/auth:1.2`, `auth:1.2` are no key and value.
  if (text[at] === ':' || text.startsWith('//', at)) return undefined;
  if (text[start - 1] === '/' && !isWindowsSwitch(text, start, at)) return undefined;
  return word === 'auth' && value === at && !isQuoted ? undefined : value;
}

/** `/password:x` as Windows' programs have it, and no path (`-v /secrets:/secrets`). */
function isWindowsSwitch(text: string, start: number, value: number): boolean {
  return (start === 1 || /\s/.test(text[start - 2]!)) && text[value] !== '/';
}

function skipBlanks(text: string, from: number): number {
  let at = from;
  while (text[at] === ' ' || text[at] === '\t') at++;
  return at;
}

const NEXT_KEY = /[\s&;,]["']?[\w.-]+["']?\s*[=:]/g;

/** Whether more keys follow (`password=x host=y`), so that the value is not all the rest. */
function goesOn(text: string, from: number): boolean {
  NEXT_KEY.lastIndex = from;
  return NEXT_KEY.test(text);
}

const isWordBreak = characterClass(/[\s;|&()<>`"']/);
const OPERATOR = /(?<=\s)(?:&&|\|\|?)(?=\s)/y;

function isCommandEnd(text: string, at: number): boolean {
  const character = text[at];
  if (character !== '&' && character !== '|') return character === ';' || character === '\n';
  OPERATOR.lastIndex = at;
  return OPERATOR.test(text);
}

/**
 * Secrets that belong to an option or to a program (`--password x`, `mysql -px`), in a text that may be a shell script.
 * Quotes only matter where a value stands, so that a script quoted within a script is read, too.
 */
function secretsOfCommands(text: string): Range[] {
  const ranges: Range[] = [];
  const reader = new CommandReader();
  const pipe = new PipeReader();
  let quote = '';
  let at = 0;
  while (at < text.length) {
    if (isWordBreak(text, at) && !(isQuote(text, at) && reader.awaitsValue)) {
      const character = text[at]!;
      if (character === '"' || character === "'")
        quote = quote === character ? '' : quote === '' ? character : quote;
      if (quote === '' && isCommandEnd(text, at)) reader.next();
      pipe.separator(text, at);
      at++;
      continue;
    }
    const end = wordEnd(text, at, reader.awaitsValue);
    const word = unquoted(text, { start: at, end });
    const content = text.slice(word.start, word.end);
    for (const printed of pipe.word(content, word)) if (isOpen(text, printed)) ranges.push(printed);
    const found = reader.read(content);
    if (found) {
      const range = { start: word.start + found.start, end: word.start + found.end };
      const secret = found.end === content.length ? unquoted(text, range) : range;
      if (isOpen(text, secret)) ranges.push(secret);
    }
    at = end;
    if (ranges.length >= MAX_SECRETS) return [...ranges, { start: at, end: text.length }];
  }
  return ranges;
}

/** A word that is a value or an option goes on in quotes (`-p'a b'`); any other ends at them. */
function wordEnd(text: string, from: number, isValue: boolean): number {
  let end = from;
  const takesQuotes = isValue || text[from] === '-';
  while (end < text.length) {
    if (takesQuotes && isQuote(text, end)) {
      const opens = end === from || !/[\s;|&)\]},"']|^$/.test(text[end + 1] ?? '');
      if (!opens) return end;
      end = quotedEnd(text, end);
    } else if (text[end] === '\\' && end + 1 < text.length && !isQuote(text, end)) end += 2;
    else if (isWordBreak(text, end)) return end;
    else end++;
  }
  return end;
}
