/** k8s/overlays/api-only on a real node, in a namespace that admits only restricted pods: kills as their pods' status tells them. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { MANIFESTS } from '../../k8s/manifest-files.ts';
import { until } from '../../sinks/contract.ts';
import { runningCluster, TestNamespace } from '../cluster-test.ts';
import { hogPod } from '../pods.ts';

const FOLDER = path.join(MANIFESTS, 'overlays/api-only');
const NAMESPACE = '--namespace=oom-witness';
const ROLLOUT = ['rollout', 'status', 'deployment/oom-witness-watch', NAMESPACE, '--timeout=250s'];

const cluster = runningCluster();

/** The pod that holds the lease: its name is the first half of the holder's. */
async function holder(): Promise<string> {
  const lease = await cluster.get<{ spec: { holderIdentity?: string } }>(
    ...['lease', 'oom-witness-watch', NAMESPACE],
  );
  return lease.spec.holderIdentity?.split('_')[0] ?? '';
}

/** Events of the victim, as soon as there is one. */
async function told(namespace: TestNamespace, pod: string): Promise<readonly string[]> {
  const found = async () =>
    (await namespace.events('Pod', pod)).filter(({ reason }) => reason === 'OOMKilled');
  try {
    await until(async () => (await found()).length > 0, `the Event of ${pod}`);
  } catch (error) {
    const logs = [
      'logs',
      '--selector=app.kubernetes.io/component=watch',
      '--prefix',
      '--tail=100',
      NAMESPACE,
    ];
    throw new Error(await cluster.kubectl(logs), { cause: error });
  }
  return (await found()).map(({ message }) => message);
}

describe('API-only mode', () => {
  before(async () => {
    const archive = process.env.OOM_WITNESS_AGENT_IMAGE;
    assert.ok(archive, 'npm run test:kubernetes builds the image');
    await cluster.importImage(archive);
    await cluster.kubectl(['delete', 'namespace', 'oom-witness', '--ignore-not-found', '--timeout=250s']);
    await cluster.kubectl(['apply', '-k', FOLDER]);
    await cluster.kubectl(ROLLOUT);
  });
  after(() => cluster.kubectl(['delete', '-k', FOLDER, '--timeout=250s']));

  it('an Event for each kill, also when the replica that worked is gone', async (t) => {
    const namespace = await TestNamespace.create(t, cluster);
    await namespace.apply(hogPod('first'));
    await namespace.untilOomKilled('first');
    const [message, ...more] = await told(namespace, 'first');
    assert.match(String(message), /container hog/);
    assert.deepEqual(more, []);

    const old = await holder();
    assert.match(old, /^oom-witness-watch-/);
    await cluster.kubectl(['delete', 'pod', old, NAMESPACE, '--wait=false']);
    await namespace.apply(hogPod('second'));
    await namespace.untilOomKilled('second');
    assert.equal((await told(namespace, 'second')).length, 1);
    assert.notEqual(await holder(), old);
    await cluster.kubectl(ROLLOUT);
    for (const pod of ['first', 'second']) assert.equal((await told(namespace, pod)).length, 1, pod);
  });
});
