import type { LeaseObserver } from '../kubernetes/lease.ts';
import type { Metrics } from '../metrics.ts';
import type { PodsObserver } from '../watch/pods.ts';
import type { Voice } from './voice.ts';

/** Of the API of Kubernetes and the lease. */
export class KubernetesEvents implements PodsObserver, LeaseObserver {
  readonly #voice: Voice;
  readonly #metrics: Metrics;

  constructor(voice: Voice, metrics: Metrics) {
    this.#voice = voice;
    this.#metrics = metrics;
  }

  notConnected(reason: string, cost: string): void {
    this.#voice.say('error', 'no connection to Kubernetes', { reason, cost });
  }

  listed(path: string, objects: number): void {
    this.#metrics.lists.inc();
    this.#voice.forget(`list ${path} `);
    this.#voice.say('info', 'listed', { path, objects });
  }

  listWatchFailed(path: string, reason: string, delayMs: number): void {
    this.#metrics.watchFailures.inc();
    this.#voice.repeat(
      'warn',
      `list ${path} ${reason}`,
      'the API of Kubernetes does not answer, trying again',
      {
        path,
        reason,
        wait_ms: delayMs,
      },
    );
  }

  listWatchOutdated(path: string, reason: string): void {
    this.#metrics.watchFailures.inc();
    this.#voice.repeat(
      'warn',
      `outdated ${path}`,
      'the API of Kubernetes has forgotten what came next, listing again',
      {
        path,
        reason,
      },
    );
  }

  objectSkipped(path: string, reason: string): void {
    this.#metrics.objectsSkipped.inc();
    this.#voice.repeat('error', `object ${path} ${reason}`, 'an object of Kubernetes could not be taken', {
      path,
      reason,
    });
  }

  leaseTaken(): void {
    this.#metrics.leader.set(1);
    this.#voice.say('info', 'the lease is held: delivering');
  }

  leaseLost(reason: string): void {
    this.#metrics.leader.set(0);
    this.#voice.say('warn', 'the lease is lost', { reason });
  }

  leaseHeldBy(holder: string): void {
    if (holder !== '') this.#voice.say('info', 'the lease is held by another: waiting', { holder });
  }

  leaseFailed(reason: string, delayMs: number): void {
    this.#metrics.leaseFailures.inc();
    this.#voice.repeat('warn', `lease ${reason}`, 'the lease could not be read or written', {
      reason,
      wait_ms: delayMs,
    });
  }
}
