import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { Events } from '../src/events.ts';
import type { Incident } from '../src/incident.ts';
import type { KubernetesApi } from '../src/kubernetes/api.ts';
import { Metrics } from '../src/metrics.ts';
import { Store } from '../src/store.ts';
import { Surroundings } from '../src/surroundings.ts';
import { VirtualTime } from './deliver/virtual-time.ts';
import { containerKill, HOST, numbered, valid } from './incidents.ts';
import { containerId, oomKilled, pod, podContainer, UID } from './inventory/pods.ts';

const ID = containerId('a');

/** The store and metrics of an agent, and what is around it, with nothing connected. */
function setup(t: TestContext, useKubernetes = true, dockerSocket = 'off') {
  const time = new VirtualTime();
  const metrics = new Metrics({ version: '1', node: '26', sinks: ['kafka'], now: time.now });
  const events = new Events(() => {}, metrics, time.now);
  const store = Store.open({ stateDir: undefined, sinks: ['kafka'], now: time.now, observer: events.store });
  t.after(() => store.close());
  const ready: Incident[] = [];
  const commit = (incident: Incident) => {
    surroundings.committed(store.commit([incident], undefined, (each) => surroundings.heldUntil(each)));
  };
  const surroundings: Surroundings = new Surroundings({
    settings: {
      ...{ dockerSocket, containerdSocket: 'off', metrics: new Set(), replace: new Set() },
      ...{ useKubernetes, kubeconfig: '/nowhere/config', nodeName: 'node-7' },
      ...{ podLabels: new Set(), podAnnotations: new Set(), enrichTimeout: 2000 },
    },
    logs: [],
    roots: [],
    host: HOST,
    kernelSees: () => true,
    store,
    series: metrics.kills,
    events,
    enriched: (incident) => ready.push(incident),
    commit,
    now: time.now,
    sleep: time.sleep,
    random: () => 0.5,
  });
  t.after(() => surroundings.stop());
  const kills = async (labels: string) => {
    const series = `oom_witness_kills_total{${labels},scope="cgroup"} `;
    const line = (await metrics.scrape()).split('\n').find((each) => each.startsWith(series));
    return line && Number(line.slice(series.length));
  };
  return { time, store, surroundings, commit, ready, kills };
}

function bare(): Incident {
  const { k8s: _, ...incident } = containerKill();
  return valid({ ...incident, container: { id: ID }, k8s: { pod: { uid: UID } } });
}

const SHOP = 'namespace="web",pod="shop-5d8f7c-x2x",container="shop"';

describe('a kill in a pod', () => {
  it('is named before it is delivered, and counted for its container, whose series was there with 0', async (t) => {
    const { surroundings, commit, ready, kills, store, time } = setup(t);
    surroundings.pods.table.apply(pod({ containers: [podContainer({ id: ID, running: true })] }));
    assert.equal(await kills(SHOP), 0);
    commit(bare());
    assert.deepEqual(store.pending('kafka', 1), [], 'held');
    await time.rest();
    assert.equal(ready[0]?.k8s?.pod?.name, 'shop-5d8f7c-x2x');
    assert.equal(store.pending('kafka', 1)[0]?.delivery.incident.k8s?.pod?.name, 'shop-5d8f7c-x2x');
    assert.equal(await kills(SHOP), 1);
  });

  it('gets the word of the cluster when that comes', async (t) => {
    const { surroundings, commit, store, time } = setup(t);
    surroundings.pods.table.apply(pod({ containers: [podContainer({ id: ID, running: true })] }));
    commit(bare());
    await time.rest();
    surroundings.pods.table.apply(pod({ containers: [podContainer({ id: ID, terminated: oomKilled(ID) })] }));
    assert.deepEqual(store.get(bare().id)?.witness, ['kmsg', 'kubernetes']);
  });

  it('gets no word of a cluster that is not asked', async (t) => {
    const { commit, store, time } = setup(t, false);
    commit(bare());
    await time.advance(120_000);
    assert.equal(store.get(bare().id)?.unknown?.k8s, 'the API of Kubernetes is not used here');
    assert.equal(store.get(bare().id)?.statements, undefined);
  });

  it('that only the status tells of is an incident after ten seconds, once, also after a restart', async (t) => {
    const { surroundings, ready, time } = setup(t);
    const finishedAt = new Date(time.now()).toISOString();
    const end = { ...oomKilled(ID), finishedAt };
    surroundings.pods.table.apply(pod({ containers: [podContainer({ id: ID, terminated: end })] }));
    await time.advance(10_000);
    surroundings.pods.table.apply(
      pod({ containers: [podContainer({ id: ID, terminated: end })], ready: false }),
    );
    await time.advance(60_000);
    assert.deepEqual(
      ready.map(({ witness, k8s }) => [witness, k8s?.pod?.name]),
      [[['kubernetes'], 'shop-5d8f7c-x2x']],
    );
  });
});

