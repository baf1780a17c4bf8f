/** Real kills on a node of cgroup v1: what the agent that `kubectl apply -k k8s/` installs tells of each, and what kubectl shows. */
import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { untilHeaderIsAllowed } from '../../docker/kernel-header.ts';
import { runningCluster, TestNamespace } from '../cluster-test.ts';
import { VICTIM_IMAGE } from '../parts.ts';
import { deployment, hog, hogPod, idle, once, pod } from '../pods.ts';
import { DeployedAgent } from './deployed-agent.ts';
import { assertShown, namesMissing, untilShown } from './shown.ts';

const cluster = runningCluster();
const LIMITS = { limits: { memory: '32Mi' }, requests: { memory: '16Mi' } };

describe('kills on a node of cgroup v1', () => {
  let agent: DeployedAgent;
  before(async () => {
    agent = await DeployedAgent.deploy(cluster);
  });
  after(() => agent?.remove());

  /** @returns a namespace of its own, whose name stands in the command line of what is killed */
  const place = (t: TestContext) => TestNamespace.create(t, cluster);

  it('the first process: named, confirmed by the status, shown by kubectl', async (t) => {
    const namespace = await place(t);
    await untilHeaderIsAllowed();
    await namespace.apply(
      hogPod('victim', { text: [namespace.name] }, { labels: { app: 'shop', secret: 'no' } }),
    );
    const incident = await agent.told(namespace.name);
    // kubelet is slower than the agent.
    await namespace.untilOomKilled('victim');
    const { metadata, status } = await namespace.pod('victim');
    // What the status did not show yet when the sinks got it is not there.
    const { image, runtime = 'containerd', ...container } = incident.container ?? {};
    assert.deepEqual(container, {
      id: status.containerStatuses?.[0]?.containerID.replace('containerd://', ''),
      name: 'hog',
    });
    assert.equal(runtime, 'containerd');
    assert.equal(image?.name, VICTIM_IMAGE);
    assert.deepEqual(incident.k8s, {
      namespace: { name: namespace.name },
      pod: { name: 'victim', uid: metadata.uid, labels: { app: 'shop' } },
      container: { name: 'hog', restart_count: 0 },
      node: { name: 'node-a' },
      qos: 'Burstable',
      ...LIMITS,
    });
    assert.equal(status.qosClass, 'Burstable');
    assert.deepEqual(namesMissing(incident), []);
    assert.deepEqual(incident.process.command_args, ['/victim', 'hog', '0', namespace.name]);
    assert.equal(incident.victims[0]?.capture.source, 'exec');
    assert.equal(incident.oom.limit, 32 << 20);

    const { statements, witness } = await agent.stored(
      incident.id,
      ({ statements }) => statements !== undefined,
    );
    assert.deepEqual(witness, ['kmsg', 'kubernetes']);
    assert.equal(statements?.[0]?.agrees, true);
    assert.match(statements[0].says, /^OOMKilled, exit code 137/);
    await assertShown(namespace, 'victim', incident);
  });

  it('a child: the pod lives on, Kubernetes says nothing, and kubectl shows it all the same', async (t) => {
    const namespace = await place(t);
    await namespace.apply(hogPod('victim', { who: 'child', text: [namespace.name] }));
    const incident = await agent.told(namespace.name);
    assert.equal(incident.k8s?.pod?.name, 'victim');
    assert.equal(incident.k8s.container?.name, 'hog');
    assert.deepEqual(incident.process.command_args, ['victim', 'hog', '0', namespace.name]);
    await assertShown(namespace, 'victim', incident);
    const { statements, witness } = await agent.stored(
      incident.id,
      ({ statements }) => statements !== undefined,
    );
    assert.deepEqual(statements, [
      { by: 'kubernetes', agrees: false, says: 'nothing: the container lives on' },
    ]);
    assert.deepEqual(witness, ['kmsg']);
    assert.ok((await namespace.pod('victim')).status.containerStatuses?.[0]?.state.running);
  });

  it('a Guaranteed pod', async (t) => {
    const namespace = await place(t);
    await namespace.apply(hogPod('victim', { guaranteed: true, text: [namespace.name] }));
    const incident = await agent.told(namespace.name);
    const { metadata } = await namespace.pod('victim');
    // Without a level of its QoS class in between.
    assert.ok(incident.process.cgroup?.startsWith(`${cluster.cgroupRoot}/kubepods/pod${metadata.uid}/`));
    assert.equal(incident.k8s?.qos, 'Guaranteed');
    assert.deepEqual(incident.k8s.limits, { cpu: '100m', memory: '32Mi' });
    assert.deepEqual(incident.k8s.requests, incident.k8s.limits);
    await assertShown(namespace, 'victim', incident);
  });

  it('an init container', async (t) => {
    const namespace = await place(t);
    const first = hog('first', { text: [namespace.name] });
    await namespace.apply(pod('victim', once([idle('main')], { initContainers: [first] })));
    const incident = await agent.told(namespace.name);
    assert.equal(incident.k8s?.container?.name, 'first');
    assert.equal(incident.container?.name, 'first');
    const { statements } = await agent.stored(incident.id, ({ statements }) => statements !== undefined);
    assert.equal(statements?.[0]?.agrees, true);
    await assertShown(namespace, 'victim', incident);
  });

  it('a static pod: its cgroup has another UID than the API', async (t) => {
    const namespace = await place(t);
    const file = path.join(cluster.staticPods, `${namespace.name}.json`);
    t.after(() => rmSync(file, { force: true }));
    const manifest = pod('static', once([hog('hog', { text: [namespace.name] })]), {
      namespace: namespace.name,
    });
    writeFileSync(file, JSON.stringify(manifest));
    const incident = await agent.told(namespace.name);
    const { uid, annotations } = (await namespace.pod('static-node-a')).metadata;
    assert.ok(!incident.process.cgroup?.includes(uid));
    assert.deepEqual(incident.k8s?.pod, { name: 'static-node-a', uid });
    assert.deepEqual(incident.k8s.namespace, { name: namespace.name });
    assert.equal(incident.k8s.container?.name, 'hog');
    await assertShown(namespace, 'static-node-a', incident, annotations?.['kubernetes.io/config.mirror']);
  });

  it('a Deployment whose rollout deletes the pod at once', async (t) => {
    const namespace = await place(t);
    const dying = hog('hog', { liveMs: 1500, text: [namespace.name] });
    await namespace.apply(deployment('shop', once([dying], { terminationGracePeriodSeconds: 0 })));
    await namespace.kubectl('rollout', 'status', 'deployment/shop', '--timeout=60s');
    const [victim] = (await namespace.get<{ items: { metadata: { name: string; uid: string } }[] }>('pods'))
      .items;
    const { name, uid } = victim?.metadata ?? {};
    // The pod is killed while, or just before, it is deleted.
    await namespace.apply(deployment('shop', once([idle('hog')], { terminationGracePeriodSeconds: 0 })));
    const incident = await agent.told(namespace.name);
    await namespace.kubectl('wait', '--for=delete', `pod/${name}`, '--timeout=60s');
    assert.deepEqual(incident.k8s?.deployment, { name: 'shop' });
    assert.equal(incident.k8s.pod?.name, name);
    assert.equal(incident.k8s.pod?.uid, uid);
    assert.equal(incident.k8s.container?.name, 'hog');
    assert.deepEqual(namesMissing(incident), []);
    // Its Events outlive it.
    await untilShown(namespace, String(name));
    assert.match(await namespace.kubectl('get', 'events'), new RegExp(`OOMKilled +pod/${name}`));
  });

  it('each of them once', async () => {
    const incidents = (await agent.incidents()).filter(({ process }) =>
      process.command_args?.some((word) => word.startsWith('test-')),
    );
    const ids = incidents.map(({ id }) => id);
    assert.equal(new Set(ids).size, ids.length);
    assert.ok(ids.length >= 6);
  });
});
