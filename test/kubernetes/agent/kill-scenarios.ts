/**
 * Kills in pods, each in another way: what the sinks get of them, and what kubectl shows. Which of them a node has, and why,
 * node-a.cluster.ts and node-b.cluster.ts say; in what they differ there, kill-node.ts.
 */
import assert from 'node:assert/strict';
import { after, before, it, type TestContext } from 'node:test';
import type { Incident } from '../../../src/incident.ts';
import type { Cluster } from '../cluster.ts';
import { TestNamespace } from '../cluster-test.ts';
import { VICTIM_IMAGE } from '../parts.ts';
import { deployment, hog, hogPod, idle, once, pod } from '../pods.ts';
import { COUNTED_FAMILIES } from './counted-kills.ts';
import { DeployedAgent } from './deployed-agent.ts';
import type { KillNode } from './kill-node.ts';
import { assertListed, assertShown, namesMissing } from './shown.ts';

/** All that a scenario kills has the name of its namespace in the command line. */
export interface Place {
  readonly t: TestContext;
  readonly node: KillNode;
  readonly agent: DeployedAgent;
  readonly namespace: TestNamespace;
}

export interface Scenario {
  readonly title: string;
  run(place: Place): Promise<void>;
}

/** A test of each, with one agent, and one that each kill was told once. */
export function killScenarios(cluster: Cluster, node: KillNode, scenarios: readonly Scenario[]): void {
  let agent: DeployedAgent;
  before(async () => {
    agent = await DeployedAgent.deploy(cluster, node.name, { METRICS: COUNTED_FAMILIES });
  });
  after(() => agent?.remove());

  for (const { title, run } of scenarios)
    it(title, async (t) => run({ t, node, agent, namespace: await TestNamespace.create(t, cluster) }));

  it('each of them once', async () => {
    const told = new Map<string, number>();
    for (const { process } of await agent.incidents())
      for (const word of process.command_args ?? [])
        if (word.startsWith('test-')) told.set(word, (told.get(word) ?? 0) + 1);
    assert.deepEqual(
      [...told].filter(([, times]) => times !== 1),
      [],
    );
    assert.ok(told.size >= scenarios.length);
  });
}

const LIMITS = { limits: { memory: '32Mi' }, requests: { memory: '16Mi' } };

export const firstProcess: Scenario = {
  title: 'the first process: named, and the status is heard',
  async run(place) {
    const { agent, namespace, node } = place;
    const labels = { labels: { app: 'shop', secret: 'no' } };
    const options = { node: node.name, waitsFor: node.waitsFor, text: [namespace.name] };
    await namespace.apply(hogPod('victim', options, labels));
    await node.killWithHeader(namespace, 'victim');
    const incident = await agent.told(namespace.name);
    // kubelet is slower than the agent.
    await assertHeard(place, incident, 'victim');
    const { metadata, status } = await namespace.pod('victim');
    const id = containerId(status.containerStatuses);
    // What the status did not show yet when the sinks got it is not there.
    const { image = { name: VICTIM_IMAGE }, ...container } = incident.container ?? {};
    assert.deepEqual(container, { id, name: 'hog', runtime: 'containerd' });
    assert.equal(image.name, VICTIM_IMAGE);
    assert.equal(incident.process.cgroup, node.cgroup('Burstable', metadata.uid, id));
    assert.equal(incident.host.name, node.name);
    assert.deepEqual(incident.k8s, {
      namespace: { name: namespace.name },
      pod: { name: 'victim', uid: metadata.uid, labels: { app: 'shop' } },
      container: { name: 'hog', restart_count: 0 },
      node: { name: node.name },
      qos: 'Burstable',
      ...LIMITS,
    });
    assert.equal(status.qosClass, 'Burstable');
    assert.deepEqual(namesMissing(incident), []);
    assert.deepEqual(incident.process.command_args, ['/victim', 'hog', node.waitsFor, namespace.name]);
    assert.equal(incident.victims[0]?.capture.source, 'exec');
    assert.equal(incident.oom.limit, 32 << 20);
    await assertShown(namespace, 'victim', incident);
  },
};

