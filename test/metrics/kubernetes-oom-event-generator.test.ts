import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openFamily } from '../../src/metrics/kubernetes-oom-event-generator.ts';
import { OomRestarts } from '../../src/watch/oom-restarts.ts';
import { HOST } from '../incidents.ts';
import { containerId, oomKilled, pod, podContainer } from '../inventory/pods.ts';

test('the metric of kubernetes-oom-event-generator, with zeros from the start', async () => {
  const restarts = new OomRestarts({ host: HOST, startedAt: 0, now: () => 0, commit: () => true });
  const family = openFamily({ containerUpdates: restarts.counts });
  assert.equal(
    await family.scrape(),
    `# HELP kubernetes_oom_event_generator_container_updates_processed_total The total number of processed container updates.
# TYPE kubernetes_oom_event_generator_container_updates_processed_total counter
kubernetes_oom_event_generator_container_updates_processed_total{update_type="not_oomkilled"} 0
kubernetes_oom_event_generator_container_updates_processed_total{update_type="oomkilled_termination_too_old"} 0
kubernetes_oom_event_generator_container_updates_processed_total{update_type="oomkilled_restart_count_unchanged"} 0
kubernetes_oom_event_generator_container_updates_processed_total{update_type="oomkilled_event_sent"} 0
`,
  );
  for (const digit of ['a', 'b']) restarts.restarted(pod(), podContainer(), oomKilled(containerId(digit)));
  assert.match(await family.scrape(), /\{update_type="oomkilled_event_sent"\} 2\n/);
  assert.match(await family.scrape(), /\{update_type="not_oomkilled"\} 0\n/);
});
