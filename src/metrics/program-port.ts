import type { Replaced } from '../config/replaced.ts';
import type { PartStatus } from '../part-status.ts';
import type { Listener } from '../server/listener.ts';
import type { MetricsPortOptions } from '../server/metrics-port.ts';

export interface ProgramPortObserver {
  /** The metrics of the program answer where it did. */
  replacing(program: string, url: string): void;
  notListening(reason: string): void;
}

export const RETRY_MS = 1_000;

/**
 * Where a replaced program answered. As long as the address cannot be had it is tried again: most likely that program still runs, and
 * who stops it a minute later expects nothing else to be needed.
 */
export class ProgramPort {
  readonly #program: string;
  readonly #open: () => Promise<Listener>;
  readonly #observer: ProgramPortObserver;
  #listener: Listener | undefined;
  #problem: string | undefined;
  #retry: NodeJS.Timeout | undefined;
  #opening: Promise<void> | undefined;
  #isClosed = false;

  constructor(
    { program, listen, listenOption: option }: Replaced,
    answers: Pick<MetricsPortOptions, 'contentType' | 'scrape' | 'failed'>,
    open: (options: MetricsPortOptions) => Promise<Listener>,
    observer: ProgramPortObserver,
  ) {
    this.#program = program.name;
    this.#open = () => open({ listen, option, path: program.path, ...answers });
    this.#observer = observer;
  }

  /** Resolves after the first try. */
  open(): Promise<void> {
    this.#opening = this.#try();
    return this.#opening;
  }

  /** For /readyz and the page. */
  get part(): PartStatus {
    return {
      name: `metrics in place of ${this.#program}`,
      works: this.#problem === undefined,
      ...(this.#problem !== undefined && {
        problem: this.#problem,
        cost: 'who scrapes them gets no answer of this agent',
      }),
    };
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#retry);
    await this.#opening;
    await this.#listener?.close();
  }

  async #try(): Promise<void> {
    try {
      this.#listener = await this.#open();
      this.#problem = undefined;
      this.#observer.replacing(this.#program, this.#listener.url);
    } catch (error) {
      const { message } = error as Error;
      if (message !== this.#problem) this.#observer.notListening(message);
      this.#problem = message;
      if (!this.#isClosed) this.#retry = setTimeout(() => void this.open(), RETRY_MS).unref();
    }
  }
}