export const childAlone: Scenario = {
  title: 'a child: the pod lives on, Kubernetes says nothing, and kubectl shows it all the same',
  async run({ agent, namespace, node }) {
    await namespace.apply(hogPod('victim', { node: node.name, who: 'child', text: [namespace.name] }));
    const incident = await agent.told(namespace.name);
    assert.equal(incident.k8s?.pod?.name, 'victim');
    assert.equal(incident.k8s.container?.name, 'hog');
    assert.equal(incident.oom.group_kill, false);
    assert.deepEqual(argumentsOf(incident), [['victim', 'hog', '0', namespace.name]]);
    await assertShown(namespace, 'victim', incident);
    const { statements, witness } = await agent.stated(incident.id);
    assert.deepEqual(statements, [
      { by: 'kubernetes', agrees: false, says: 'nothing: the container lives on' },
    ]);
    assert.deepEqual(witness, ['kmsg']);
    assert.ok((await namespace.pod('victim')).status.containerStatuses?.[0]?.state.running);
  },
};

export const childWithItsParent: Scenario = {
  title: 'a child, and its parent with it: one incident with both',
  async run(place) {
    const { agent, namespace, node } = place;
    await namespace.apply(hogPod('victim', { node: node.name, who: 'child', text: [namespace.name] }));
    const incident = await agent.told(namespace.name);
    assert.equal(incident.oom.group_kill, true);
    assert.deepEqual(argumentsOf(incident).sort(), [
      ['/victim', 'parent', '/dev/null', '0', namespace.name],
      ['victim', 'hog', '0', namespace.name],
    ]);
    assert.equal(incident.k8s?.pod?.name, 'victim');
    assert.equal(incident.k8s.container?.name, 'hog');
    await assertHeard(place, incident, 'victim');
    await assertShown(namespace, 'victim', incident);
  },
};

export const guaranteedPod: Scenario = {
  title: 'a Guaranteed pod: no level of its QoS class in the cgroup',
  async run({ agent, namespace, node }) {
    await namespace.apply(hogPod('victim', { node: node.name, guaranteed: true, text: [namespace.name] }));
    const incident = await agent.told(namespace.name);
    await namespace.ended('victim');
    const { metadata, status } = await namespace.pod('victim');
    const id = containerId(status.containerStatuses);
    assert.equal(incident.process.cgroup, node.cgroup('Guaranteed', metadata.uid, id));
    assert.equal(incident.k8s?.qos, 'Guaranteed');
    assert.deepEqual(incident.k8s.limits, { cpu: '100m', memory: '32Mi' });
    assert.deepEqual(incident.k8s.requests, incident.k8s.limits);
    await assertShown(namespace, 'victim', incident);
  },
};

export const initContainer: Scenario = {
  title: 'an init container',
  async run(place) {
    const { agent, namespace, node } = place;
    const first = hog('first', { text: [namespace.name] });
    const spec = once([idle('main')], { nodeName: node.name, initContainers: [first] });
    await namespace.apply(pod('victim', spec));
    const incident = await agent.told(namespace.name);
    assert.equal(incident.k8s?.container?.name, 'first');
    assert.equal(incident.container?.name, 'first');
    await assertHeard(place, incident, 'victim');
    await assertShown(namespace, 'victim', incident);
  },
};

