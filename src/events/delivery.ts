import type { DeliveryObserver } from '../deliver/observer.ts';
import type { Metrics } from '../metrics.ts';
import type { Voice } from './voice.ts';

/** Of sinks and their couriers. */
export class DeliveryEvents implements DeliveryObserver {
  readonly #voice: Voice;
  readonly #metrics: Metrics;
  /** Sinks whose last attempt failed. */
  readonly #failing = new Set<string>();

  constructor(voice: Voice, metrics: Metrics) {
    this.#voice = voice;
    this.#metrics = metrics;
  }

  opened(sink: string): void {
    this.#voice.say('debug', 'sink opened', { sink });
    this.#voice.forget(`open ${sink} `);
  }

  renewing(sink: string): void {
    this.#voice.say('info', 'its files were replaced, opening the sink anew', { sink });
  }

  openFailed(sink: string, reason: string, delayMs: number): void {
    this.#voice.repeat('warn', `open ${sink} ${reason}`, 'sink cannot be opened, trying again', {
      sink,
      reason,
      wait_ms: delayMs,
    });
  }

  delivered(sink: string, count: number, latencyMs: number): void {
    this.#metrics.deliveries.inc({ sink, outcome: 'delivered' }, count);
    this.#metrics.latency.observe({ sink }, latencyMs / 1000);
    this.#voice.say('debug', 'delivered', { sink, count, latency_ms: Math.round(latencyMs) });
    if (!this.#failing.delete(sink)) return;
    this.#voice.forget(`retry ${sink} `);
    this.#voice.say('info', 'delivering again', { sink });
  }

  retried(sink: string, count: number, reason: string, delayMs: number): void {
    this.#metrics.deliveries.inc({ sink, outcome: 'retried' }, count);
    this.#failing.add(sink);
    this.#voice.repeat('warn', `retry ${sink} ${reason}`, 'not delivered, trying again', {
      sink,
      waiting: count,
      reason,
      wait_ms: delayMs,
    });
  }

  rejected(sink: string, id: string, reason: string): void {
    this.#metrics.deliveries.inc({ sink, outcome: 'rejected' });
    this.#metrics.deadLetters.inc({ sink });
    this.#voice.say('error', 'refused for good', { sink, id, reason });
  }

  deadLetterFailed(sink: string, id: string, reason: string): void {
    this.#metrics.deadLetterFailures.inc({ sink });
    this.#voice.say('error', 'dead letter not written, see the history', { sink, id, reason });
  }

  stumbled(sink: string, reason: string, delayMs: number): void {
    this.#metrics.stumbles.inc({ sink });
    this.#voice.repeat('error', `stumble ${sink} ${reason}`, 'courier failed, going on', {
      sink,
      reason,
      wait_ms: delayMs,
    });
  }
}
