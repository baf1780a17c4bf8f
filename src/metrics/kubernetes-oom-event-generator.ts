import Counter from 'prom-client/lib/counter.js';
import Registry from 'prom-client/lib/registry.js';
import type { FamilySources, MetricFamily } from './family.ts';

/**
 * The one metric of kubernetes-oom-event-generator, all its series there with 0 from the start. One start of a container counts
 * once; there it counts once for every container of the pod.
 */
export function openFamily({ containerUpdates }: Pick<FamilySources, 'containerUpdates'>): MetricFamily {
  const registry = new Registry();
  const updates = new Counter({
    name: 'kubernetes_oom_event_generator_container_updates_processed_total',
    help: 'The total number of processed container updates.',
    labelNames: ['update_type'],
    registers: [registry],
  });
  return {
    scrape() {
      updates.reset();
      for (const [update_type, count] of containerUpdates) updates.inc({ update_type }, count);
      return registry.metrics();
    },
  };
}
