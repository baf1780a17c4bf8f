import { characterClass } from './characters.ts';
import type { Range } from './range.ts';
import { isQuote, quotedEnd } from './value.ts';

/**
 * Secrets that are recognised by their own looks, wherever they stand: tokens of well-known services, private key
 * blocks, credentials in URLs. Each function is given the place of an anchor (a literal that every such secret
 * contains) and answers in time proportional to what it reads; what it reads is not read again.
 */

const isBlank = characterClass(/\s/);

/** Given the place of its literal, and where that ends. */
type ShapeReader = (text: string, at: number, end: number) => Range | undefined;

/**
 * What tokens begin with -> how they go on. Sources: each service's own documentation. A beginning ends before a secret's
 * name (`key`, `secret`) does, which would be found first.
 */
const TOKENS: readonly (readonly [beginnings: string, rest: RegExp])[] = [
  ['AKIA ASIA', /[A-Z0-9]{16}(?![A-Za-z0-9])/y],
  ['gho_ ghp_ ghr_ ghs_ ghu_', /[A-Za-z0-9]{20,255}/y],
  ['github_pat_', /[A-Za-z0-9_]{20,255}/y],
  ['xoxa- xoxb- xoxe- xoxo- xoxp- xoxr- xoxs-', /[A-Za-z0-9-]{10,255}/y],
  ['xapp-', /\d-[A-Za-z0-9-]{10,255}/y],
  ['sk_live_ sk_test_ rk_live_ rk_test_', /[A-Za-z0-9]{10,255}/y],
  ['sk-', /(?:admin|ant|or|proj|svcacct)-[\w-]{20,255}|[A-Za-z0-9]{32,255}/y],
  ['AIza', /[\w-]{35}/y],
  ['glpat- glrt- gldt- glcbt- glptt- glft- glsoat- glagent- gloas-', /[\w-]{15,255}/y],
  ['glsa_ glc_', /[\w+/=-]{20,255}/y],
  ['npm_ hf_', /[A-Za-z0-9]{30,255}/y],
  ['hvs. hvb.', /[\w-]{20,255}/y],
  ['SG.', /[\w-]{10,64}\.[\w-]{10,128}/y],
  ['whsec_', /[A-Za-z0-9+/]{10,255}={0,2}/y],
  ['dop_v1_', /[a-f0-9]{64}/y],
  ['dckr_pat_ dckr_oat_ pypi-AgE GOCSPX- ya29.', /[\w-]{20,255}/y],
  ['tske', /y-[a-z]{2,16}-[\w-]{10,255}/y],
  ['shpat_ shpca_ shppa_ shpss_', /[a-fA-F0-9]{32}/y],
  ['ATATT3', /[\w=-]{50,255}/y],
  ['AGE-SE', /CRET-KEY-1[A-Z0-9]{58}/y],
  ['eyJ', /[\w-]{5,}\.[\w-]{5,}\.[\w-]*(?:\.[\w-]*)*/y],
];

function tokenReader(beginning: string, rest: RegExp): ShapeReader {
  return (text, at, end) => {
    rest.lastIndex = end;
    return text.startsWith(beginning, at) && rest.test(text) ? { start: at, end: rest.lastIndex } : undefined;
  };
}

/** Addresses whose path lets everybody post: what the group matches, with which the match ends, is the secret. */
const WEBHOOKS: readonly (readonly [beginning: string, rest: RegExp])[] = [
  ['hooks.slack.com/', /(?:services|workflows|triggers)\/([\w/-]+)/iy],
  ['/api/webhooks/', /\d{1,32}\/([\w-]+)/iy],
  ['api.telegram.org/bot', /\d{1,32}:([\w-]+)/iy],
  ['webhook.office.com/', /webhookb2\/([\w/@-]+)/iy],
];

