/**
 * What following a node's pods costs: memory, CPU and requests of one agent with 250 pods through 10,000 updates, against a server in
 * this process that is held to the contract of a real one (test/kubernetes/api-contract.ts). And on paper: a cluster of 5,000 nodes.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { ApiDouble } from '../test/kubernetes/api-double.ts';
import type { ApiObject } from '../test/kubernetes/object-store.ts';
import { BenchAgent } from './agent.ts';
import { printTable } from './table.ts';

const PODS = 250;
const UPDATES = 10_000;
/** Of one pod: kubelet restarts a container at most every 10 s, and tells of its conditions more often. */
const UPDATES_PER_RESTART = 20;
/** More than a whole cluster of 5,000 nodes sees of one node. */
const UPDATES_PER_SECOND = 500;
const TURN_MS = 20;
const REST_MS = 60_000;
const NODE = 'node-a';
const NODES = 5_000;
/** A watch is asked for 5 to 10 minutes. */
const WATCHES_PER_HOUR = 60 / 7.5;

/** Sees a service account where a pod has it, which a kubeconfig would not show: reading one costs a parser of YAML. */
const AS_A_POD = `
  mount -t tmpfs none /run
  mkdir -p /run/secrets/kubernetes.io/serviceaccount
  cp "$0" /run/secrets/kubernetes.io/serviceaccount/ca.crt
  printf first-token > /run/secrets/kubernetes.io/serviceaccount/token
  exec "$@"
`;

/** As a real API server has it, with what makes real pods large: its managed fields. */
function podTemplate(): ApiObject {
  const file = new URL('../test/fixtures/kubernetes/pods.json', import.meta.url);
  const [pod] = JSON.parse(readFileSync(file, 'utf8')).items;
  const fieldsV1 = Object.fromEntries(
    Array.from({ length: 60 }, (_, n) => [`f:field-${n}`, { '.': {}, 'f:value': {}, 'f:other': {} }]),
  );
  pod.metadata.managedFields = [{ manager: 'kubelet', operation: 'Update', fieldsV1 }];
  pod.metadata.labels = { app: 'shop', 'pod-template-hash': '5d8f7c', team: 'web' };
  pod.metadata.ownerReferences = [
    { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'shop-5d8f7c', controller: true },
  ];
  pod.spec.nodeName = NODE;
  return pod;
}

export async function benchKubernetes(): Promise<void> {
  process.stderr.write(`kubernetes: ${PODS} pods, ${UPDATES} updates ...\n`);
  const cleaning: (() => unknown)[] = [];
  const api = await ApiDouble.start({ after: (clean) => cleaning.push(clean) });
  const template = podTemplate();
  const put = (n: number, update: number) => {
    const restartCount = Math.floor(update / UPDATES_PER_RESTART);
    const pod = structuredClone(template);
    for (const condition of pod.status.conditions) condition.lastProbeTime = new Date(update).toISOString();
    pod.metadata.uid = `0f6c1f0e-7d3c-4d7a-9b1e-${String(n).padStart(12, '0')}`;
    pod.status.containerStatuses[0].restartCount = restartCount;
    pod.status.containerStatuses[0].containerID = `containerd://${`${n}-${restartCount}`.padEnd(64, '0')}`;
    api.put(`/api/v1/namespaces/web/pods/shop-${n}`, pod);
  };
  for (let n = 0; n < PODS; n++) put(n, 0);
  const bytes = JSON.stringify(api.object('/api/v1/namespaces/web/pods/shop-0')).length;

  const { agent: bare } = await BenchAgent.start({ stdout: 'off', args: ['--kubernetes', 'off'] });
  const { hostname, port } = new URL(api.url);
  const { agent } = await BenchAgent.start({
    stdout: 'off',
    args: ['--node-name', NODE, '--kubernetes-events', 'off'],
    wrapper: ['unshare', '--mount', 'sh', '-ec', AS_A_POD, api.certificates.ca],
    env: { KUBERNETES_SERVICE_HOST: hostname, KUBERNETES_SERVICE_PORT: port },
  });
  await sleep(REST_MS);
  const [without, idle] = [bare.memory(), agent.memory()];
  const requests = api.requests.length;
  const before = { agent: agent.cpuMs(), bare: bare.cpuMs() };
  const perTurn = (UPDATES_PER_SECOND * TURN_MS) / 1000;
  for (let update = 0; update < UPDATES; update++) {
    put(update % PODS, 1 + Math.floor(update / PODS));
    if (update % perTurn === perTurn - 1) await sleep(TURN_MS);
  }
  await sleep(1000);
  const busy = agent.memory();
  const cpu = agent.cpuMs() - before.agent - (bare.cpuMs() - before.bare);
  // The agent looks for memory to give back once a minute.
  await sleep(REST_MS + 5_000);
  const after = agent.memory();
  printTable(
    `Following ${PODS} pods of ${(bytes / 1024).toFixed(1)} KiB`,
    ['', 'RSS, MB', 'anonymous, MB'],
    [
      ['without Kubernetes, after 60 s', without.rss.toFixed(1), without.anonymous.toFixed(1)],
      ['pods known, after 60 s (target 67, 21)', idle.rss.toFixed(1), idle.anonymous.toFixed(1)],
      [
        `after ${UPDATES} updates, a restart in ${UPDATES_PER_RESTART}`,
        busy.rss.toFixed(1),
        busy.anonymous.toFixed(1),
      ],
      ['65 s later', after.rss.toFixed(1), after.anonymous.toFixed(1)],
    ],
  );
  printTable(
    'Cost',
    ['', 'measured'],
    [
      ['CPU for each update, µs', ((1000 * cpu) / UPDATES).toFixed(0)],
      ['requests until the pods were known', requests],
      ['requests during the updates', api.requests.length - requests],
      ['connections', api.connections],
    ],
  );
  printTable(
    `On paper: ${NODES} nodes`,
    ['', ''],
    [
      ['watches open at the API server', NODES],
      [
        'requests a second (watches that end after 5 to 10 minutes)',
        ((NODES * WATCHES_PER_HOUR) / 3600).toFixed(1),
      ],
      ['all agents at once list, MiB of JSON', ((NODES * PODS * bytes) / 1024 / 1024).toFixed(0)],
      ['the same at 30 pods a node', ((NODES * 30 * bytes) / 1024 / 1024).toFixed(0)],
      ['requests of its own for each kill of a Deployment (its Event)', 1],
    ],
  );
  await agent.stop();
  await bare.stop();
  for (const clean of cleaning.reverse()) await clean();
}