export const staticPod: Scenario = {
  title: 'a static pod: its cgroup has another UID than the API',
  async run({ t, agent, namespace, node }) {
    const spec = once([hog('hog', { text: [namespace.name] })], { nodeName: node.name });
    t.after(() => node.removeStaticPod(namespace.name));
    await node.writeStaticPod(namespace.name, pod('static', spec, { namespace: namespace.name }));
    const incident = await agent.told(namespace.name);
    const name = `static-${node.name}`;
    await namespace.ended(name);
    const { metadata, status } = await namespace.pod(name);
    const { uid, annotations = {} } = metadata;
    const uidOfCgroup = annotations['kubernetes.io/config.hash'] ?? '';
    assert.notEqual(uidOfCgroup, uid);
    const id = containerId(status.containerStatuses);
    assert.equal(incident.process.cgroup, node.cgroup('Burstable', uidOfCgroup, id));
    assert.deepEqual(incident.k8s?.pod, { name, uid });
    assert.deepEqual(incident.k8s.namespace, { name: namespace.name });
    assert.equal(incident.k8s.container?.name, 'hog');
    await assertShown(namespace, name, incident, annotations['kubernetes.io/config.mirror']);
  },
};

export const deletedPod: Scenario = {
  title: 'a pod that a rollout has deleted: killed while it ends, when the API does not have it any more',
  async run({ agent, namespace, node }) {
    const shop = (container: ReturnType<typeof hog>) =>
      deployment('shop', once([container], { nodeName: node.name, terminationGracePeriodSeconds: 0 }));
    await namespace.apply(shop(hog('hog', { waitsFor: 'SIGTERM', text: [namespace.name] })));
    await namespace.kubectl('rollout', 'status', 'deployment/shop', '--timeout=250s');
    const { items } = await namespace.get<{ items: { metadata: { name: string; uid: string } }[] }>('pods');
    assert.equal(items.length, 1);
    const { name, uid } = items[0]!.metadata;
    await namespace.apply(shop(idle('hog')));
    const incident = await agent.told(namespace.name);
    assert.equal(await namespace.kubectl('get', 'pod', name, '--ignore-not-found'), '');
    assert.deepEqual(incident.k8s?.deployment, { name: 'shop' });
    assert.equal(incident.k8s.pod?.name, name);
    assert.equal(incident.k8s.pod?.uid, uid);
    assert.equal(incident.k8s.container?.name, 'hog');
    assert.deepEqual(namesMissing(incident), []);
    // There is nothing to describe; its Events outlive it.
    await assertListed(namespace, name, incident);
  },
};

/** Only for a node that is a machine of its own. */
export const wholeNode: Scenario = {
  title: 'the node runs out of memory: whose fault it was is named all the same',
  async run({ agent, namespace, node }) {
    await namespace.apply(hogPod('victim', { node: node.name, memory: 'none', text: [namespace.name] }));
    const incident = await agent.told(namespace.name);
    assert.equal(incident.oom.scope, 'node');
    assert.equal(incident.oom.limit_cgroup, undefined);
    assert.equal(incident.k8s?.pod?.name, 'victim');
    assert.equal(incident.k8s.container?.name, 'hog');
    assert.equal(incident.k8s.qos, 'BestEffort');
    await assertShown(namespace, 'victim', incident);
  },
};

/** The status of the container that was killed, and that the agent has it as the cluster's word on the kill. */
async function assertHeard(
  { agent, namespace, node }: Place,
  incident: Incident,
  name: string,
): Promise<void> {
  const { reason, exitCode } = await namespace.ended(name);
  assert.equal(exitCode, 137);
  if (node.isToldOfKills) assert.equal(reason, 'OOMKilled');
  const agrees = reason === 'OOMKilled';
  const { statements, witness } = await agent.stated(incident.id);
  assert.equal(statements?.[0]?.agrees, agrees);
  assert.match(statements[0].says, new RegExp(`^${reason}, exit code 137`));
  assert.deepEqual(witness, ['kmsg', ...(agrees ? ['kubernetes'] : [])]);
}

const argumentsOf = ({ victims }: Incident) => victims.map(({ process }) => process.command_args);

function containerId(statuses: readonly { readonly containerID: string }[] = []): string {
  return statuses[0]?.containerID.replace('containerd://', '') ?? '';
}
