import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { addAbortSignal } from 'node:stream';
import { getSystemErrorMap } from 'node:util';
import { net } from '../net/lazy-builtins.ts';

/** Far more than a configuration or a key needs; the wrong path may name a device without an end. */
const MAX_BYTES = 1024 * 1024;

const NEVER = new AbortController().signal;

/**
 * The whole text of a file that people write. A pipe (`<(…)` of a shell, a FIFO) is read to its end.
 *
 * @param signal ends the wait for those who write to a pipe, who may never come
 * @throws Error that says in a few words why it cannot be read
 */
export async function readSmallFile(path: string, signal = NEVER): Promise<string> {
  const bytes = await readBytes(path, signal);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new Error('it is not UTF-8 text');
  }
}

async function readBytes(path: string, signal: AbortSignal): Promise<Buffer> {
  let file: number | undefined;
  try {
    // Without O_NONBLOCK the whole process stands still until somebody opens the pipe's other end, deaf to signals.
    file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    if (!fstatSync(file).isFIFO()) return readFile(file);
    const pipe = file;
    file = undefined; // the socket's from here on
    return await readPipe(pipe, signal);
  } catch (error) {
    const errno = (error as NodeJS.ErrnoException).errno;
    throw errno === undefined ? error : new Error(getSystemErrorMap().get(errno)?.[1] ?? String(error));
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

function readFile(file: number): Buffer {
  const buffer = Buffer.alloc(MAX_BYTES + 1);
  let length = 0;
  for (let read = -1; read !== 0 && length < buffer.length; length += read)
    read = readSync(file, buffer, length, buffer.length - length, null);
  return bounded(buffer.subarray(0, length));
}

async function readPipe(file: number, signal: AbortSignal): Promise<Buffer> {
  const pipe = addAbortSignal(signal, new (net().Socket)({ fd: file, readable: true, writable: false }));
  let content: Buffer = Buffer.alloc(0);
  try {
    for await (const chunk of pipe) content = bounded(Buffer.concat([content, chunk]));
  } catch (error) {
    throw signal.aborted
      ? new Error(`it is a pipe, and its end had not come before ${signal.reason}`)
      : error;
  }
  return content;
}

function bounded(content: Buffer): Buffer {
  if (content.length > MAX_BYTES) throw new Error(`it is larger than ${MAX_BYTES} bytes`);
  return content;
}
