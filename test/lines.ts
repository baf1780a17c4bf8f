import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';

/** The lines of a text as Node.js' own reader sees them, for which U+2028 and U+2029 end one, too. */
export async function readlineLines(text: string): Promise<string[]> {
  return Array.fromAsync(createInterface({ input: Readable.from([text]) }));
}
