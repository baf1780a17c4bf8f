import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { identified } from '../../src/enrich/identity.ts';
import { Owners } from '../../src/enrich/owners.ts';
import { PodLogs } from '../../src/enrich/pod-logs.ts';
import { PodFinder, type PodFinderOptions } from '../../src/enrich/pods.ts';
import type { Incident } from '../../src/incident.ts';
import { PodTable } from '../../src/inventory/pod-table.ts';
import { ApiError, type KubernetesApi } from '../../src/kubernetes/api.ts';
import type { KnownPod } from '../../src/kubernetes/pod.ts';
import { containerKill, valid } from '../incidents.ts';
import { containerId, pod, podContainer, UID } from '../inventory/pods.ts';
import { temporaryFolder } from '../temporary-folder.ts';

const ID = containerId('a');
const HASH = '2b8c9d0e1f2a3b4c5d6e7f8091a2b3c4';

/** As the assembler leaves it. */
function bare(uid = UID, id: string | null = ID): Incident {
  const { container: _, ...incident } = containerKill();
  return valid({
    ...incident,
    ...(id !== null && { container: { id, runtime: 'containerd' } }),
    k8s: { pod: { uid }, qos: 'Burstable' },
  });
}

function noLogs(t: TestContext): string {
  return temporaryFolder(t, 'oom-witness-logs');
}

function finder(t: TestContext, given: Partial<PodFinderOptions> = {}) {
  const pods = new PodTable(() => 0);
  const options = {
    pods,
    owners: undefined,
    logs: new PodLogs([noLogs(t)]),
    problem: () => undefined,
    timeoutMs: 2000,
  };
  const podFinder = new PodFinder({ ...options, ...given });
  const find = async (incident: Incident, signal = AbortSignal.abort()) => {
    const finding = await podFinder.find(incident, signal);
    assert.ok(finding);
    return { ...finding, incident: valid(identified(incident, finding.identity)) };
  };
  return { pods, podFinder, find };
}

describe('the pod and its container', () => {
  it('by the id of the container', async (t) => {
    const { pods, find } = finder(t);
    const side = podContainer({ name: 'side', id: containerId('b') });
    const shop = podContainer({
      id: ID,
      runtime: 'containerd',
      restartCount: 3,
      image: { name: 'shop:1' },
      limits: { memory: '2Gi' },
    });
    pods.apply(pod({ containers: [side, shop], labels: { app: 'shop' }, qos: 'Burstable' }));
    const { incident, isPartial } = await find(bare());
    assert.equal(isPartial, false);
    assert.deepEqual(incident.container, {
      id: ID,
      name: 'shop',
      runtime: 'containerd',
      image: { name: 'shop:1' },
    });
    assert.deepEqual(incident.k8s, {
      namespace: { name: 'web' },
      pod: { name: 'shop-5d8f7c-x2x', uid: UID, labels: { app: 'shop' } },
      container: { name: 'shop', restart_count: 3 },
      node: { name: 'node-7' },
      qos: 'Burstable',
      limits: { memory: '2Gi' },
    });
  });

  it('the only container of a pod, before any status had its id', async (t) => {
    const { pods, find } = finder(t);
    pods.apply(pod());
    assert.equal((await find(bare())).incident.k8s?.container?.name, 'shop');
  });

  it('that has no status yet with the runtime of the others on the node', async (t) => {
    const { pods, find } = finder(t);
    const other = podContainer({ id: containerId('b'), runtime: 'cri-o' });
    pods.apply(pod({ uid: 'other', name: 'other', containers: [other] }));
    pods.apply(pod());
    const { container: _, ...incident } = bare();
    const { container } = (await find({ ...incident, container: { id: ID } })).incident;
    assert.deepEqual(container, { id: ID, name: 'shop', runtime: 'cri-o' });
  });

  it('a static pod by the hash in its cgroup, under its UID of the API', async (t) => {
    const { pods, find } = finder(t);
    pods.apply(pod({ configHash: HASH }));
    assert.equal((await find(bare(HASH))).incident.k8s?.pod?.uid, UID);
  });

  it('as soon as a status brings the id', async (t) => {
    const { pods, find } = finder(t);
    const two = [podContainer(), podContainer({ name: 'side' })];
    pods.apply(pod({ containers: two }));
    const finding = find(bare(), new AbortController().signal);
    pods.apply(pod({ containers: [podContainer(), podContainer({ name: 'side', id: ID })] }));
    assert.equal((await finding).incident.k8s?.container?.name, 'side');
  });

  it('without the container, and why, when none came in time', async (t) => {
    const { pods, find } = finder(t);
    pods.apply(pod({ containers: [podContainer(), podContainer({ name: 'side' })] }));
    const { incident, isPartial } = await find(bare());
    assert.equal(isPartial, true);
    assert.equal(incident.k8s?.pod?.name, 'shop-5d8f7c-x2x');
    assert.match(incident.unknown?.['k8s.container'] ?? '', /did not show within 2 s/);
  });

  it('of a kill by the whole pod the pod alone', async (t) => {
    const { pods, find } = finder(t);
    pods.apply(pod({ containers: [podContainer(), podContainer({ name: 'side' })] }));
    const { incident, isPartial } = await find(bare(UID, null));
    assert.equal(isPartial, false);
    assert.equal(incident.k8s?.container, undefined);
  });
});

