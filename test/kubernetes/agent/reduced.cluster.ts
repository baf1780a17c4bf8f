/** k8s/overlays/reduced on a real node: kubelet and containerd give an unprivileged container /dev/kmsg. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { runningCluster } from '../cluster-test.ts';
import { startDevicePlugin } from '../device-plugin.ts';
import { assertReducedSees } from './reduced-agent.ts';

const cluster = runningCluster();

it('with a device plugin and without privileges: kills are seen and named', async (t) => {
  await startDevicePlugin(t, cluster.at('var/lib/kubelet/device-plugins'), {
    resource: 'squat.ai/kmsg',
    device: '/dev/kmsg',
    permissions: 'r',
  });
  const agent = await assertReducedSees(t, cluster);
  // This cluster's host network is one of its own, where no process events come (test/docker/privileges.integration.ts has
  // the machine's): that is said.
  assert.match(await agent.log(), /"process events: blind"/);
});
