import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { decodeProgress, encodeProgress } from '../src/cluster-watch/backlog.ts';
import { annotationOf } from '../src/kubernetes/lease-record.ts';
import { AgentProcess } from './agent-process.ts';
import { ApiDouble } from './kubernetes/api-double.ts';
import type { ApiObject } from './kubernetes/object-store.ts';
import { freePort } from './servers/free-ports.ts';
import { until } from './sinks/contract.ts';

const LEASE = '/apis/coordination.k8s.io/v1/namespaces/oom-witness/leases/oom-witness-watch';
const AGENT = { 'app.kubernetes.io/name': 'oom-witness', 'app.kubernetes.io/component': 'agent' };

/** As the API has it: whole seconds. */
function time(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
}

interface Ended {
  readonly name: string;
  readonly node?: string;
  readonly at?: number;
  readonly reason?: string;
  /** The Job that made the pod. */
  readonly job?: string;
}

function controller(kind: string, name: string): object {
  return { apiVersion: 'batch/v1', kind, name, controller: true };
}

class Cluster {
  readonly api: ApiDouble;
  readonly #t: TestContext;

  private constructor(t: TestContext, api: ApiDouble) {
    this.#t = t;
    this.api = api;
  }

  static async start(t: TestContext): Promise<Cluster> {
    return new Cluster(t, await ApiDouble.start(t));
  }

  /** A pod whose only container has ended. */
  ended({ name, node = 'node-7', at = Date.now(), reason = 'OOMKilled', job }: Ended): void {
    const id = `containerd://${Buffer.from(name).toString('hex').padEnd(64, '0')}`;
    const terminated = { containerID: id, reason, exitCode: 137, finishedAt: time(at) };
    this.api.put(`/api/v1/namespaces/web/pods/${name}`, {
      metadata: {
        name,
        namespace: 'web',
        uid: `uid-of-${name}`,
        ...(job !== undefined && { ownerReferences: [controller('Job', job)] }),
      },
      spec: { nodeName: node, containers: [{ name: 'shop', resources: { limits: { memory: '64Mi' } } }] },
      status: {
        containerStatuses: [{ name: 'shop', containerID: id, restartCount: 0, state: { terminated } }],
      },
    });
  }

  /** A pod whose container has ended and runs again. */
  restarted(name: string): void {
    this.ended({ name });
    const path = `/api/v1/namespaces/web/pods/${name}`;
    const pod = structuredClone(this.api.object(path));
    const [status] = pod?.status.containerStatuses ?? [];
    Object.assign(status, {
      containerID: `containerd://${'b'.repeat(64)}`,
      restartCount: 1,
      lastState: status.state,
      state: { running: {} },
    });
    this.api.put(path, pod as ApiObject);
  }

  /** A pod whose container runs for the first time. */
  started(name: string): void {
    this.ended({ name });
    const path = `/api/v1/namespaces/web/pods/${name}`;
    const pod = structuredClone(this.api.object(path));
    Object.assign(pod?.status.containerStatuses[0], { state: { running: {} } });
    this.api.put(path, pod as ApiObject);
  }

  job(name: string, cronJob: string): void {
    const metadata = { name, namespace: 'web', ownerReferences: [controller('CronJob', cronJob)] };
    this.api.put(`/apis/batch/v1/namespaces/web/jobs/${name}`, { metadata });
  }

  /** The last holder of the lease has delivered nothing since then. */
  leftSince(since: number): void {
    const note = encodeProgress({ since, done: new Set() });
    const annotations = { 'oom-witness.io/delivered': note };
    const metadata = { name: 'oom-witness-watch', namespace: 'oom-witness', annotations };
    this.api.put(LEASE, { metadata, spec: { holderIdentity: '', leaseTransitions: 1 } });
  }

  /** Resolves with the first Event of this reason. */
  event(reason: string): Promise<ApiObject> {
    return new Promise((resolve) => {
      const stop = this.api.store.listen(({ after }) => {
        if (after?.reason !== reason) return;
        stop();
        resolve(after);
      });
    });
  }

