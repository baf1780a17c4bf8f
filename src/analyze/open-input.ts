import { constants, createReadStream } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';

const CHUNK = 1 << 20;
const RECORD_BUFFER = 16 << 10;

/** The bytes of a log file. Of a device like /dev/kmsg, what it holds now. */
export async function* openInput(path: string): AsyncGenerator<Buffer> {
  const isDevice = (await stat(path)).isCharacterDevice();
  yield* isDevice ? readDevice(path) : createReadStream(path, { highWaterMark: CHUNK });
}

/** Ends with the signal, as if the input had ended there. */
export async function* untilAborted(
  input: AsyncIterable<Buffer>,
  signal?: AbortSignal,
): AsyncGenerator<Buffer> {
  const chunks = input[Symbol.asyncIterator]();
  const aborted = new Promise<undefined>((resolve) => {
    if (signal?.aborted) resolve(undefined);
    else signal?.addEventListener('abort', () => resolve(undefined), { once: true });
  });
  for (;;) {
    const next = await Promise.race([chunks.next(), aborted]);
    if (next === undefined) {
      (input as Partial<Readable>).destroy?.();
      return;
    }
    if (next.done) return;
    yield next.value;
  }
}

/** The bytes themselves, or what is packed in them: gzip (RFC 1952) is known by its first two bytes. */
export async function* unpacked(input: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const { first, whole } = await peek(input, atLeast(2));
  if (first[0] !== 0x1f || first[1] !== 0x8b) {
    yield* whole;
    return;
  }
  const gunzip = createGunzip({ chunkSize: CHUNK });
  const feeding = (async () => {
    try {
      for await (const chunk of whole) {
        if (!gunzip.write(chunk)) await new Promise((resume) => gunzip.once('drain', resume));
      }
      gunzip.end();
    } catch (error) {
      gunzip.destroy(error as Error);
    }
  })();
  yield* gunzip as AsyncIterable<Buffer>;
  await feeding;
}

/** Text as UTF-8 without a byte order mark. PowerShell redirects into UTF-16 with one. */
export async function* asUtf8(input: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const { first, whole } = await peek(input, atLeast(3));
  if (first[0] === 0xff && first[1] === 0xfe) {
    const decoder = new TextDecoder('utf-16le');
    for await (const chunk of whole) yield Buffer.from(decoder.decode(chunk, { stream: true }));
    return;
  }
  let skip = first[0] === 0xef && first[1] === 0xbb && first[2] === 0xbf ? 3 : 0;
  for await (const chunk of whole) {
    yield skip === 0 ? chunk : chunk.subarray(skip);
    skip = 0;
  }
}

function atLeast(count: number): (first: Buffer) => boolean {
  return ({ length }) => length >= count;
}

/** The first bytes until they are enough or there are no more; `whole` has them, too. */
export async function peek(
  input: AsyncIterable<Buffer>,
  isEnough: (first: Buffer) => boolean,
): Promise<{ readonly first: Buffer; readonly whole: AsyncIterable<Buffer> }> {
  const chunks = input[Symbol.asyncIterator]();
  let first: Buffer = Buffer.alloc(0);
  while (!isEnough(first)) {
    const next = await chunks.next();
    if (next.done) break;
    first = first.length === 0 ? next.value : Buffer.concat([first, next.value]);
  }
  return { first, whole: replay(first, chunks) };
}

async function* replay(first: Buffer, rest: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
  if (first.length > 0) yield first;
  for (let next = await rest.next(); !next.done; next = await rest.next()) yield next.value;
}

/** One record for each read; EAGAIN says that there are no more yet, EPIPE that the oldest ones are gone. */
async function* readDevice(path: string): AsyncGenerator<Buffer> {
  await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  for (;;) {
    const buffer = Buffer.allocUnsafe(RECORD_BUFFER);
    try {
      const { bytesRead } = await file.read(buffer, 0, RECORD_BUFFER, null);
      if (bytesRead === 0) return;
      yield buffer.subarray(0, bytesRead);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EAGAIN') return;
      if (code !== 'EPIPE') throw error;
    }
  }
}
