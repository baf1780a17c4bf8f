import { constants } from 'node:fs';
import { open } from 'node:fs/promises';

const NEWLINE = 10;

/**
 * Whether a file of lines ends within one, as a crash or a full disk leaves it: what is appended must begin on a line of its own.
 *
 * @throws the file system's error; a file that is no regular one never does
 */
export async function endsInLine(path: string): Promise<boolean> {
  // A pipe is not waited for.
  await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const stats = await file.stat();
  if (!stats.isFile() || stats.size === 0) return false;
  const last = Buffer.alloc(1, NEWLINE);
  await file.read(last, 0, 1, stats.size - 1);
  return last[0] !== NEWLINE;
}