  /** A pod of the DaemonSet. */
  agentOn(node: string): void {
    this.api.put(`/api/v1/namespaces/oom-witness/pods/agent-${node}`, {
      metadata: { name: `agent-${node}`, namespace: 'oom-witness', uid: `agent-${node}`, labels: AGENT },
      spec: { nodeName: node, containers: [{ name: 'oom-witness' }] },
      status: { conditions: [{ type: 'Ready', status: 'True' }] },
    });
  }

  /** Resolves when the lease says that so many are delivered. */
  noted(count: number): Promise<void> {
    return new Promise((resolve) => {
      const stop = this.api.store.listen(() => look());
      const look = () => {
        const note = annotationOf(this.api.object(LEASE), 'oom-witness.io/delivered') ?? '';
        if ((decodeProgress(note)?.done.size ?? 0) < count) return;
        stop();
        resolve();
      };
      look();
    });
  }

  replica(more: readonly string[] = []): AgentProcess {
    const args = ['watch', '--kubeconfig', this.api.kubeconfig(), '--kubernetes-events', 'off', ...more];
    return AgentProcess.launch(this.#t, { args });
  }

  /** That holds the lease. */
  async leader(): Promise<AgentProcess> {
    const replica = this.replica();
    await replica.until(() => said(replica, 'the lease is held: delivering'), 'holding the lease');
    return replica;
  }

  /** That waits for the lease and knows the pods. */
  async waiting(): Promise<AgentProcess> {
    const replica = this.replica();
    await replica.until(
      () => said(replica, 'the lease is held by another: waiting') && said(replica, 'listed'),
      'waiting',
    );
    return replica;
  }
}

function said(replica: AgentProcess, message: string): boolean {
  return replica.log.some(({ msg }) => msg === message);
}

function told(...replicas: readonly AgentProcess[]): (string | undefined)[] {
  return replicas.flatMap(({ incidents }) => incidents.map(({ k8s }) => k8s?.pod?.name)).sort();
}

describe('oom-witness watch', () => {
  it('ends where there is no cluster, and says that nothing is seen without one', async (t) => {
    const replica = AgentProcess.launch(t, { args: ['watch'] });
    assert.equal(await replica.exited(), 1);
    const line = replica.log.find(({ msg }) => msg === 'no connection to Kubernetes');
    assert.match(String(line?.reason), /Add --kubeconfig PATH\.$/);
    assert.equal(line?.cost, 'kills are not seen');
  });

  it('tells what the status of a pod says, and that nobody saw it', async (t) => {
    const cluster = await Cluster.start(t);
    const replica = await cluster.leader();
    cluster.ended({ name: 'shop-1' });
    await replica.until(() => replica.incidents.length > 0, 'telling it');
    const [incident] = replica.incidents;
    assert.equal(incident?.kind, 'oom_kill');
    assert.deepEqual(incident?.witness, ['kubernetes']);
    assert.equal(incident?.host.name, 'node-7');
    assert.deepEqual(incident?.k8s?.limits, { memory: '64Mi' });
    assert.equal(incident?.statements?.[0]?.says, 'OOMKilled, exit code 137');
    assert.match(incident?.unknown?.process ?? '', /names no process/);
  });

  it('leaves old ends, other ends, and nodes with an agent of their own', async (t) => {
    const cluster = await Cluster.start(t);
    cluster.agentOn('node-8');
    cluster.ended({ name: 'old', at: Date.now() - 60_000 });
    const replica = await cluster.leader();
    cluster.ended({ name: 'seen-by-the-agent', node: 'node-8' });
    cluster.ended({ name: 'no-oom', reason: 'Error' });
    cluster.ended({ name: 'shop-1' });
    await replica.until(() => replica.incidents.length > 0, 'telling one');
    assert.deepEqual(told(replica), ['shop-1']);
  });

  it('one of two delivers; the other goes on where it stops, nothing lost and nothing twice', async (t) => {
    const cluster = await Cluster.start(t);
    const first = await cluster.leader();
    const second = await cluster.waiting();
    for (const name of ['a', 'b', 'c']) cluster.ended({ name });
    await first.until(() => first.incidents.length === 3, 'telling all');
    assert.equal(await first.terminate(), 0);
    cluster.ended({ name: 'd' });
    await second.until(() => second.incidents.length > 0, 'taking over');
    assert.deepEqual(told(first, second), ['a', 'b', 'c', 'd']);
  });

  it('nothing twice, however many a rollout has killed', async (t) => {
    const cluster = await Cluster.start(t);
    const first = await cluster.leader();
    const second = await cluster.waiting();
    const kills = 1500;
    for (let pod = 0; pod < kills; pod++) cluster.ended({ name: `shop-${pod}` });
    await first.until(() => first.incidents.length === kills, 'telling all');
    assert.equal(await first.terminate(), 0);
    cluster.ended({ name: 'last' });
    await second.until(() => told(second).includes('last'), 'taking over');
    assert.deepEqual(told(second), ['last']);
  });

  it('after a kill -9 too: what happened while nobody delivered is told by the next', async (t) => {
    const cluster = await Cluster.start(t);
    const first = await cluster.leader();
    const second = await cluster.waiting();
    cluster.ended({ name: 'a' });
    await first.until(() => first.incidents.length === 1, 'telling it');
    await cluster.noted(1);
    await first.kill9();
    cluster.ended({ name: 'b' });
    await second.until(() => second.incidents.length > 0, 'taking over');
    assert.deepEqual(told(second), ['b']);
  });

  it('a backlog is told with all names, and looked up at a rate that the API server does not notice', async (t) => {
    const cluster = await Cluster.start(t);
    const names = Array.from({ length: 130 }, (_, index) => `job-${index}`);
    for (const name of names) {
      cluster.job(name, `cron-${name}`);
      cluster.ended({ name, job: name });
    }
    cluster.leftSince(Date.now() - 60_000);
    const replica = await cluster.leader();
    await replica.until(() => replica.incidents.length === names.length, 'telling all');
    assert.deepEqual(
      replica.incidents.map(({ k8s }) => k8s?.cronjob?.name).sort(),
      names.map((name) => `cron-${name}`).sort(),
    );
    const { requests } = cluster.api;
    const taken =
      requests.find(({ method, path }) => method !== 'GET' && path === LEASE)?.at ?? assert.fail();
    const asked = requests.filter(({ path }) => path.includes('/jobs/')).map(({ at }) => at - taken);
    assert.equal(asked.length, names.length);
    for (const [index, at] of asked.entries())
      assert.ok(at >= (index - 29) * 20 - 5, `request ${index} came after ${at} ms`);
  });

  it('what a rollout kills on thousands of nodes at once is counted, and waits for a sink that is slow', async (t) => {
    const cluster = await Cluster.start(t);
    const receiver = createServer((request, response) => {
      request.resume().on('end', () => response.writeHead(503, { 'retry-after': '3600' }).end());
    });
    receiver.listen(0, '127.0.0.1');
    t.after(() => receiver.close());
    await once(receiver, 'listening');
    const { port } = receiver.address() as AddressInfo;
    const listen = `127.0.0.1:${await freePort()}`;
    const replica = cluster.replica(['--webhook-url', `http://127.0.0.1:${port}/`, '--listen', listen]);
    await replica.until(() => said(replica, 'the lease is held: delivering'), 'holding the lease');
    const nodes = 2500;
    for (let node = 0; node < nodes; node++) cluster.ended({ name: `shop-${node}`, node: `node-${node}` });
    await replica.until(() => replica.incidents.length === nodes, 'telling all');
    assert.ok(!said(replica, 'deliveries given up'));
    const metrics = await (await fetch(`http://${listen}/metrics`)).text();
    assert.equal(metrics.match(/^oom_witness_kills_total\{.*pod="shop-.* 1$/gm)?.length, nodes);
  });

  it('delivers nothing more when another has taken the lease: that one does', async (t) => {
    const cluster = await Cluster.start(t);
    let works = false;
    const accepted: string[] = [];
    const refused = Promise.withResolvers<void>();
    const receiver = createServer((request, response) => {
      if (works) accepted.push(String(request.url));
      else refused.resolve();
      request.resume().on('end', () => response.writeHead(works ? 200 : 503).end());
    });
    receiver.listen(0, '127.0.0.1');
    t.after(() => receiver.close());
    await once(receiver, 'listening');
    const { port } = receiver.address() as AddressInfo;
    const replica = cluster.replica(['--webhook-url', `http://127.0.0.1:${port}/`]);
    await replica.until(() => said(replica, 'the lease is held: delivering'), 'holding the lease');
    cluster.ended({ name: 'shop-1' });
    await refused.promise;
    const lease = structuredClone(cluster.api.object(LEASE)) as ApiObject;
    lease.spec.holderIdentity = 'another';
    cluster.api.put(LEASE, lease);
    await replica.until(() => said(replica, 'the lease is lost'), 'losing the lease');
    // A try that was under way has come by then, however late this process reads it.
    for (let turn = 0; turn < 10; turn++) await nextTurn();
    works = true;
    assert.equal(await replica.exited(), 1);
    assert.deepEqual(accepted, []);
  });

  it('tells a restart as kubernetes-oom-event-generator does, where that is asked for', async (t) => {
    const cluster = await Cluster.start(t);
    const replica = AgentProcess.launch(t, {
      args: [
        ...['watch', '--kubeconfig', cluster.api.kubeconfig(), '--replace', 'kubernetes-oom-event-generator'],
        ...['--oom-event-generator-address', '127.0.0.1:0', '--kubernetes-events', 'on'],
      ],
    });
    await replica.until(() => said(replica, 'the lease is held: delivering'), 'holding the lease');
    const sent = cluster.event('PreviousContainerWasOOMKilled');
    cluster.restarted('shop-1');
    const event = await sent;
    assert.match(String(event.message), /^The previous instance of the container 'shop' \(containerd:/);
    await replica.until(() => replica.incidents.length > 0, 'telling the kill itself to other sinks');
    assert.deepEqual(told(replica), ['shop-1']);
  });

  it('of two, the one that sends the Event of a restart counts it', async (t) => {
    const cluster = await Cluster.start(t);
    const generator = 'kubernetes-oom-event-generator';
    const replacing = () =>
      cluster.replica(['--replace', generator, '--oom-event-generator-address', '127.0.0.1:0']);
    const first = replacing();
    await first.until(() => said(first, 'the lease is held: delivering'), 'holding the lease');
    const second = replacing();
    await second.until(() => said(second, 'the lease is held by another: waiting'), 'waiting');
    const page = async (replica: AgentProcess) => {
      const url = replica.log.find(({ program }) => program === generator)?.url;
      const shown = await (await fetch(new URL('/metrics', String(url)))).text();
      const counts = [...shown.matchAll(/update_type="(\w+)"\} (\d+)/g)];
      return Object.fromEntries(counts.map(([, type, count]) => [type, Number(count)]));
    };
    const counted = (replica: AgentProcess, type: string) =>
      until(async () => (await page(replica))[type] === 1, `one ${type}`);
    const { oomkilled_event_sent: _, ...others } = await page(second);
    cluster.restarted('shop-1');
    await counted(first, 'oomkilled_event_sent');
    // Behind it, so that it has seen both.
    cluster.started('shop-2');
    await counted(second, 'not_oomkilled');
    assert.deepEqual(await page(second), { ...others, not_oomkilled: 1, oomkilled_event_sent: 0 });

    assert.equal(await first.terminate(), 0);
    await second.until(() => said(second, 'the lease is held: delivering'), 'taking over');
    const sent = cluster.event('PreviousContainerWasOOMKilled');
    cluster.restarted('shop-3');
    await sent;
    await counted(second, 'oomkilled_event_sent');
  });

  it('without a cluster it says what is missing and ends', async (t) => {
    const replica = AgentProcess.launch(t, { args: ['watch'] });
    assert.equal(await replica.exited(), 1);
    assert.match(JSON.stringify(replica.log), /--kubeconfig/);
  });
});
