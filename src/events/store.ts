import type { Metrics } from '../metrics.ts';
import type { StoreObserver } from '../store.ts';
import type { Voice } from './voice.ts';

/** Of the store. */
export class StoreEvents implements StoreObserver {
  readonly #voice: Voice;
  readonly #metrics: Metrics;

  constructor(voice: Voice, metrics: Metrics) {
    this.#voice = voice;
    this.#metrics = metrics;
  }

  /** @param onDisk false: it was opened in memory, by intention or because the disk cannot be used */
  storeOpened(onDisk: boolean): void {
    this.#metrics.storeOnDisk.set(Number(onDisk));
  }

  setAside(file: string, reason: string): void {
    this.#metrics.storeSetAside.inc();
    this.#voice.say('error', 'database set aside', { file, reason });
  }

  memoryOnly(reason: string): void {
    this.#metrics.storeOnDisk.set(0);
    this.#voice.repeat('error', `memory ${reason}`, 'store in memory only: it ends with the agent', {
      reason,
    });
  }

  backOnDisk(): void {
    this.#metrics.storeOnDisk.set(1);
    this.#voice.forget('memory ');
    this.#voice.say('info', 'store on disk again');
  }

  notSynced(reason: string): void {
    this.#voice.repeat(
      'warn',
      `sync ${reason}`,
      'store not synced: a power cut may take the newest incidents',
      {
        reason,
      },
    );
  }

  dropped(sink: string, count: number, reason: string): void {
    this.#metrics.deliveries.inc({ sink, outcome: 'dropped' }, count);
    this.#voice.repeat('error', `drop ${sink} ${reason}`, 'deliveries given up', { sink, reason }, count);
  }
}
