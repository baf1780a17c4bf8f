/** Delete, the C1 controls (some terminals obey them), and what JSON leaves as it is but ends a line for some readers. */
const UNSEEN = /[\u007f-\u009f\u2028\u2029]/g;

/** One value and its line feed: one line for every reader, Python's `splitlines` and Node.js' `readline` too. */
export function jsonLine(value: unknown): string {
  return `${visibleJson(JSON.stringify(value))}\n`;
}

/** The same JSON, for every reader and terminal. */
export function visibleJson(json: string): string {
  return json.replace(UNSEEN, escaped);
}

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
