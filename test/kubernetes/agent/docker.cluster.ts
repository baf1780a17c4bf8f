/** k8s/overlays/docker on a node where Docker runs beside kubelet's containerd: the containers of both have names and are counted. */
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { it } from 'node:test';
import { importVictim, LIMIT } from '../../docker/victim-image.ts';
import { seriesWith, shownFamilies } from '../../metrics/exposition.ts';
import { Docker, dockerPackages } from '../../servers/docker.ts';
import { until } from '../../sinks/contract.ts';
import { runningCluster, TestNamespace } from '../cluster-test.ts';
import { hogPod } from '../pods.ts';
import { AGENT_NAMESPACE, DeployedAgent } from './deployed-agent.ts';

const cluster = runningCluster();
const packages = await dockerPackages();
const skip = 'missing' in packages && packages.missing;

/** From the pod itself, as Prometheus reads them. */
async function metrics(): Promise<string> {
  const field = '--output=jsonpath={.items[0].status.podIP}';
  const address = await cluster.kubectl(['get', 'pods', `--namespace=${AGENT_NAMESPACE}`, field]);
  return (await fetch(`http://${address}:9110/metrics`)).text();
}

/** What is counted of a container, by its id. */
async function counted(id: string): Promise<Record<string, number>> {
  const series = seriesWith(shownFamilies(await metrics(), 'container_'), `container_id="${id}"`);
  return Object.fromEntries(
    Object.entries(series).map(([labels, value]) => [labels.slice(0, labels.indexOf('{')), value]),
  );
}

it('Docker that comes after the agent, and that is started again', { skip }, async (t) => {
  assert.ok('root' in packages);
  const agent = await DeployedAgent.deploy(
    cluster,
    'node-a',
    { METRICS: 'own,missing-container-metrics' },
    'overlays/docker',
  );
  t.after(() => agent.remove());
  const namespace = await TestNamespace.create(t, cluster);
  const socket = cluster.at('run/docker.sock');
  t.after(() => rmSync(socket, { force: true }));
  await using docker = await Docker.start(packages.root, { socket });
  await importVictim(docker);
  const isFollowed = async () => /^oom_witness_container_feed_up\{feed="docker"\} 1$/m.test(await metrics());
  const followed = () => until(isFollowed, 'following Docker');

  /** A container with these labels that is killed, its id. */
  const killed = (name: string, ...labels: readonly string[]) =>
    docker.command(
      ...['run', '--detach', '--network=none', '--memory', String(LIMIT), '--name', name],
      ...labels.flatMap((label) => ['--label', label]),
      ...['victim', '/victim', 'hog', '200', `${namespace.name}-${name}`],
    );

  await followed();
  const id = await killed('cart', 'com.docker.compose.service=cart', 'secret=no');
  const { container, k8s, process, unknown } = await agent.told(`${namespace.name}-cart`);
  const { image, ...own } = container ?? {};
  const labels = { 'com.docker.compose.service': 'cart' };
  assert.deepEqual(own, { id, name: 'cart', runtime: 'docker', labels });
  assert.equal(image?.name, 'victim');
  assert.match(image?.id ?? '', /^sha256:[0-9a-f]{64}$/);
  assert.deepEqual([k8s, unknown], [undefined, undefined]);
  assert.deepEqual(process.command_args, ['/victim', 'hog', '200', `${namespace.name}-cart`]);
  const once = { container_restarts: 0, container_ooms: 1, container_last_exit_code: 137 };
  await until(async () => (await counted(`docker://${id}`)).container_last_exit_code === 137, 'its end');
  assert.deepEqual(await counted(`docker://${id}`), once);

  // Docker knows nothing of the pods.
  await namespace.apply(hogPod('victim', { liveMs: 1000, text: [`${namespace.name}-pod`] }));
  const ofPod = await agent.told(`${namespace.name}-pod`);
  assert.equal(ofPod.k8s?.pod?.name, 'victim');
  const { container: inPod } = ofPod;
  await until(
    async () => (await counted(`containerd://${inPod?.id}`)).container_last_exit_code === 137,
    "the pod's end",
  );
  assert.deepEqual(await counted(`containerd://${inPod?.id}`), once);

  await docker.stopDaemon();
  await until(async () => !(await isFollowed()), 'that Docker is gone');
  await docker.startDaemon();
  await followed();
  const again = await killed('again');
  const told = await agent.told(`${namespace.name}-again`);
  assert.equal(told.container?.name, 'again');
  assert.equal(told.container?.id, again);
});
