import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { until } from '../../sinks/contract.ts';
import type { Cluster } from '../cluster.ts';
import { TestNamespace } from '../cluster-test.ts';
import { hogPod } from '../pods.ts';
import { DeployedAgent } from './deployed-agent.ts';

/**
 * k8s/overlays/reduced on node-a, whose kubelet has one /dev/kmsg to give: kills are seen and named, also by the agent that gets it
 * after a rollout.
 */
export async function assertReducedSees(t: TestContext, cluster: Cluster): Promise<DeployedAgent> {
  const agent = await DeployedAgent.deploy(cluster, 'node-a', {}, 'overlays/reduced');
  t.after(() => agent.remove());
  await assertSees(t, cluster, agent);
  await agent.restart();
  await assertSees(t, cluster, agent);
  return agent;
}

async function assertSees(t: TestContext, cluster: Cluster, agent: DeployedAgent): Promise<void> {
  const namespace = await TestNamespace.create(t, cluster);
  await namespace.apply(hogPod('victim', { waitsFor: 'SIGTERM', text: [namespace.name] }));
  await until(() => agent.journal().includes(`"${namespace.name}"`), 'a scan of /proc that has found it');
  await namespace.kill(namespace.name);
  const { host, process, k8s } = await agent.told(namespace.name);
  assert.equal(host.name, 'node-a');
  assert.deepEqual(process.command_args, ['/victim', 'hog', 'SIGTERM', namespace.name]);
  assert.equal(process.executable?.path, '/victim');
  assert.equal(k8s?.namespace?.name, namespace.name);
  assert.equal(k8s?.pod?.name, 'victim');
  assert.equal(k8s?.container?.name, 'hog');
}
