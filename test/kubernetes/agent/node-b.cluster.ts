/** Real kills on a node of cgroup v2 with systemd, where kubelet asks for group kills, and of the whole node. */
import assert from 'node:assert/strict';
import { after, before, describe, it, type TestContext } from 'node:test';
import { runningCluster, TestNamespace, withoutNodeB } from '../cluster-test.ts';
import { hogPod } from '../pods.ts';
import { DeployedAgent } from './deployed-agent.ts';
import { assertShown, namesMissing } from './shown.ts';

const cluster = runningCluster();

describe('kills on a node of cgroup v2', { skip: withoutNodeB(cluster) }, () => {
  let agent: DeployedAgent;
  before(async () => {
    agent = await DeployedAgent.deploy(cluster, 'node-b');
  });
  after(() => agent?.remove());

  const place = (t: TestContext) => TestNamespace.create(t, cluster);

  it('the first process: the path of systemd names pod and container', async (t) => {
    const namespace = await place(t);
    await namespace.apply(hogPod('victim', { node: 'node-b', text: [namespace.name] }));
    const incident = await agent.told(namespace.name);
    await namespace.ended('victim');
    const { metadata, status } = await namespace.pod('victim');
    const id = status.containerStatuses?.[0]?.containerID.replace('containerd://', '');
    const slice = `kubepods-burstable-pod${metadata.uid.replaceAll('-', '_')}.slice`;
    assert.equal(
      incident.process.cgroup,
      `/kubepods.slice/kubepods-burstable.slice/${slice}/cri-containerd-${id}.scope`,
    );
    assert.equal(incident.host.name, 'node-b');
    assert.equal(incident.container?.id, id);
    assert.equal(incident.container?.runtime, 'containerd');
    assert.equal(incident.k8s?.pod?.uid, metadata.uid);
    assert.equal(incident.k8s.pod?.name, 'victim');
    assert.equal(incident.k8s.container?.name, 'hog');
    assert.equal(incident.k8s.node?.name, 'node-b');
    assert.deepEqual(namesMissing(incident), []);
    assert.deepEqual(incident.process.command_args, ['/victim', 'hog', '0', namespace.name]);
    assert.equal(incident.victims[0]?.capture.source, 'exec');
    await assertShown(namespace, 'victim', incident);
  });

  it('a child, and its parent with it: one incident with both', async (t) => {
    const namespace = await place(t);
    await namespace.apply(hogPod('victim', { node: 'node-b', who: 'child', text: [namespace.name] }));
    const incident = await agent.told(namespace.name);
    assert.equal(incident.oom.group_kill, true);
    assert.deepEqual(incident.victims.map(({ process }) => process.command_args?.slice(0, 2)).sort(), [
      ['/victim', 'parent'],
      ['victim', 'hog'],
    ]);
    assert.equal(incident.k8s?.pod?.name, 'victim');
    assert.equal(incident.k8s.container?.name, 'hog');
    const { reason, exitCode } = await namespace.ended('victim');
    assert.equal(exitCode, 137);
    const { statements } = await agent.stored(incident.id, ({ statements }) => statements !== undefined);
    assert.equal(statements?.[0]?.agrees, reason === 'OOMKilled');
    assert.match(statements[0].says, new RegExp(`^${reason}, exit code 137`));
    await assertShown(namespace, 'victim', incident);
    assert.equal((await agent.incidentsOf(namespace.name)).length, 1);
  });

  it('the node runs out of memory: whose fault it was is named all the same', async (t) => {
    const namespace = await place(t);
    await namespace.apply(hogPod('victim', { node: 'node-b', memory: 'none', text: [namespace.name] }));
    const incident = await agent.told(namespace.name);
    assert.equal(incident.oom.scope, 'node');
    assert.equal(incident.oom.limit_cgroup, undefined);
    assert.equal(incident.k8s?.pod?.name, 'victim');
    assert.equal(incident.k8s.container?.name, 'hog');
    assert.equal(incident.k8s.qos, 'BestEffort');
    await assertShown(namespace, 'victim', incident);
  });
});
