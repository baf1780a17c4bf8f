/** Numbers and names in the kernel's text: what is too large to be exact, or out of its range, is absent. */

/** 15 bytes in the kernel; four times that when each stays visible as `\xNN`. */
export const LONGEST_NAME = 60;
const LONGEST_PATH = 4096;

export function integer(text: string | undefined): number | undefined {
  if (text === undefined || !/^-?\d{1,16}$/.test(text)) return undefined;
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : undefined;
}

/** @returns bytes */
export function kiB(text: string | undefined): number | undefined {
  const value = integer(text);
  const bytes = value === undefined ? -1 : value * 1024;
  return bytes >= 0 && Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** Linux gives no process a number above 2^22; this leaves room and keeps it an int. */
export function pidOf(text: string | undefined): number | undefined {
  const value = integer(text);
  return value !== undefined && value >= 0 && value < 2 ** 31 ? value : undefined;
}

/** An oom_score_adj. */
export function score(text: string | undefined): number | undefined {
  const value = integer(text);
  return value !== undefined && value >= -1000 && value <= 1000 ? value : undefined;
}

/** Whether the kernel has no room for such a name of a process: it is something else. */
export function isTooLong(name: string): boolean {
  return name.replace(/\\x[0-9a-f]{2}/g, '.').length > 15;
}

export function boundedName(text: string | undefined): string {
  return (text ?? '').slice(0, LONGEST_NAME);
}

export function boundedPath(text: string | undefined): string {
  return (text ?? '').slice(0, LONGEST_PATH);
}
