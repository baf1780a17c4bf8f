import { closeSync, openSync, readSync } from 'node:fs';
import { getSystemErrorMap } from 'node:util';

/** Far more than a configuration or a key needs; the wrong path may name a device without an end. */
const MAX_BYTES = 1024 * 1024;

/**
 * The whole text of a file that people write.
 *
 * @throws Error that says in a few words why it cannot be read
 */
export function readSmallFile(path: string): string {
  const bytes = readBytes(path);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new Error('it is not UTF-8 text');
  }
}

function readBytes(path: string): Buffer {
  let file: number | undefined;
  try {
    file = openSync(path, 'r');
    const buffer = Buffer.alloc(MAX_BYTES + 1);
    let length = 0;
    // A pipe gives its content in parts.
    for (let read = -1; read !== 0 && length < buffer.length; length += read)
      read = readSync(file, buffer, length, buffer.length - length, null);
    if (length > MAX_BYTES) throw new Error(`it is larger than ${MAX_BYTES} bytes`);
    return buffer.subarray(0, length);
  } catch (error) {
    const errno = (error as NodeJS.ErrnoException).errno;
    throw errno === undefined ? error : new Error(getSystemErrorMap().get(errno)?.[1] ?? String(error));
  } finally {
    if (file !== undefined) closeSync(file);
  }
}
