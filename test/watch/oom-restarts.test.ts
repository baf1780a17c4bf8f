import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Incident } from '../../src/incident.ts';
import { PodTable } from '../../src/inventory/pod-table.ts';
import type { KnownPodContainer } from '../../src/kubernetes/pod.ts';
import { OomRestarts } from '../../src/watch/oom-restarts.ts';
import { HOST, valid } from '../incidents.ts';
import { containerId, oomKilled, pod, podContainer, UID } from '../inventory/pods.ts';

const STARTED_AT = Date.parse('2026-11-21T03:14:10.700Z');

/** A table with its listener, as after a start of the agent at `startedAt`; `stored` outlives it. */
function watched(stored = new Map<string, Incident>(), startedAt = STARTED_AT) {
  const table = new PodTable(() => 0);
  const restarts = new OomRestarts({
    host: { ...HOST, version_line: 'Linux version 6.12.9' } as typeof HOST,
    startedAt,
    now: () => Date.parse('2026-11-21T03:14:17.042Z'),
    commit: (restart) => {
      const isNew = !stored.has(restart.id);
      stored.set(restart.id, valid(restart));
      return isNew;
    },
  });
  table.listen(restarts);
  const counts = () => Object.fromEntries([...restarts.counts].filter(([, count]) => count > 0));
  const apply = (...containers: readonly Partial<KnownPodContainer>[]) =>
    table.apply(
      pod({
        resourceVersion: '4711',
        containers: containers.map((each) => podContainer({ runtime: 'containerd', ...each })),
      }),
    );
  return { table, apply, counts, stored };
}

const first = { id: containerId('a'), running: true };
const second = {
  id: containerId('b'),
  running: true,
  restartCount: 1,
  previous: oomKilled(containerId('a'), '2026-11-21T03:14:16Z'),
};

test('a container that was OOM killed and runs again is told once', () => {
  const { apply, counts, stored } = watched();
  apply(first);
  apply({ ...first, running: false, terminated: oomKilled(containerId('a')) });
  apply(second);
  apply({ ...second, runtime: 'containerd' });
  assert.deepEqual(counts(), { not_oomkilled: 1, oomkilled_event_sent: 1 });
  const [restart] = [...stored.values()];
  assert.equal(stored.size, 1);
  assert.partialDeepStrictEqual(restart, {
    id: `restart:${UID}:shop:1`,
    kind: 'oom_restart',
    time: '2026-11-21T03:14:17.042Z',
    container: { id: containerId('a'), name: 'shop', runtime: 'containerd' },
    k8s: { pod: { name: 'shop-5d8f7c-x2x', resource_version: '4711' }, container: { restart_count: 1 } },
    statements: [
      { by: 'kubernetes', agrees: true, says: 'OOMKilled, exit code 137', time: '2026-11-21T03:14:16Z' },
    ],
  });
});

test('every further restart is told, also with the same reason', () => {
  const { apply, stored } = watched();
  apply(second);
  apply({ ...second, id: containerId('c'), restartCount: 2, previous: oomKilled(containerId('b')) });
  assert.deepEqual([...stored.keys()], [`restart:${UID}:shop:1`, `restart:${UID}:shop:2`]);
});

test('what ended before the start is not told, what ended in its second is', () => {
  const { apply, counts } = watched();
  apply({ ...second, previous: oomKilled(containerId('a'), '2026-11-21T03:14:09Z') });
  assert.deepEqual(counts(), { oomkilled_termination_too_old: 1 });

  const inTime = watched();
  inTime.apply({ ...second, previous: oomKilled(containerId('a'), '2026-11-21T03:14:10Z') });
  assert.deepEqual(inTime.counts(), { oomkilled_event_sent: 1 });
});

test('a restart that an earlier run has stored is not stored again', () => {
  const stored = new Map<string, Incident>();
  watched(stored).apply(second);
  const again = watched(stored, Date.parse('2026-11-21T03:14:16.900Z'));
  again.apply(second);
  assert.deepEqual(again.counts(), { oomkilled_restart_count_unchanged: 1 });
});

test('only the container that restarted, when another one of its pod starts', () => {
  const { apply, counts, stored } = watched();
  const other = { name: 'sidecar', id: containerId('d'), running: true };
  apply(second, other);
  apply(second, {
    ...other,
    id: containerId('e'),
    restartCount: 1,
    previous: { ...oomKilled(containerId('d')), reason: 'Error', exitCode: 1 },
  });
  assert.deepEqual(counts(), { oomkilled_event_sent: 1, not_oomkilled: 2 });
  assert.equal(stored.size, 1);
});

test('a status that shows the kill only later loses nothing', () => {
  const { apply, stored } = watched();
  apply(first);
  apply({ ...second, previous: undefined } as Partial<KnownPodContainer>);
  apply(second);
  assert.equal(stored.size, 1);
});

test('exit code 137 alone, init containers and what does not run again are not told', () => {
  const { apply, counts, stored } = watched();
  apply(
    { ...second, previous: { ...oomKilled(containerId('a')), reason: 'Error' } },
    { ...second, name: 'prepare', kind: 'init', id: containerId('c') },
    { name: 'job', id: containerId('f'), terminated: oomKilled(containerId('f')) },
  );
  assert.deepEqual(counts(), { not_oomkilled: 1 });
  assert.equal(stored.size, 0);
});