describe('without the API', () => {
  it("the names of kubelet's log files tell the pod and the container", async (t) => {
    const logs = noLogs(t);
    mkdirSync(path.join(logs, 'pods', `web_shop-5d8f7c-x2x_${UID}`, 'shop'), { recursive: true });
    const { find } = finder(t, { pods: undefined, logs: new PodLogs([logs]) });
    const { incident, isPartial } = await find(bare());
    assert.equal(isPartial, false, 'nothing better will come');
    assert.equal(incident.k8s?.namespace?.name, 'web');
    assert.equal(incident.k8s?.container?.name, 'shop');
    assert.match(incident.unknown?.['k8s.deployment'] ?? '', /is not used here/);
  });

  it('of several containers the one whose log has the id', async (t) => {
    const logs = noLogs(t);
    for (const name of ['shop', 'side'])
      mkdirSync(path.join(logs, 'pods', `web_shop-5d8f7c-x2x_${UID}`, name), { recursive: true });
    mkdirSync(path.join(logs, 'containers'));
    symlinkSync('nowhere', path.join(logs, 'containers', `shop-5d8f7c-x2x_web_side-${ID}.log`));
    const { find } = finder(t, { pods: undefined, logs: new PodLogs([logs]) });
    assert.equal((await find(bare())).incident.k8s?.container?.name, 'side');
  });

  it('also while the API knows the pod but not yet the container', async (t) => {
    const logs = noLogs(t);
    mkdirSync(path.join(logs, 'containers'));
    symlinkSync('nowhere', path.join(logs, 'containers', `shop-5d8f7c-x2x_web_side-${ID}.log`));
    const { pods, find } = finder(t, { logs: new PodLogs([logs]) });
    pods.apply(pod({ containers: [podContainer(), podContainer({ name: 'side', restartCount: 4 })] }));
    const { incident } = await find(bare(), new AbortController().signal);
    assert.deepEqual(incident.k8s?.container, { name: 'side', restart_count: 4 });
  });

  it('nothing but the UID, and why', async (t) => {
    const { find } = finder(t, { problem: () => 'the API refused the connection' });
    const { incident, isPartial } = await find(bare());
    assert.equal(isPartial, true);
    assert.deepEqual(incident.k8s, { pod: { uid: UID }, qos: 'Burstable' });
    assert.equal(incident.unknown?.k8s, 'the API refused the connection');
  });

  for (const name of ['web_shop', `web_../../etc_${UID}`, `WEB_shop_${UID}`, `_shop_${UID}`])
    it(`a folder called ${name} names nothing`, async (t) => {
      const logs = noLogs(t);
      mkdirSync(path.join(logs, 'pods', name), { recursive: true });
      const { find } = finder(t, { pods: undefined, logs: new PodLogs([logs]) });
      assert.equal((await find(bare())).incident.k8s?.pod?.name, undefined);
    });
});

