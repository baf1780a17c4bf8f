import * as v from 'valibot';
import type { Option } from '../src/config/option.ts';
import { encodeEvents } from '../src/event-format.ts';
import { jsonLine } from '../src/json-line.ts';
import { styleOf, terminalBlock } from '../src/message/terminal.ts';
import { DELIVERED, type Delivery, type Outcome, type Sink, type SinkContext } from '../src/sink.ts';

const MODES = ['text', 'json', 'off'] as const;

export interface StdoutSettings {
  /** Undefined: text on a terminal, JSON otherwise. */
  readonly mode?: 'text' | 'json';
}

export const options: readonly Option[] = [
  {
    name: 'stdout',
    value: MODES.join('|'),
    help: 'how incidents are printed; text on a terminal and json otherwise unless set',
    schema: v.picklist(MODES, `must be one of ${MODES.join(', ')}`),
  },
];

export const batchSize = 100;

export function settings(values: Readonly<Record<string, unknown>>): StdoutSettings | undefined {
  const mode = values.stdout as (typeof MODES)[number] | undefined;
  return mode === 'off' ? undefined : { mode };
}

export async function open({ mode }: StdoutSettings, context: SinkContext): Promise<Sink> {
  return new StdoutSink(mode ?? (context.stdout.isTTY ? 'text' : 'json'), context);
}

class StdoutSink implements Sink {
  readonly #mode: 'text' | 'json';
  readonly #context: SinkContext;
  /** The write that the reader has not taken yet: at most one, so that a stopped reader costs one batch of memory. */
  #pending: Promise<void> = Promise.resolve();
  /** A closed pipe is an outcome of the write; the stream's event about it must not end the process. */
  readonly #ignore = () => {};

  constructor(mode: 'text' | 'json', context: SinkContext) {
    this.#mode = mode;
    this.#context = context;
    context.stdout.on('error', this.#ignore);
  }

  async deliver(batch: readonly Delivery[], signal: AbortSignal): Promise<readonly Outcome[]> {
    const outcome = await this.#write(batch, signal).then(
      () => DELIVERED,
      (error): Outcome => ({ kind: 'retry', reason: `stdout: ${error.message}` }),
    );
    return batch.map(() => outcome);
  }

  async close(): Promise<void> {
    this.#context.stdout.off('error', this.#ignore);
  }

  async #write(batch: readonly Delivery[], signal: AbortSignal): Promise<void> {
    await orAborted(this.#pending.catch(this.#ignore), signal);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#pending = promise;
    const text = batch.map((delivery) => this.#render(delivery)).join('');
    this.#context.stdout.write(text, (error) => (error ? reject(error) : resolve()));
    await orAborted(promise, signal);
  }

  #render(delivery: Delivery): string {
    const { stdout, eventFormat, kernelVersionLine, now } = this.#context;
    if (this.#mode === 'text')
      return terminalBlock(delivery.incident, delivery.recurrence, styleOf(stdout, now()));
    return encodeEvents(delivery.incident, eventFormat, kernelVersionLine)
      .map(({ body }) => jsonLine(body))
      .join('');
  }
}

function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const abort = () => reject(new Error('nobody reads it'));
  if (signal.aborted) abort();
  signal.addEventListener('abort', abort);
  return Promise.race([promise, aborted]).finally(() => signal.removeEventListener('abort', abort));
}
