/** Half open, in UTF-16 code units. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

/** Of what begins at `from`: the group that `value` ends with, all without `value`. */
export function partOf(text: string, from: number, value?: RegExp): Range | undefined {
  if (value === undefined) return { start: from, end: text.length };
  const match = value.exec(text.slice(from));
  if (match === null) return undefined;
  const end = from + match[0].length;
  return { start: end - match[1]!.length, end };
}

export const MASK = '***';

/** Whether there is something to mask in it. */
export function isOpen(text: string, { start, end }: Range): boolean {
  return end > start && !(end - start === MASK.length && text.startsWith(MASK, start));
}

/** Masks the ranges, which may overlap and come in any order. `count` leaves out what was masked before. */
export function mask(text: string, ranges: readonly Range[]): { text: string; count: number } {
  if (ranges.length === 0) return { text, count: 0 };
  let result = '';
  let done = 0;
  let count = 0;
  for (const { start, end } of merged(ranges)) {
    result += text.slice(done, start) + MASK;
    if (isOpen(text, { start, end })) count++;
    done = end;
  }
  return { text: result + text.slice(done), count };
}

/** Neighbours become one: two masks side by side would look like a secret of six stars. */
function merged(ranges: readonly Range[]): Range[] {
  const result: Range[] = [];
  for (const range of ranges.toSorted((a, b) => a.start - b.start || a.end - b.end)) {
    if (range.end <= range.start) continue;
    const last = result.at(-1);
    if (last && range.start <= last.end)
      result[result.length - 1] = { start: last.start, end: Math.max(last.end, range.end) };
    else result.push(range);
  }
  return result;
}
