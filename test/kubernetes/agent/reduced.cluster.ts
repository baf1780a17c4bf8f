/** k8s/overlays/reduced on a real node: kubelet and containerd give an unprivileged container /dev/kmsg. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { runningCluster, TestNamespace } from '../cluster-test.ts';
import { startDevicePlugin } from '../device-plugin.ts';
import { hogPod } from '../pods.ts';
import { DeployedAgent } from './deployed-agent.ts';

const cluster = runningCluster();

it('with a device plugin and without privileges: kills are seen and named', async (t) => {
  await startDevicePlugin(t, cluster.at('var/lib/kubelet/device-plugins'), {
    resource: 'squat.ai/kmsg',
    device: '/dev/kmsg',
    permissions: 'r',
  });
  const agent = await DeployedAgent.deploy(cluster, 'node-a', {}, 'overlays/reduced');
  t.after(() => agent.remove());
  const namespace = await TestNamespace.create(t, cluster);
  // Lives for long enough that a scan of /proc finds it.
  await namespace.apply(hogPod('victim', { liveMs: 2_000, text: [namespace.name] }));

  const { host, process, k8s } = await agent.told(namespace.name);
  assert.equal(host.name, 'node-a');
  assert.deepEqual(process.command_args, ['/victim', 'hog', '2000', namespace.name]);
  assert.equal(process.executable?.path, '/victim');
  assert.equal(k8s?.namespace?.name, namespace.name);
  assert.equal(k8s?.pod?.name, 'victim');
  assert.equal(k8s?.container?.name, 'hog');
  // This cluster's host network is one of its own, where no process events come (test/docker/privileges.integration.ts has
  // the machine's): that is said.
  assert.match(await agent.log(), /"process events: blind"/);
});
