import Counter from 'prom-client/lib/counter.js';
import type Registry from 'prom-client/lib/registry.js';
import { UPDATE_TYPES, type UpdateType } from '../watch/oom-restarts.ts';

/** The port and the path of the program. */
export const OOM_EVENT_GENERATOR_PORT = 10_254;

/**
 * The one family of kubernetes-oom-event-generator v1.3.0, all its series there with 0 from the start. One start of a container
 * counts once; that program counts it once for every container of the pod.
 */
export class OomEventGeneratorMetrics {
  readonly #updates: Counter<string>;

  constructor(registry: Registry) {
    this.#updates = new Counter({
      name: 'kubernetes_oom_event_generator_container_updates_processed_total',
      help: 'The total number of processed container updates.',
      labelNames: ['update_type'],
      registers: [registry],
    });
    for (const update_type of UPDATE_TYPES) this.#updates.inc({ update_type }, 0);
  }

  counted(update_type: UpdateType): void {
    this.#updates.inc({ update_type });
  }
}