describe('a kill of which nobody knows where it was', () => {
  /** As of a kernel that left out the header, of a process that nobody had time to look at. */
  const unplaced = (time: number, sequence = 1): Incident => {
    const { container: _, k8s: __, ...incident } = numbered(containerKill(), sequence);
    const victims = incident.victims.map(({ process: { cgroup: ___, ...process }, ...rest }) => ({
      ...rest,
      process,
    }));
    const { process } = victims[0] ?? assert.fail();
    return valid({ ...incident, time: new Date(time).toISOString(), process, victims });
  };
  const ends = ({ surroundings, time }: ReturnType<typeof setup>, name: string, digit: string) => {
    const terminated = oomKilled(containerId(digit), new Date(time.now()).toISOString());
    surroundings.pods.table.apply(pod({ uid: name, name, containers: [podContainer({ terminated })] }));
  };
  const told = ({ ready, store }: ReturnType<typeof setup>) =>
    ready.map(({ id, k8s }) => [k8s?.pod?.name, store.get(id)?.witness]);

  it('was in the only container that was OOM killed then: the status and the kernel tell of one kill', async (t) => {
    const agent = setup(t);
    agent.commit(unplaced(agent.time.now()));
    await agent.time.advance(1000);
    ends(agent, 'shop-1', 'a');
    await agent.time.advance(60_000);
    assert.deepEqual(told(agent), [['shop-1', ['kmsg', 'kubernetes']]]);
    assert.equal(agent.ready[0]?.container?.id, containerId('a'));
    assert.match(agent.ready[0]?.unknown?.['process.cgroup'] ?? '', /only ones that were OOM killed/);
  });

  it('is one of the CronJob, not of its Job', async (t) => {
    const agent = setup(t);
    const { surroundings, time } = agent;
    const ownerReferences = [{ kind: 'CronJob', name: 'nightly', controller: true }];
    const api = { get: async () => ({ metadata: { ownerReferences } }) } as unknown as KubernetesApi;
    t.mock.getter(surroundings.pods, 'api', () => api);
    agent.commit(unplaced(time.now()));
    const terminated = oomKilled(ID, new Date(time.now()).toISOString());
    const owner = { apiVersion: 'batch/v1', kind: 'Job', name: 'nightly-29' };
    surroundings.pods.table.apply(pod({ owner, containers: [podContainer({ terminated })] }));
    await time.advance(60_000);
    assert.deepEqual(agent.ready[0]?.k8s?.cronjob, { name: 'nightly' });
  });

  it('is told by itself where two containers were', async (t) => {
    const agent = setup(t);
    agent.commit(unplaced(agent.time.now()));
    ends(agent, 'shop-1', 'a');
    ends(agent, 'shop-2', 'b');
    await agent.time.advance(60_000);
    assert.deepEqual(told(agent), [
      [undefined, ['kmsg']],
      ['shop-1', ['kubernetes']],
      ['shop-2', ['kubernetes']],
    ]);
  });

  it('is told by itself where two kills could be it, also when the first has been given up', async (t) => {
    const agent = setup(t);
    agent.commit(unplaced(agent.time.now(), 1));
    await agent.time.advance(1500);
    ends(agent, 'shop-1', 'a');
    agent.commit(unplaced(agent.time.now(), 2));
    await agent.time.advance(60_000);
    assert.deepEqual(told(agent), [
      [undefined, ['kmsg']],
      [undefined, ['kmsg']],
      ['shop-1', ['kubernetes']],
    ]);
  });

  it('is told by itself where records of the kernel were lost then', async (t) => {
    const agent = setup(t);
    agent.commit(unplaced(agent.time.now()));
    ends(agent, 'shop-1', 'a');
    agent.surroundings.gap();
    await agent.time.advance(60_000);
    assert.deepEqual(told(agent), [
      [undefined, ['kmsg']],
      ['shop-1', ['kubernetes']],
    ]);
  });

  it('was not in a container of whose kill the kernel told, nor in one that ended at another time', async (t) => {
    const agent = setup(t);
    ends(agent, 'before', 'a');
    await agent.time.advance(2001);
    agent.commit(unplaced(agent.time.now(), 1));
    agent.commit({ ...containerKill(), container: { id: containerId('b'), name: 'shop' } });
    ends(agent, 'explained', 'b');
    await agent.time.advance(60_000);
    assert.deepEqual(told(agent), [
      ['shop-5d8f7c-x2x', ['kmsg', 'kubernetes']],
      [undefined, ['kmsg']],
      ['before', ['kubernetes']],
    ]);
  });

  it('was in no container of this machine when another one’s log told of it', async (t) => {
    const agent = setup(t);
    agent.commit({ ...unplaced(agent.time.now()), host: { name: 'database-3' } });
    ends(agent, 'shop-1', 'a');
    await agent.time.advance(60_000);
    assert.deepEqual(told(agent), [
      [undefined, ['kmsg']],
      ['shop-1', ['kubernetes']],
    ]);
  });

  it('waits for no status when it was a minute ago', async (t) => {
    const agent = setup(t);
    agent.commit(unplaced(agent.time.now() - 60_001));
    await agent.time.rest();
    assert.deepEqual(told(agent), [[undefined, ['kmsg']]]);
  });

  it('does not wait for a status that comes later than deliveries wait', async (t) => {
    const agent = setup(t);
    agent.commit(unplaced(agent.time.now()));
    await agent.time.advance(2000);
    assert.deepEqual(told(agent), [[undefined, ['kmsg']]]);
    ends(agent, 'shop-1', 'a');
    await agent.time.advance(60_000);
    assert.deepEqual(told(agent), [
      [undefined, ['kmsg']],
      ['shop-1', ['kubernetes']],
    ]);
  });
});

