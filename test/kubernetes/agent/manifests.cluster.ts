/** `kubectl apply -k`, our own image, a real node: the agent becomes ready, sees a pod die, and knows its command line. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { before, describe, it, type TestContext } from 'node:test';
import type { Incident } from '../../../src/incident.ts';
import { buildAgentImage } from '../../docker/agent-image.ts';
import { MANIFESTS } from '../../k8s/manifest-files.ts';
import { until } from '../../sinks/contract.ts';
import { runningCluster, TestNamespace } from '../cluster-test.ts';
import { startDevicePlugin } from '../device-plugin.ts';
import { hogPod } from '../pods.ts';

const NAMESPACE = '--namespace=oom-witness';
const DAEMON_SET = 'daemonset/oom-witness';
const READY_SECONDS = 120;
const TOLD_MS = 60_000;

const cluster = runningCluster();

/** Applies a folder of `k8s/`; what it made is gone when the test has ended. */
async function apply(t: TestContext, folder: string): Promise<void> {
  const at = path.join(MANIFESTS, folder);
  t.after(() => cluster.kubectl(['delete', '-k', at, '--timeout=100s']));
  await cluster.kubectl(['apply', '-k', at]);
  try {
    await cluster.kubectl(['rollout', 'status', DAEMON_SET, NAMESPACE, `--timeout=${READY_SECONDS}s`], {
      timeoutMs: (READY_SECONDS + 10) * 1000,
    });
  } catch (error) {
    const about = [
      ['describe', 'pods', NAMESPACE],
      ['get', 'events', NAMESPACE],
      ['logs', DAEMON_SET, NAMESPACE],
    ];
    const said = await Promise.all(about.map((args) => cluster.kubectl(args).catch(String)));
    throw new Error(said.join('\n'), { cause: error });
  }
}

/** What the agent has printed. */
async function logged(): Promise<readonly Record<string, unknown>[]> {
  const lines = (await cluster.kubectl(['logs', DAEMON_SET, NAMESPACE])).split('\n');
  return lines.filter((line) => line.endsWith('}')).map((line) => JSON.parse(line));
}

/** A pod that is killed with `text` in its command line, as the agent tells it. */
async function toldKill(t: TestContext, text: string): Promise<Incident> {
  const namespace = await TestNamespace.create(t, cluster);
  await namespace.apply(hogPod('victim', { liveMs: 2_000, text: [text] }));
  await namespace.untilOomKilled('victim');
  const find = async () =>
    (await logged()).find(
      (line) => 'schema' in line && (line as unknown as Incident).process.command_args?.includes(text),
    );
  await until(async () => (await find()) !== undefined, 'the kill in the log of the agent', TOLD_MS);
  return (await find()) as unknown as Incident;
}

describe('the manifests on a node', () => {
  before(async () => cluster.importImage(process.env.OOM_WITNESS_AGENT_IMAGE || (await buildAgentImage())));

  it('k8s/', async (t) => {
    await apply(t, '.');
    const incident = await toldKill(t, '--by-default');
    assert.equal(incident.host.name, 'node-a');
    assert.equal(incident.victims[0]?.capture.source, 'exec');
    assert.ok(incident.process.cgroup?.startsWith(cluster.cgroupRoot));
  });

  it('k8s/overlays/reduced, with a device plugin: not privileged, and the kernel log is read', async (t) => {
    await startDevicePlugin(t, cluster.at('var/lib/kubelet/device-plugins'), {
      resource: 'squat.ai/kmsg',
      device: '/dev/kmsg',
      permissions: 'r',
    });
    await apply(t, 'overlays/reduced');
    const incident = await toldKill(t, '--reduced');
    assert.equal(incident.host.name, 'node-a');
    assert.ok(incident.process.executable?.path);
    assert.ok(incident.process.cgroup?.startsWith(cluster.cgroupRoot));
    // This cluster's host network is one of its own, where no process events come (test/docker/privileges.integration.ts has
    // the machine's): the command line is from a scan, and that is said.
    const blind = (await logged()).find(({ msg }) => msg === 'process events: blind');
    assert.match(String(blind?.reason), /^(subscribing to process events failed|\/proc\/\d+\/ns\/net)/);
  });
});