describe('the workload', () => {
  /** An API that answers with these owners by path, and remembers what it was asked. */
  function api(answers: Readonly<Record<string, unknown>>) {
    const asked: string[] = [];
    const get = async (path: string) => {
      asked.push(path);
      const answer = answers[path];
      if (answer !== undefined) return { metadata: { ownerReferences: answer } };
      throw new ApiError({ status: 404, reason: 'NotFound', message: 'not found' });
    };
    return { asked, api: { get } as unknown as KubernetesApi };
  }
  const ownedBy = (kind: string, name: string, apiVersion = 'apps/v1', templateHash?: string): KnownPod =>
    pod({ owner: { apiVersion, kind, name, ...(templateHash !== undefined && { templateHash }) } });
  const ownersBy = (kubernetes: KubernetesApi) =>
    new Owners({ api: () => kubernetes, now: () => 0, sleep: async () => {} });
  const signal = new AbortController().signal;

  it('a Deployment costs no request', async () => {
    const { api: kubernetes, asked } = api({});
    const owners = ownersBy(kubernetes);
    const owned = ownedBy('ReplicaSet', 'shop-5d8f7c', 'apps/v1', '5d8f7c');
    assert.deepEqual(await owners.workload(owned, signal), { deployment: { name: 'shop' } });
    assert.deepEqual(asked, []);
  });

  it('an owner is of the kind that the author of the pod writes, whatever that is', async () => {
    assert.deepEqual(await ownersBy(api({}).api).workload(ownedBy('constructor', 'shop', 'v1'), signal), {
      owner: { kind: 'constructor', name: 'shop' },
    });
  });

  it("a Job's CronJob and a stranger's ReplicaSet are asked for once", async () => {
    const { api: kubernetes, asked } = api({
      '/apis/batch/v1/namespaces/web/jobs/nightly-29': [
        { kind: 'CronJob', name: 'nightly', controller: true },
      ],
      '/apis/apps/v1/namespaces/web/replicasets/shop-7': [
        { kind: 'Rollout', name: 'shop', controller: true },
      ],
    });
    const owners = ownersBy(kubernetes);
    for (let time = 0; time < 3; time++) {
      assert.deepEqual(await owners.workload(ownedBy('Job', 'nightly-29', 'batch/v1'), signal), {
        cronjob: { name: 'nightly' },
      });
      assert.deepEqual(await owners.workload(ownedBy('ReplicaSet', 'shop-7'), signal), {
        owner: { kind: 'Rollout', name: 'shop' },
      });
    }
    assert.equal(asked.length, 2);
  });

  it('of many kills at once is asked for at a rate that an API server does not notice', async () => {
    let now = 0;
    const asked: number[] = [];
    const get = async () => {
      asked.push(now);
      return { metadata: { ownerReferences: [{ kind: 'CronJob', name: 'nightly', controller: true }] } };
    };
    const sleepers: { readonly until: number; readonly wake: () => void }[] = [];
    const owners = new Owners({
      api: () => ({ get }) as unknown as KubernetesApi,
      now: () => now,
      sleep: (ms) => new Promise<void>((wake) => sleepers.push({ until: now + ms, wake })),
    });
    const jobs = Array.from({ length: 2000 }, (_, index) => ownedBy('Job', `nightly-${index}`, 'batch/v1'));
    const workloads = jobs.map((job) => owners.workload(job, signal));
    for (const { until, wake } of sleepers) {
      now = until;
      wake();
      await setImmediate();
    }
    const found = (await Promise.all(workloads)).filter(({ cronjob }) => cronjob !== undefined);
    assert.equal(found.length, 1024, 'the others have the name of their Job');
    assert.equal(asked.length, 1024);
    const inSecond = (second: number) => asked.filter((time) => Math.floor(time / 1000) === second).length;
    assert.deepEqual([inSecond(0), inSecond(1), inSecond(2)], [79, 50, 50]);
  });

  it('each waits for a shared answer for as long as it may, and no longer', async () => {
    const answer = Promise.withResolvers<object>();
    const kubernetes = { get: () => answer.promise } as unknown as KubernetesApi;
    const owners = ownersBy(kubernetes);
    const job = ownedBy('Job', 'nightly-29', 'batch/v1');
    const short = new AbortController();
    const first = owners.workload(job, short.signal);
    const second = owners.workload(job, signal);
    short.abort();
    assert.deepEqual(await first, { job: { name: 'nightly-29' } });
    answer.resolve({
      metadata: { ownerReferences: [{ kind: 'CronJob', name: 'nightly', controller: true }] },
    });
    assert.deepEqual(await second, { cronjob: { name: 'nightly' } });
    assert.deepEqual(
      await owners.workload(job, short.signal),
      { cronjob: { name: 'nightly' } },
      'known by now',
    );
  });

  it('the owner itself where its owner cannot be read', async () => {
    const owners = ownersBy(api({}).api);
    assert.deepEqual(await owners.workload(ownedBy('Job', 'once', 'batch/v1'), signal), {
      job: { name: 'once' },
    });
    assert.deepEqual(await owners.workload(ownedBy('ReplicaSet', 'bare'), signal), {
      owner: { kind: 'ReplicaSet', name: 'bare' },
    });
  });

  it('the owner itself for half a minute after the API failed, and no longer when the clock is set back', async () => {
    let now = Date.parse('2026-11-21T03:15:00Z');
    let asked = 0;
    const get = async () => {
      asked += 1;
      throw new Error('no answer');
    };
    const api = () => ({ get }) as unknown as KubernetesApi;
    const owners = new Owners({ api, now: () => now, sleep: async () => {} });
    const job = ownedBy('Job', 'nightly-29', 'batch/v1');
    for (const [passedMs, questions] of [
      [0, 1],
      [29_999, 1],
      [1, 2],
      [-86_400_000, 3],
    ] as const) {
      now += passedMs;
      assert.deepEqual(await owners.workload(job, signal), { job: { name: 'nightly-29' } });
      assert.equal(asked, questions);
    }
  });

  it('of many whose owner cannot be read the newest are remembered', async () => {
    const { api: kubernetes, asked } = api({});
    const owners = ownersBy(kubernetes);
    const jobs = Array.from({ length: 600 }, (_, index) => ownedBy('Job', `once-${index}`, 'batch/v1'));
    await Promise.all(jobs.map((job) => owners.workload(job, signal)));
    assert.equal(asked.length, 600);
    for (const job of [jobs[599], jobs[0]]) await owners.workload(job ?? assert.fail(), signal);
    assert.deepEqual(asked.slice(600), ['/apis/batch/v1/namespaces/web/jobs/once-0']);
  });

  it('others by their kind, and none for a static pod', async () => {
    const owners = ownersBy(api({}).api);
    assert.deepEqual(await owners.workload(ownedBy('StatefulSet', 'db'), signal), {
      statefulset: { name: 'db' },
    });
    assert.deepEqual(await owners.workload(ownedBy('DaemonSet', 'log'), signal), {
      daemonset: { name: 'log' },
    });
    assert.deepEqual(await owners.workload(ownedBy('Workflow', 'w', 'argoproj.io/v1alpha1'), signal), {
      owner: { kind: 'Workflow', name: 'w' },
    });
    assert.deepEqual(await owners.workload(ownedBy('Node', 'node-7', 'v1'), signal), {});
    assert.deepEqual(await owners.workload(pod(), signal), {});
  });

  it('a name or an API version that leads elsewhere is not followed', async () => {
    const { api: kubernetes, asked } = api({});
    const owners = ownersBy(kubernetes);
    await owners.workload(ownedBy('Job', '../../secrets/x', 'batch/v1'), signal);
    await owners.workload(ownedBy('Job', 'x', '../../api/v1'), signal);
    assert.deepEqual(asked, ['/apis/batch/v1/namespaces/web/jobs/..%2F..%2Fsecrets%2Fx']);
  });
});