it('a kill from before its runtime was connected waits for its name', async (t) => {
  const { surroundings, commit, ready, time } = setup(t, false, '/nobody-listens.sock');
  const { k8s: _, ...incident } = bare();
  commit(valid(incident));
  await time.rest();
  surroundings.containers.table.identify('docker', { id: ID, runtime: 'docker', name: 'shop', labels: {} });
  await time.rest();
  assert.equal(ready[0]?.container?.name, 'shop');
});

it('the word of the cluster on a kill may come after a restart of the agent', async (t) => {
  const { surroundings, store, time } = setup(t);
  const kill = valid({ ...containerKill(), time: new Date(time.now()).toISOString(), container: { id: ID } });
  store.commit([kill]);
  await surroundings.start();
  surroundings.pods.table.apply(pod({ containers: [podContainer({ id: ID, terminated: oomKilled(ID) })] }));
  assert.deepEqual(store.get(kill.id)?.witness, ['kmsg', 'kubernetes']);
});

it('the end of a container in the future makes nothing old news', async (t) => {
  const { surroundings, store, time } = setup(t);
  const end = (finishedAt: string, id: string) =>
    surroundings.pods.table.apply(
      pod({ containers: [podContainer({ id, terminated: oomKilled(id, finishedAt) })] }),
    );
  const now = new Date(time.now()).toISOString();
  end(now, containerId('a'));
  end('2099-01-01T00:00:00Z', containerId('b'));
  assert.equal(store.bookmark('pod status'), now);
});

it('what only the cluster told of is stored before the agent ends, and nothing afterwards', async (t) => {
  const { surroundings, ready, time } = setup(t);
  const end = { reason: 'OOMKilled', exitCode: 137, finishedAt: new Date(time.now()).toISOString() };
  const owner = { apiVersion: 'batch/v1', kind: 'Job', name: 'nightly-29' };
  const apply = (name: string) =>
    surroundings.pods.table.apply(
      pod({ uid: name, name, owner, containers: [podContainer({ terminated: end })] }),
    );
  apply('before');
  await surroundings.stop();
  apply('after');
  await time.rest();
  assert.deepEqual(
    ready.map(({ k8s }) => k8s?.pod?.name),
    ['before'],
  );
});

it('a host process does not wait for anything', async (t) => {
  const { commit, store } = setup(t, false);
  const { container: _, k8s: __, ...incident } = containerKill();
  commit(valid(incident));
  assert.equal(store.pending('kafka', 1).length, 1);
});

it('every Prometheus that scrapes within ten minutes of the end of a pod reads its last kill', async (t) => {
  const { surroundings, commit, kills, time } = setup(t);
  const { table } = surroundings.pods;
  table.apply(pod({ containers: [podContainer({ id: ID, running: true })] }));
  commit(bare());
  await time.rest();
  table.remove(UID);
  for (let minute = 0; minute < 10; minute++) {
    table.apply(pod({ uid: 'other', name: 'other' }));
    assert.equal(await kills(SHOP), 1, `after ${minute} minutes`);
    await time.advance(60_000);
  }
  table.apply(pod({ uid: 'other', name: 'other' }));
  await kills(SHOP);
  assert.equal(await kills(SHOP), undefined);
});

it('a container without Kubernetes has a series of its own, from its first sight until it is forgotten', async (t) => {
  const { surroundings, kills, time } = setup(t, false);
  const { table } = surroundings.containers;
  table.identify('docker', { id: ID, runtime: 'docker', name: 'shop', labels: {} });
  const series = 'namespace="",pod="",container="shop"';
  assert.equal(await kills(series), 0);
  table.gone(ID, time.now());
  await time.advance(300_001);
  table.get(ID);
  await kills(series);
  assert.equal(await kills(series), undefined);
});
