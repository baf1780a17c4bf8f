import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Incident } from '../../src/incident.ts';
import { workloadKey } from '../../src/store/workload-key.ts';
import { childKill, containerKill, hostileKills, nodeKill, unitKill } from '../incidents.ts';

const { k8s, ...withoutPod } = containerKill();
const { container, ...bare } = withoutPod;

const cases: readonly (readonly [string, Incident, string])[] = [
  ['a deployment, whatever its pod is called', containerKill(), 'kill k8s/web/deployment/shop'],
  ['a stateful set', childKill(), 'kill k8s/web/statefulset/thumbs'],
  [
    'a cron job before the job that it made',
    { ...bare, k8s: { namespace: { name: 'ops' }, job: { name: 'backup-29' }, cronjob: { name: 'backup' } } },
    'kill k8s/ops/cronjob/backup',
  ],
  [
    'an owner of another kind',
    { ...bare, k8s: { namespace: { name: 'ci' }, owner: { kind: 'Workflow', name: 'build' } } },
    'kill k8s/ci/owner/Workflow/build',
  ],
  [
    'a pod that nobody owns',
    { ...bare, k8s: { namespace: { name: 'web' }, pod: { name: 'debug' } } },
    'kill k8s/web/pod/debug',
  ],
  ['a container', withoutPod, 'kill container/shop'],
  ['a unit', unitKill(), 'kill unit/nginx.service'],
  ['else the process name on this host', nodeKill(), 'kill process/node-7/chrome'],
  [
    'a warning is counted apart',
    { ...containerKill(), kind: 'oom_warning' },
    'warning k8s/web/deployment/shop',
  ],
];

for (const [what, incident, key] of cases)
  test(`${what}: ${key}`, () => assert.equal(workloadKey(incident), key));

test('names of any length make a short key', () => {
  for (const { incident } of hostileKills()) {
    const { k8s: _, container: __, ...rest } = incident;
    assert.ok(workloadKey({ ...rest, container: { name: incident.process.command_line! } }).length <= 512);
  }
});

test('the fixtures above have what these cases take away', () => assert.ok(k8s && container));
