import type { Range } from './range.ts';
import { isQuote, quotedEnd } from './value.ts';

/**
 * Secrets that are recognised by their own looks, wherever they stand: tokens of well-known services, private key
 * blocks, credentials in URLs. Each function is given the place of an anchor (a literal that every such secret
 * contains) and answers in time proportional to what it reads; what it reads is not read again.
 */

/** The literal that a token begins with -> the whole token. Sources: each service's own documentation. */
const TOKENS: readonly RegExp[] = [
  /(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])/y,
  /gh[opusr]_[A-Za-z0-9]{20,255}/y,
  /github_pat_[A-Za-z0-9_]{20,255}/y,
  /xox[abeoprs]-[A-Za-z0-9-]{10,255}/y,
  /xapp-\d-[A-Za-z0-9-]{10,255}/y,
  /(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{10,255}/y,
  /sk-(?:(?:admin|ant|or|proj|svcacct)-[\w-]{20,255}|[A-Za-z0-9]{32,255})/y,
  /AIza[\w-]{35}/y,
  /gl(?:pat|rt|dt|cbt|ptt|ft|soat|agent|oas)-[\w-]{15,255}/y,
  /gl(?:sa|c)_[\w+/=-]{20,255}/y,
  /npm_[A-Za-z0-9]{30,255}/y,
  /hf_[A-Za-z0-9]{30,255}/y,
  /hv[sb]\.[\w-]{20,255}/y,
  /SG\.[\w-]{10,64}\.[\w-]{10,128}/y,
  /whsec_[A-Za-z0-9+/]{10,255}={0,2}/y,
  /dop_v1_[a-f0-9]{64}/y,
  /dckr_[po]at_[\w-]{20,255}/y,
  /pypi-AgE[\w-]{20,255}/y,
  /GOCSPX-[\w-]{20,255}/y,
  /ya29\.[\w-]{20,255}/y,
  /tskey-[a-z]{2,16}-[\w-]{10,255}/y,
  /shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}/y,
  /ATATT3[\w=-]{50,255}/y,
  /AGE-SECRET-KEY-1[A-Z0-9]{58}/y,
  /eyJ[\w-]{5,}\.[\w-]{5,}\.[\w-]*(?:\.[\w-]*)*/y,
];

export const TOKEN_ANCHORS =
  'AKIA|ASIA|gh[opusr]_|github_pat_|xox[abeoprs]-|xapp-|[sr]k_live_|sk_test_|sk-(?<!\\w...)|AIza|gl(?:pat|rt|dt|cbt|ptt|ft|soat|agent|oas)-|gl(?:sa|c)_|npm_|hf_|hv[sb]\\.|dop_v1_|dckr_|pypi-|GOCSPX-|ya29\\.|tskey-|shp(?:at|ca|pa|ss)_|ATATT3|AGE-SECRET-KEY-|SG\\.(?<!\\w...)|whsec_|eyJ';

export function tokenAt(text: string, at: number): Range | undefined {
  if (at > 0 && /[\w-]/.test(text[at - 1]!)) return undefined;
  for (const token of TOKENS) {
    token.lastIndex = at;
    if (token.test(text)) return { start: at, end: token.lastIndex };
  }
  return undefined;
}

/** Addresses whose path lets everybody post: what its first group matches is the secret. */
const WEBHOOKS: readonly RegExp[] = [
  /hooks\.slack\.com\/(?:services|workflows|triggers)\/([\w/-]+)/iy,
  /\/api\/webhooks\/\d{1,32}\/([\w-]+)/iy,
  /api\.telegram\.org\/bot\d{1,32}:([\w-]+)/iy,
  /webhook\.office\.com\/webhookb2\/([\w/@-]+)/iy,
];

export const WEBHOOK_ANCHORS =
  'hooks\\.slack\\.com/|/api/webhooks/|api\\.telegram\\.org/bot|webhook\\.office\\.com/';

export function webhookAt(text: string, at: number): Range | undefined {
  for (const webhook of WEBHOOKS) {
    webhook.lastIndex = at;
    const secret = webhook.exec(text)?.[1];
    if (secret !== undefined) return { start: webhook.lastIndex - secret.length, end: webhook.lastIndex };
  }
  return undefined;
}

