import type { Range } from './range.ts';

/** Where values end, in shells, JSON, connection strings, query strings and headers. When in doubt: later. */

/** Whether a quotation mark stands at `at`, be it escaped (`\"`, JSON within a script) or not. */
export function isQuote(text: string, at: number): boolean {
  const character = text[at] === '\\' ? text[at + 1] : text[at];
  return character === '"' || character === "'";
}

/** The place after the quotation that opens at `from`; the end of the text if it never closes (it was cut). */
export function quotedEnd(text: string, from: number): number {
  const isEscaped = text[from] === '\\';
  const mark = isEscaped ? text[from + 1] : text[from];
  for (let at = from + (isEscaped ? 2 : 1); at < text.length; at++) {
    if (text[at] === '\\') {
      if (isEscaped && text[at + 1] === mark) return at + 2;
      // A backslash means itself in single quotes.
      if (mark === '"') at++;
    } else if (text[at] === mark) return at + 1;
  }
  return text.length;
}

/** The place of the bracket that ends the JSON list whose first element is at `from`. */
export function listEnd(text: string, from: number): number {
  let at = from;
  while (at < text.length && text[at] !== ']') at = isQuote(text, at) ? quotedEnd(text, at) : at + 1;
  return at;
}

/** The inside of a range that is one quotation, closed or cut; any other range as it is. */
export function unquoted(text: string, range: Range): Range {
  const { start, end } = range;
  if (!isQuote(text, start) || start >= end) return range;
  const markLength = text[start] === '\\' ? 2 : 1;
  const close = quotedEnd(text, start);
  if (close < end) return range;
  const mark = text.slice(start, start + markLength);
  const isClosed = end - start >= 2 * markLength && text.slice(end - markLength, end) === mark;
  return { start: Math.min(start + markLength, end), end: isClosed ? end - markLength : end };
}

const ENDS_A_VALUE = /[\s,;&|)\]}"'\\]/;
const NEXT_IS_A_KEY = /[,&][ \t]*\\?["']?[\w.-]{1,64}\\?["']?\s{0,8}[=:]/y;

/**
 * The end of the value that begins at `from`. An `&`, a comma, a bracket or a quotation mark in the middle may be a part
 * of a password; it ends the value only where what follows says so.
 */
export function valueEnd(text: string, from: number): number {
  const firstQuotedEnd = isQuote(text, from) ? quotedEnd(text, from) : -1;
  let at = from;
  while (at < text.length) {
    const character = text[at]!;
    if (isQuote(text, at)) {
      const after = at + (character === '\\' ? 2 : 1);
      if (at > from && isEnd(text, after)) return at;
      at = quotedEnd(text, at);
    } else if (character === '\\') at += 2;
    else if (/[\s;`]/.test(character)) return at;
    else if (/[)\]}]/.test(character) && isEnd(text, at + 1)) return at;
    else if (character === '&' && (isEnd(text, at + 1) || isKeyNext(text, at))) return at;
    else if (
      character === ',' &&
      (at === firstQuotedEnd || isBlankOrEnd(text, at + 1) || isKeyNext(text, at))
    )
      return at;
    else at++;
  }
  return Math.min(at, text.length);
}

function isEnd(text: string, at: number): boolean {
  return at >= text.length || ENDS_A_VALUE.test(text[at]!);
}

function isBlankOrEnd(text: string, at: number): boolean {
  return at >= text.length || /\s/.test(text[at]!);
}

function isKeyNext(text: string, at: number): boolean {
  NEXT_IS_A_KEY.lastIndex = at;
  return NEXT_IS_A_KEY.test(text);
}

/** A header's value has spaces and goes to the end of the line, or to the quotation mark that opened before its name. */
export function headerValueEnd(text: string, nameStart: number, from: number): number {
  if (isQuote(text, from)) return quotedEnd(text, from);
  const opening = text[nameStart - 1];
  const ends = opening === '"' || opening === "'" ? opening : `"'`;
  for (let at = from; at < text.length; at++) {
    if (text[at] === '\n' || text[at] === '\r') return at;
    if (ends.includes(text[at]!)) return text[at - 1] === '\\' ? at - 1 : at;
  }
  return text.length;
}
