/** Delete, the C1 controls (some terminals obey them), and what JSON leaves as it is but ends a line for some readers. */
const UNSEEN = /[\u007f-\u009f\u2028\u2029]/g;

/** One value and its line feed: one line for every reader, Python's `splitlines` and Node.js' `readline` too. */
export function jsonLine(value: unknown): string {
  return `${JSON.stringify(value).replace(UNSEEN, escaped)}\n`;
}

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
