import { constants } from 'node:fs';
import { appendFile, rename, stat } from 'node:fs/promises';
import type { Incident } from '../incident.ts';
import { jsonLine } from '../json-line.ts';
import { endsInLine } from '../line-file.ts';
import { createPrivately } from '../store/private-file.ts';

export const DEAD_LETTER_FILE = 'dead-letter.jsonl';

const MAX_BYTES = 10 * 1024 ** 2;
/** Opening a pipe that nobody reads fails instead of waiting for a reader. */
const APPENDING = constants.O_WRONLY | constants.O_APPEND | constants.O_NONBLOCK;

export interface DeadLetter {
  readonly sink: string;
  readonly reason: string;
  readonly incident: Incident;
}

/**
 * The incidents that a sink refused for good, one JSON object per line: `time`, `sink`, `reason`, `incident`. Synced before
 * `add` is done, because the queue forgets them then. Over 10 MiB it becomes `.1`, and the `.1` before it goes.
 */
export class DeadLetterFile {
  readonly #path: string;
  readonly #now: () => number;
  readonly #maxBytes: number;
  #last: Promise<void> = Promise.resolve();

  constructor(path: string, now: () => number, maxBytes = MAX_BYTES) {
    this.#path = path;
    this.#now = now;
    this.#maxBytes = maxBytes;
  }

  /** One after the other, whoever calls. @throws the file system's error */
  add(letters: readonly DeadLetter[]): Promise<void> {
    const added = this.#last.then(() => this.#append(letters));
    this.#last = added.catch(() => {});
    return added;
  }

  async #append(letters: readonly DeadLetter[]): Promise<void> {
    const time = new Date(this.#now()).toISOString();
    const lines = letters.map((letter) => jsonLine({ time, ...letter })).join('');
    const size = await sizeOf(this.#path);
    if (size > 0 && size + Buffer.byteLength(lines) > this.#maxBytes)
      await rename(this.#path, `${this.#path}.1`);
    createPrivately(this.#path);
    const start = (await endsInLine(this.#path)) ? '\n' : '';
    await appendFile(this.#path, start + lines, { flush: true, flag: APPENDING });
  }
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0;
    throw error;
  }
}
