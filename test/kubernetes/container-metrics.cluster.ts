/** The metrics of missing-container-metrics on a real node: by containerd's own events, and by the status of the pods alone. */
import { describe, it, type TestContext } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { AgentProcess } from '../agent-process.ts';
import { until } from '../sinks/contract.ts';
import { runningCluster, TestNamespace } from './cluster-test.ts';
import { hog, once, pod } from './pods.ts';

const cluster = runningCluster();

/** An agent in place of missing-container-metrics, and what its port says of the containers of a namespace, by id. */
async function replaced(t: TestContext, ...sockets: readonly string[]) {
  const replace = ['--replace', 'missing-container-metrics', '--bind-address', '127.0.0.1:0'];
  const kubernetes = ['--kubeconfig', cluster.kubeconfig, '--node-name', 'node-a'];
  const agent = await AgentProcess.start(t, {
    args: [...replace, '--docker', 'false', ...sockets, ...kubernetes],
  });
  await agent.until(() => agent.log.some(({ msg }) => msg === 'listed'), 'following the pods');
  const url = () => agent.log.find(({ program }) => program === 'missing-container-metrics')?.url;
  await agent.until(() => url() !== undefined, 'its port');
  const series = async (namespace: string) => {
    const text = await (await fetch(new URL('/metrics', String(url())))).text();
    const found: Record<string, Record<string, number>> = {};
    for (const line of text.split('\n')) {
      const [, metric, labels = '', value] = /^(\w+)\{(.*)\} (\S+)$/.exec(line) ?? [];
      if (metric === undefined || !labels.includes(`namespace="${namespace}"`)) continue;
      if (!labels.includes('name="hog"') || !labels.includes('pod="shop"')) continue;
      const id = /container_id="([^"]*)"/.exec(labels)?.[1] ?? '';
      found[id] = { ...found[id], [metric]: Number(value) };
    }
    return found;
  };
  return { agent, series };
}

/** A pod whose container is killed once and started again; the ids of both instances. */
async function killedOnce(t: TestContext) {
  const namespace = await TestNamespace.create(t, cluster);
  // The second instance waits in vain.
  const containers = [hog('hog', { waitsFor: 'SIGTERM', text: [namespace.name] })];
  await namespace.apply(pod('shop', { ...once(containers), restartPolicy: 'OnFailure' }));
  await namespace.until('pod/shop', '.status.phase', 'Running');
  await namespace.kill(namespace.name);
  await namespace.until('pod/shop', '.status.containerStatuses[0].restartCount', '1');
  const [status] = (await namespace.pod('shop')).status.containerStatuses ?? [];
  const { containerID: second = '', lastState } = status ?? {};
  const first = (lastState as { terminated?: { containerID?: string } }).terminated?.containerID ?? '';
  return { namespace: namespace.name, first, second };
}

async function untilShown(show: () => Promise<object>, wanted: object): Promise<void> {
  let shown: object = {};
  await until(
    async () => {
      shown = await show();
      return isDeepStrictEqual(shown, wanted);
    },
    () => `${JSON.stringify(wanted)}, but it is ${JSON.stringify(shown)}`,
  );
}

const metricsOf = (restarts: number, ooms: number, exitCode: number) => ({
  container_restarts: restarts,
  container_ooms: ooms,
  container_last_exit_code: exitCode,
});

describe('container_restarts, container_ooms, container_last_exit_code of a pod', () => {
  it('by the status of the pod, where neither socket is mounted', async (t) => {
    const { series } = await replaced(t, '--containerd', 'false');
    const { namespace, first, second } = await killedOnce(t);
    await untilShown(() => series(namespace), {
      [first]: metricsOf(0, 1, 137),
      [second]: metricsOf(1, 0, 0),
    });
  });

  it("by containerd's own events, with the labels of kubelet", async (t) => {
    const socket = `/proc/${cluster.daemons.pid('containerd')}/root/run/containerd/containerd.sock`;
    const { series } = await replaced(t, '--containerd-socket', socket);
    const { namespace, first, second } = await killedOnce(t);
    await untilShown(() => series(namespace), {
      [first]: metricsOf(0, 1, 137),
      [second]: metricsOf(0, 0, 0),
    });
  });
});
