import assert from 'node:assert/strict';
import { test } from 'node:test';
import Registry from 'prom-client/lib/registry.js';
import { OomEventGeneratorMetrics } from '../../src/metrics/kubernetes-oom-event-generator.ts';

test('the family of kubernetes-oom-event-generator, with zeros from the start', async () => {
  const registry = new Registry();
  const metrics = new OomEventGeneratorMetrics(registry);
  assert.equal(
    await registry.metrics(),
    `# HELP kubernetes_oom_event_generator_container_updates_processed_total The total number of processed container updates.
# TYPE kubernetes_oom_event_generator_container_updates_processed_total counter
kubernetes_oom_event_generator_container_updates_processed_total{update_type="not_oomkilled"} 0
kubernetes_oom_event_generator_container_updates_processed_total{update_type="oomkilled_termination_too_old"} 0
kubernetes_oom_event_generator_container_updates_processed_total{update_type="oomkilled_restart_count_unchanged"} 0
kubernetes_oom_event_generator_container_updates_processed_total{update_type="oomkilled_event_sent"} 0
`,
  );
  metrics.counted('oomkilled_event_sent');
  metrics.counted('oomkilled_event_sent');
  assert.match(await registry.metrics(), /\{update_type="oomkilled_event_sent"\} 2\n/);
});