const SQL_IDENTIFIED =
  /identified\s{1,8}(?:with\s{1,8}["'`]?\w{1,64}["'`]?\s{1,8})?(?:by|as)\s{1,8}(?:password\s{1,8})?/iy;

/** `at`: the place of `IDENTIFIED` in `ALTER USER u IDENTIFIED BY 'password'`. */
export function sqlPasswordAt(text: string, at: number): Range | undefined {
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

const KEY_BEGIN = /-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----/y;
const KEY_END = '-----END';

/** `at`: the place of `-----BEGIN`. A block without its end (the command line was cut) goes to the end of the text. */
export function privateKeyAt(text: string, at: number): Range | undefined {
  KEY_BEGIN.lastIndex = at;
  if (!KEY_BEGIN.test(text)) return undefined;
  const end = text.indexOf(KEY_END, KEY_BEGIN.lastIndex);
  if (end === -1) return { start: at, end: text.length };
  const dashes = text.slice(end + KEY_END.length, end + KEY_END.length + 64).indexOf('-----');
  return { start: at, end: end + KEY_END.length + (dashes === -1 ? 0 : dashes + 5) };
}

const AUTHORITY = /[^/?#\s"'`<>]*/y;
/** RFC 3986 wants `/ ? #` in a password percent-encoded; people forget it. */
const LOOSE_USER_INFO = /[^\s"'`<>@]{0,256}@/y;
const LONG_USER = /^(?=[^\d]*\d)[\w-]{24,}$/;

/** `at`: the place of `://`. The password is the secret; a user alone is one if it looks like a token. */
export function urlPasswordAt(text: string, at: number): Range | undefined {
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
export function oraclePasswordAt(text: string, at: number): Range | undefined {
  ORACLE_THIN.lastIndex = at;
  const password = ORACLE_THIN.exec(text)?.[1];
  if (password === undefined) return undefined;
  const end = ORACLE_THIN.lastIndex - 1;
  return { start: end - password.length, end };
}

const DSN_WINDOW = 256;
/** The user begins the word or follows what may stand before a value; the password is all after its colon. */
const DSN_LOGIN = /(?:^|["'`=(,{[])[^"'`=(,{[:]+:(.+)$/s;

/**
 * `at`: the place of the last `@` in `user:password@tcp(host:3306)/name`, the form of Go's MySQL driver
 * (https://github.com/go-sql-driver/mysql#dsn-data-source-name). Reads a bounded piece before it.
 */
export function dsnPasswordAt(text: string, at: number): Range | undefined {
  let start = at;
  while (start > 0 && at - start < DSN_WINDOW && !/\s/.test(text[start - 1]!)) start--;
  const word = text.slice(start, at);
  // A URL's password is found at its `://`.
  if (word.includes('://')) return undefined;
  const password = DSN_LOGIN.exec(word)?.[1];
  if (password === undefined || (text[at + 1] === '/' && password.includes('/'))) return undefined;
  return { start: at - password.length, end: at };
}

const BASE64 = /[\w+/-]{4,}={0,2}/y;
const BASIC_GAP = /[ \t]+|%20|\+/y;

/** `at`: the place of `Basic` in `Basic dTpw` (RFC 7617). */
export function basicCredentialsAt(text: string, at: number): Range | undefined {
  BASIC_GAP.lastIndex = at + 'basic'.length;
  if (!BASIC_GAP.test(text)) return undefined;
  const start = BASIC_GAP.lastIndex;
  const end = basicCredentialsEnd(text, start);
  return end === undefined ? undefined : { start, end };
}

/** Credentials say `user:password` once decoded; the word after `Basic` in a sentence does not. */
export function basicCredentialsEnd(text: string, from: number): number | undefined {
  BASE64.lastIndex = from;
  if (!BASE64.test(text)) return undefined;
  const end = BASE64.lastIndex;
  const login = Buffer.from(text.slice(from, Math.min(end, from + 1024)), 'base64');
  const isText = login.every((byte) => byte >= 0x20 && byte !== 0x7f);
  return isText && login.includes(':') ? end : undefined;
}
