/**
 * 200 kills in pods that are deleted as soon as anything is known of their end: how many are named right, and how long after the
 * kernel's time stamp the Event is there for those who watch. On a real node: `npm run bench -- --only short-lived-pods`.
 */
import { after, before, it } from 'node:test';
import { connect } from '../src/kubernetes/connection.ts';
import { DeployedAgent } from '../test/kubernetes/agent/deployed-agent.ts';
import { type EventObject, runningCluster, TestNamespace } from '../test/kubernetes/cluster-test.ts';
import { hogPod } from '../test/kubernetes/pods.ts';
import { percentile, printTable } from './table.ts';

const KILLS = 200;
/** A node of two cores starts some four pods a second. */
const AT_A_TIME = 8;
const PATIENCE_MS = 60_000;

const cluster = runningCluster();
let agent: DeployedAgent;
before(async () => {
  agent = await DeployedAgent.deploy(cluster);
});
after(() => agent?.remove());

it(`${KILLS} kills in pods that are deleted at once`, { timeout: 900_000 }, async (t) => {
  const namespace = await TestNamespace.create(t, cluster);
  const api = await connect({ kubeconfig: cluster.kubeconfig });
  t.after(() => api.close());
  const path = `/api/v1/namespaces/${namespace.name}`;
  /** Pod -> when its Event was there, Unix time in ms. */
  const visible = new Map<string, number>();
  const killed = new Map<string, () => void>();
  const seen = (event: EventObject) => {
    const { name } = event.involvedObject;
    if (event.reason !== 'OOMKilled' || visible.has(name)) return;
    visible.set(name, Date.now());
    killed.get(name)?.();
  };
  const stop = new AbortController();
  const watching = (async () => {
    const selection = { resourceVersion: '0', bookmarks: true } as const;
    for await (const { object } of api.watch<EventObject>(`${path}/events`, selection, stop.signal))
      seen(object);
  })().catch((error) => {
    if (!stop.signal.aborted) throw error;
  });

  const kill = async (name: string): Promise<void> => {
    const gone = Promise.withResolvers<void>();
    killed.set(name, gone.resolve);
    const patience = setTimeout(gone.resolve, PATIENCE_MS);
    await api.create(`${path}/pods`, hogPod(name, { text: [name] }));
    await gone.promise;
    clearTimeout(patience);
    await namespace.kubectl('delete', 'pod', name, '--force', '--grace-period=0', '--wait=false');
  };
  const names = Array.from({ length: KILLS }, (_, n) => `victim-${n}`);
  const left = names.values();
  await Promise.all(
    Array.from({ length: AT_A_TIME }, async () => {
      for (const name of left) await kill(name);
    }),
  );
  stop.abort();
  await watching;

  const incidents = await agent.incidents();
  const of = (name: string) => incidents.filter(({ k8s }) => k8s?.pod?.name === name);
  const right = names.filter((name) => {
    const [incident, second] = of(name);
    const { k8s } = incident ?? {};
    const where = [k8s?.namespace?.name, k8s?.pod?.name, k8s?.container?.name].join('/');
    return second === undefined && where === `${namespace.name}/${name}/hog`;
  });
  // They live for the 10 ms that it takes to fill 32 MiB.
  const withCommand = right.filter((name) => of(name)[0]?.process.command_args?.at(-1) === name);
  const wrong = right.filter((name) => (of(name)[0]?.process.command_args?.at(-1) ?? name) !== name);
  const late = names.flatMap((name) => {
    const at = visible.get(name);
    const [incident] = of(name);
    return at === undefined || incident === undefined ? [] : [at - Date.parse(incident.time)];
  });
  printTable(
    `${KILLS} kills in pods that are deleted at once`,
    ['', 'measured', 'target'],
    [
      ['told once, with namespace, pod and container, %', ((100 * right.length) / KILLS).toFixed(1), '100'],
      ['of those with the command line, %', ((100 * withCommand.length) / KILLS).toFixed(1), ''],
      ['of those with a wrong one', wrong.length, '0'],
      ['Events seen', visible.size, KILLS],
      ['kernel time stamp -> Event, p50, ms', percentile(late, 0.5), ''],
      ['kernel time stamp -> Event, p99, ms', percentile(late, 0.99), ''],
    ],
  );
});
