import { constants } from 'node:fs';
import { type FileHandle, open as openFile, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import * as v from 'valibot';
import type { Option } from '../src/config/option.ts';
import { encodeEvents } from '../src/event-format.ts';
import { jsonLine } from '../src/json-line.ts';
import { endsInLine } from '../src/line-file.ts';
import { DELIVERED, type Delivery, type Outcome, type Sink, type SinkContext } from '../src/sink.ts';

export interface FileSettings {
  readonly path: string;
}

export const options: readonly Option[] = [
  {
    name: 'file',
    value: 'PATH',
    help: 'append each incident to this file as one line of JSON; reopened on SIGHUP and after rotation',
    schema: v.pipe(v.string(), v.minLength(1, 'must be the path of a file')),
  },
];

export const batchSize = 100;

export function settings(values: Readonly<Record<string, unknown>>): FileSettings | undefined {
  const path = values.file as string | undefined;
  return path === undefined ? undefined : { path: resolve(path) };
}

export async function open({ path }: FileSettings, context: SinkContext): Promise<Sink> {
  return new FileSink(path, context);
}

const { O_APPEND, O_CREAT, O_NONBLOCK, O_WRONLY } = constants;
/** Command lines are not for everybody. */
const MODE = 0o640;

class FileSink implements Sink {
  readonly #path: string;
  readonly #context: SinkContext;
  readonly #stopListening: () => void;
  #file: OpenFile | undefined;
  /** Writing and reopening take turns. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(path: string, context: SinkContext) {
    this.#path = path;
    this.#context = context;
    this.#stopListening = context.onReopen(() => {
      this.#inTurn(() => this.#reopen()).catch((error) =>
        context.log('warn', `cannot reopen ${path}: ${error.message}`),
      );
    });
  }

  async deliver(batch: readonly Delivery[], signal: AbortSignal): Promise<readonly Outcome[]> {
    const outcome = await this.#inTurn(async () => {
      signal.throwIfAborted();
      await this.#append(batch);
      return DELIVERED;
    }).catch((error): Outcome => ({ kind: 'retry', reason: error.message }));
    return batch.map(() => outcome);
  }

  async close(): Promise<void> {
    this.#stopListening();
    await this.#inTurn(() => this.#closeFile());
  }

  async #append(batch: readonly Delivery[]): Promise<void> {
    const { eventFormat, kernelVersionLine } = this.#context;
    const lines = batch
      .flatMap(({ incident }) => encodeEvents(incident, eventFormat, kernelVersionLine))
      .map(({ body }) => jsonLine(body));
    if (this.#file && !(await isStillAt(this.#path, this.#file))) await this.#closeFile();
    if (!this.#file) await this.#reopen();
    const file = this.#file!;
    try {
      await file.handle.appendFile(`${file.endsInLine ? '\n' : ''}${lines.join('')}`);
      file.endsInLine = false;
      if (file.isRegular) await file.handle.sync();
    } catch (error) {
      // A part of a line may have been written: opening it again looks for that.
      await this.#closeFile().catch(() => {});
      throw error;
    }
  }

  async #reopen(): Promise<void> {
    await this.#closeFile();
    this.#file = await openForAppending(this.#path);
  }

  async #closeFile(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.handle.close();
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => {});
    return result;
  }
}

interface OpenFile {
  readonly handle: FileHandle;
  readonly device: number;
  readonly inode: number;
  readonly isRegular: boolean;
  endsInLine: boolean;
}

async function openForAppending(path: string): Promise<OpenFile> {
  // A pipe that nobody reads must fail: it must not hold a thread for good, nor take what goes when it is closed (O_RDWR).
  const handle = await openFile(path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK, MODE);
  try {
    const stats = await handle.stat();
    const isRegular = stats.isFile();
    return {
      handle,
      device: stats.dev,
      inode: stats.ino,
      isRegular,
      endsInLine: isRegular && (await endsInLine(path)),
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** Not after somebody renamed or removed it (log rotation). */
async function isStillAt(path: string, file: OpenFile): Promise<boolean> {
  const now = await stat(path).catch(() => undefined);
  return now?.ino === file.inode && now.dev === file.device;
}
