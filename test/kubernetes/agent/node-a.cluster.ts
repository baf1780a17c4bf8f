/** Real kills on a node of cgroup v1, as the agent that `kubectl apply -k k8s/` installs sees them. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { runningCluster, TestNamespace } from '../cluster-test.ts';
import { hogPod } from '../pods.ts';
import { DeployedAgent } from './deployed-agent.ts';

const cluster = runningCluster();

describe('kills on a node of cgroup v1', () => {
  let agent: DeployedAgent;
  before(async () => {
    agent = await DeployedAgent.deploy(cluster);
  });
  after(() => agent?.remove());

  it('of the first process of a pod', async (t) => {
    const namespace = await TestNamespace.create(t, cluster);
    await namespace.apply(hogPod('victim', { text: [namespace.name] }));
    const incident = await agent.told(namespace.name);
    assert.equal(incident.host.name, 'node-a');
    assert.deepEqual(incident.process.command_args, ['/victim', 'hog', '0', namespace.name]);
  });
});