function webhookReader(rest: RegExp): ShapeReader {
  return (text, _at, end) => {
    rest.lastIndex = end;
    const secret = rest.exec(text)?.[1];
    return secret === undefined ? undefined : { start: rest.lastIndex - secret.length, end: rest.lastIndex };
  };
}

const SQL_IDENTIFIED =
  /identified\s{1,8}(?:with\s{1,8}["'`]?\w{1,64}["'`]?\s{1,8})?(?:by|as)\s{1,8}(?:password\s{1,8})?/iy;

/** `at`: the place of `IDENTIFIED` in `ALTER USER u IDENTIFIED BY 'password'`. */
function sqlPasswordAt(text: string, at: number): Range | undefined {
  SQL_IDENTIFIED.lastIndex = at;
  return SQL_IDENTIFIED.test(text) ? sqlStringAt(text, SQL_IDENTIFIED.lastIndex) : undefined;
}

/** The inside of a string of SQL, in which a doubled quotation mark means itself. */
export function sqlStringAt(text: string, at: number): Range | undefined {
  if (!isQuote(text, at)) return undefined;
  const mark = text.slice(at, text[at] === '\\' ? at + 2 : at + 1);
  let end = quotedEnd(text, at);
  while (text.startsWith(mark, end)) end = quotedEnd(text, end);
  const start = at + mark.length;
  return { start, end: text.endsWith(mark, end) ? Math.max(start, end - mark.length) : end };
}

const KEY_BLOCK = '-----BEGIN';
const KEY_BEGIN = /-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----/y;
const KEY_END = '-----END';

/** `at`: the place of `-----BEGIN`. A block without its end (the command line was cut) goes to the end of the text. */
function privateKeyAt(text: string, at: number): Range | undefined {
  KEY_BEGIN.lastIndex = at;
  if (!KEY_BEGIN.test(text)) return undefined;
  const end = text.indexOf(KEY_END, KEY_BEGIN.lastIndex);
  if (end === -1) return { start: at, end: text.length };
  const dashes = text.slice(end + KEY_END.length, end + KEY_END.length + 64).indexOf('-----');
  return { start: at, end: end + KEY_END.length + (dashes === -1 ? 0 : dashes + 5) };
}

export function privateKeys(text: string): Range[] {
  const ranges: Range[] = [];
  for (let at = text.indexOf(KEY_BLOCK); at !== -1; ) {
    const found = privateKeyAt(text, at);
    if (found) ranges.push(found);
    at = text.indexOf(KEY_BLOCK, found?.end ?? at + KEY_BLOCK.length);
  }
  return ranges;
}

const AUTHORITY = /[^/?#\s"'`<>]*/y;
/** RFC 3986 wants `/ ? #` in a password percent-encoded; people forget it. Not beyond the next URL, which is read by itself. */
const LOOSE_USER_INFO = /(?:(?!:\/\/)[^\s"'`<>@]){0,256}@/y;
const LONG_USER = /^(?=[^\d]*\d)[\w-]{24,}$/;

/** `at`: the place of `://`. The password is the secret; a user alone is one if it looks like a token. */
function urlPasswordAt(text: string, at: number): Range | undefined {
  const start = at + 3;
  AUTHORITY.lastIndex = start;
  const authority = AUTHORITY.exec(text)![0];
  let end = start + authority.lastIndexOf('@');
  const colon = authority.indexOf(':');
  if (end < start) {
    if (colon === -1 || /^\d*$/.test(authority.slice(colon + 1))) return undefined;
    LOOSE_USER_INFO.lastIndex = start;
    if (!LOOSE_USER_INFO.test(text)) return undefined;
    end = LOOSE_USER_INFO.lastIndex - 1;
  }
  if (colon !== -1 && start + colon < end) return { start: start + colon + 1, end };
  return LONG_USER.test(text.slice(start, end)) ? { start, end } : undefined;
}

const ORACLE_THIN = /:thin:[^/\s@:]{1,128}\/([^\s@]{1,256})@/iy;

/** `at`: the place of `:thin:` in `jdbc:oracle:thin:user/password@host`. */
function oraclePasswordAt(text: string, at: number): Range | undefined {
  ORACLE_THIN.lastIndex = at;
  const password = ORACLE_THIN.exec(text)?.[1];
  if (password === undefined) return undefined;
  const end = ORACLE_THIN.lastIndex - 1;
  return { start: end - password.length, end };
}

const DSN_WINDOW = 256;
const DSN_PLACES = ['@tcp(', '@tcp6(', '@unix(', '@cloudsql(', '@(', '@/'];
/** The user begins the word or follows what may stand before a value; the password is all after its colon. */
const DSN_LOGIN = /(?:^|["'`=(,{[])[^"'`=(,{[:]+:(.+)$/s;

/**
 * `at`: the place of the last `@` in `user:password@tcp(host:3306)/name`, the form of Go's MySQL driver
 * (https://github.com/go-sql-driver/mysql#dsn-data-source-name). Reads a bounded piece before it, and not what was read
 * for the one before.
 */
function dsnPasswordAt(text: string, at: number): Range | undefined {
  let start = at;
  while (start > 0 && at - start < DSN_WINDOW && !isBlank(text, start - 1)) {
    start--;
    if (text[start] === '@' && DSN_PLACES.some((place) => text.startsWith(place, start))) break;
  }
  const word = text.slice(start, at);
  // A URL's password is found at its `://`.
  if (word.includes('://')) return undefined;
  const password = DSN_LOGIN.exec(word)?.[1];
  if (password === undefined || (text[at + 1] === '/' && password.includes('/'))) return undefined;
  return { start: at - password.length, end: at };
}

/** As much of credentials as tells that they are, and all of them. */
const BASE64_BEGINNING = /[\w+/-]{4,256}/y;
const BASE64 = /[\w+/-]*={0,2}/y;
const BASIC_GAP = /[ \t]+|%20|\+/y;

/** `at`: the place of `Basic` in `Basic dTpw` (RFC 7617). */
export function basicCredentialsAt(text: string, _at: number, end: number): Range | undefined {
  BASIC_GAP.lastIndex = end;
  if (!BASIC_GAP.test(text)) return undefined;
  const start = BASIC_GAP.lastIndex;
  const credentialsEnd = basicCredentialsEnd(text, start);
  return credentialsEnd === undefined ? undefined : { start, end: credentialsEnd };
}

/** Credentials say `user:password` once decoded; the word after `Basic` in a sentence does not. */
export function basicCredentialsEnd(text: string, from: number): number | undefined {
  BASE64_BEGINNING.lastIndex = from;
  const beginning = BASE64_BEGINNING.exec(text)?.[0];
  if (beginning === undefined) return undefined;
  const login = Buffer.from(beginning, 'base64');
  if (!login.includes(':') || login.some((byte) => byte < 0x20 || byte === 0x7f)) return undefined;
  BASE64.lastIndex = from;
  BASE64.test(text);
  return BASE64.lastIndex;
}

/** What begins a secret and a word. */
export const TOKEN_READERS: readonly (readonly [literal: string, reader: ShapeReader])[] = TOKENS.flatMap(
  ([beginnings, rest]) =>
    beginnings.split(' ').map((beginning) => [beginning, tokenReader(beginning, rest)] as const),
);
/** What stands before, in or after a secret, anywhere in a word. */
export const PLACE_READERS: readonly (readonly [literal: string, reader: ShapeReader])[] = [
  ['://', urlPasswordAt],
  [KEY_BLOCK, privateKeyAt],
  ['identified', sqlPasswordAt],
  [':thin:', oraclePasswordAt],
  ...DSN_PLACES.map((place) => [place, dsnPasswordAt] as const),
  ...WEBHOOKS.map(([beginning, rest]) => [beginning, webhookReader(rest)] as const),
];
