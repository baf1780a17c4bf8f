import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { describe, it, type TestContext } from 'node:test';
import { parseAllDocuments } from 'yaml';
import * as kubernetes from '../../sinks/kubernetes.ts';
import type { Incident } from '../../src/incident.ts';
import { connect } from '../../src/kubernetes/connection.ts';
import { eventMessage } from '../../src/message/kubernetes-event.ts';
import type { Delivery, Outcome, Sink } from '../../src/sink.ts';
import { containerKill, delivery, FIRST, hostileKills, nodeKill, unitKill, valid } from '../incidents.ts';
import { sinkContext } from '../sinks/context.ts';
import { until } from '../sinks/contract.ts';
import { runningCluster, TestNamespace } from './cluster-test.ts';
import { idle, pod } from './pods.ts';

const cluster = runningCluster();
const NEVER = new AbortController().signal;
const RULES = new URL('../../k8s/agent/rbac.yaml', import.meta.url);

describe('Events, as kubectl shows them', () => {
  it('on the pod: kubectl describe, kubectl get events, and counted when it happens again', async (t) => {
    const { namespace, uid } = await podIn(t);
    const sink = await opened(t);
    const at = recently();
    const kills = [0, 1, 2].map((number) =>
      killIn(namespace, uid, `describe:${at}:${number}`, at + number * 5000),
    );

    assert.deepEqual(await deliver(sink, kills.slice(0, 1)), ['delivered']);
    const command = 'java -Xmx2g .* --spring\\.profiles\\.active=prod';
    const said = `java \\(pid 4243\\) in container shop was killed: container limit 2\\.00 GiB, used 1\\.98 GiB\\. Command: ${command}`;
    assert.match(
      await namespace.kubectl('describe', 'pod', 'shop'),
      new RegExp(`Events:\\n.*\\n.*\\n  Warning  OOMKilled  [\\dms]+ +oom-witness  ${said}\\n`),
    );

    assert.deepEqual(await deliver(sink, kills), ['delivered', 'delivered', 'delivered']);
    const described = await namespace.kubectl('describe', 'pod', 'shop');
    assert.match(
      described,
      new RegExp(`  Warning  OOMKilled  [\\dms]+ \\(x3 over [\\dms]+\\)  oom-witness  ${said}\\n`),
    );
    const events = await namespace.kubectl('get', 'events', '--output=wide');
    assert.match(
      events,
      new RegExp(
        `^[\\dms]+ +Warning +OOMKilled +pod/shop +spec\\.containers\\{shop\\} +oom-witness, node-7 +${said} +[\\dms]+ +3 +shop\\.[0-9a-f]{16}\\n`,
        'm',
      ),
    );
    assert.match(
      await namespace.kubectl('events', '--for=pod/shop'),
      /[\dms]+ \(x3 over [\dms]+\) +Warning +OOMKilled +Pod\/shop/,
    );
    t.diagnostic(described.slice(described.indexOf('Events:')));
    t.diagnostic(await namespace.kubectl('get', 'events'));
  });

  it('after a later Event of somebody else, by the time of the kill', async (t) => {
    const { namespace, uid } = await podIn(t);
    const at = Date.now();
    const other = (name: string, ms: number) => ({
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name },
      type: 'Normal',
      reason: name,
      involvedObject: { apiVersion: 'v1', kind: 'Pod', namespace: namespace.name, name: 'shop', uid },
      lastTimestamp: new Date(ms).toISOString().replace(/\.\d+/, ''),
      count: 1,
      source: { component: 'kubelet' },
    });
    await namespace.apply(other('before', at - 60_000), other('after', at));
    await deliver(await opened(t), [killIn(namespace, uid, `order:${at}`, at - 30_000)]);
    assert.match(await namespace.kubectl('describe', 'pod', 'shop'), /before.*OOMKilled.*after/s);
    assert.match(
      await namespace.kubectl('get', 'events', '--sort-by=.lastTimestamp'),
      /before.*OOMKilled.*after/s,
    );
  });

  it('of a pod that is gone they are still shown', async (t) => {
    const { namespace, uid } = await podIn(t);
    await deliver(await opened(t), [killIn(namespace, uid, `gone:${Date.now()}`)]);
    await namespace.kubectl('delete', 'pod', 'shop', '--force', '--grace-period=0');
    assert.match(await namespace.kubectl('events', '--for=pod/shop'), /Warning +OOMKilled +Pod\/shop/);
  });

  it("on the node, under the node's own uid", async (t) => {
    const name = `host-${crypto.randomUUID().slice(0, 8)}`;
    await cluster.apply({ apiVersion: 'v1', kind: 'Node', metadata: { name } });
    t.after(() => cluster.kubectl(['delete', 'node', name]));
    const time = new Date(Date.now() - 1000).toISOString();
    const onNode = (incident: Incident): Incident => ({ ...incident, id: `${incident.id}:${name}`, time });
    const sink = await opened(t, cluster.kubeconfig, name);
    assert.deepEqual(await deliver(sink, [onNode(nodeKill()), onNode(unitKill())]), [
      'delivered',
      'delivered',
    ]);

    const described = await cluster.kubectl(['describe', 'node', name]);
    assert.match(
      described,
      /Warning {2}OOMKilled .* oom-witness .*chrome \(pid 5121\) of user-1001\.slice was killed: node-7 ran out of memory \(61 MiB left of 15\.6 GiB\); it held 3\.10 GiB; biggest: chrome 3\.10, postgres 2\.20, java 1\.90 GiB\. Command: \/opt\/chrome\/chrome/,
    );
    assert.match(
      described,
      /Warning {2}OOMKilled .*nginx \(pid 2210\) of nginx\.service was killed: service limit 256 MiB/,
    );
    const { metadata } = await cluster.get<{ metadata: { uid: string } }>('node', name);
    const { items } = await cluster.get<{ items: { involvedObject: { uid: string } }[] }>(
      'events',
      '--namespace=default',
      `--field-selector=involvedObject.name=${name},reason=OOMKilled`,
    );
    assert.deepEqual(
      items.map(({ involvedObject }) => involvedObject.uid),
      [metadata.uid, metadata.uid],
    );
    t.diagnostic(described.slice(described.indexOf('Events:')));
  });

  it("a restart after a kill, as kubernetes-oom-event-generator's", async (t) => {
    const { namespace, uid } = await podIn(t);
    const restart: Incident = {
      ...killIn(namespace, uid, `restart:${uid}:shop:1`),
      kind: 'oom_restart',
      container: { id: 'a'.repeat(64), name: 'shop', runtime: 'containerd' },
    };
    assert.deepEqual(await deliver(await opened(t), [restart]), ['delivered']);
    assert.deepEqual(await deliver(await opened(t), [restart]), ['delivered']);
    const described = await namespace.kubectl('describe', 'pod', 'shop');
    assert.match(
      described,
      /Warning {2}PreviousContainerWasOOMKilled {2}[\dms]+ +oom-event-generator {2}The previous instance of the container 'shop' \(containerd:\/\/a{64}\) was OOMKilled\n/,
    );
    t.diagnostic(described.slice(described.indexOf('Events:')));
  });
});

describe('Events, as the API server takes them', () => {
  it('every hostile incident, and a message of 1024 bytes', async (t) => {
    const { namespace, uid } = await podIn(t);
    const at = Date.now();
    const kills = hostileKills().map(
      ({ incident }, index): Incident => ({
        ...incident,
        id: `hostile:${at}:${index}`,
        k8s: {
          ...incident.k8s,
          namespace: { name: namespace.name },
          pod: { ...incident.k8s?.pod, name: 'shop', uid },
        },
      }),
    );
    assert.deepEqual(new Set(await deliver(await opened(t), kills)), new Set(['delivered']));

    const whole = killIn(namespace, uid, `long:${at}`, recently());
    const process = { ...whole.process, name: 'long', command_line: '漢'.repeat(1000) };
    const long = { ...whole, process, victims: [{ ...whole.victims[0]!, process }] };
    assert.ok(Buffer.byteLength(eventMessage(long, FIRST, 'Pod')) > 1015);
    assert.deepEqual(await deliver(await opened(t), [long]), ['delivered']);
    assert.deepEqual(await deliver(await opened(t), [{ ...long, id: `${long.id}:2` }]), ['delivered']);
    assert.equal(
      (await namespace.events('Pod', 'shop')).find(({ message }) => message.startsWith('long'))?.count,
      2,
    );
  });

  it('two who write the same Event at the same time count everything once', async (t) => {
    const { namespace, uid } = await podIn(t);
    const at = recently();
    const kills = Array.from({ length: 12 }, (_, number) =>
      killIn(namespace, uid, `both:${at}:${number}`, at + number),
    );
    const [one, other] = [await opened(t), await opened(t)];
    // The second half of the one is the first half of the other: as at a hand-over.
    const outcomes = await Promise.all([
      ...kills.slice(0, 8).map((kill) => deliver(one, [kill])),
      ...kills.slice(4).map((kill) => deliver(other, [kill])),
    ]);
    const again = [kills.slice(0, 8), kills.slice(4)]
      .flat()
      .filter((_, index) => outcomes[index]![0] !== 'delivered');
    await deliver(one, again);
    const [event, ...more] = await namespace.events('Pod', 'shop');
    assert.deepEqual(more, []);
    assert.equal(event?.count, 12);
  });

  it('with the rights of the manifests, and not without them; a rule that comes later is enough', async (t) => {
    const { namespace, uid } = await podIn(t);
    const at = recently();
    const kill = killIn(namespace, uid, `rights:${at}`, at);
    await namespace.kubectl('create', 'serviceaccount', 'agent');
    const token = (await namespace.kubectl('create', 'token', 'agent')).trim();
    const sink = await opened(t, kubeconfigWith(token));
    const [refused] = await sink.deliver([delivery(kill)], NEVER);
    assert.equal(refused?.kind, 'retry');
    assert.match(refused?.kind === 'retry' ? refused.reason : '', /cannot create resource "events"/);

    const role = parseAllDocuments(readFileSync(RULES, 'utf8'))
      .map((document) => document.toJS() as { kind: string })
      .find(({ kind }) => kind === 'ClusterRole');
    const name = namespace.name;
    await cluster.apply(
      { ...role, metadata: { name } },
      {
        apiVersion: 'rbac.authorization.k8s.io/v1',
        kind: 'ClusterRoleBinding',
        metadata: { name },
        roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name },
        subjects: [{ kind: 'ServiceAccount', name: 'agent', namespace: name }],
      },
    );
    t.after(() => cluster.kubectl(['delete', 'clusterrole,clusterrolebinding', name]));
    await granted(name);
    for (const attempt of [0, 1]) {
      const other = await opened(t, kubeconfigWith(token));
      assert.deepEqual(
        await deliver(other, [kill, killIn(namespace, uid, `${kill.id}:2`, at)]),
        ['delivered', 'delivered'],
        `${attempt}`,
      );
    }
    assert.equal((await namespace.events('Pod', 'shop'))[0]?.count, 2);
  });

  it('a namespace that has gone, and one that is going, are refusals for good', async (t) => {
    const sink = await opened(t);
    const { namespace, uid } = await podIn(t);
    const nowhere = killIn(namespace, uid, 'nowhere');
    const [gone] = await sink.deliver(
      [delivery({ ...nowhere, k8s: { ...nowhere.k8s, namespace: { name: 'never-was' } } })],
      NEVER,
    );
    assert.deepEqual(gone, {
      kind: 'rejected',
      reason: 'the API answered 404 namespaces "never-was" not found',
    });

    // It stays for as long as the pod has a finalizer.
    await namespace.kubectl(
      'patch',
      'pod',
      'shop',
      '--type=merge',
      '--patch={"metadata":{"finalizers":["test/keep"]}}',
    );
    await namespace.kubectl('delete', 'namespace', namespace.name, '--wait=false');
    const [going] = await sink.deliver([delivery(killIn(namespace, uid, `going:${uid}`))], NEVER);
    await namespace.kubectl(
      'patch',
      'pod',
      'shop',
      '--type=merge',
      '--patch={"metadata":{"finalizers":null}}',
    );
    assert.equal(going?.kind, 'rejected');
    assert.match(going?.kind === 'rejected' ? going.reason : '', /because it is being terminated$/);
  });

  it('an Event that the server has forgotten is made anew', async (t) => {
    const { namespace, uid } = await podIn(t);
    const sink = await opened(t);
    const at = Date.now();
    await deliver(sink, [killIn(namespace, uid, `forgotten:${at}:1`)]);
    await namespace.kubectl('delete', 'events', '--all');
    assert.deepEqual(await deliver(sink, [killIn(namespace, uid, `forgotten:${at}:2`)]), ['delivered']);
    assert.equal((await namespace.events('Pod', 'shop')).length, 1);
  });
});

/** A time from which on half a minute is in one window of the recorder: kills in it share an Event. */
function recently(): number {
  const at = Date.now() - 31_000;
  const windowMs = 10 * 60_000;
  return windowMs - (at % windowMs) < 30_000 ? at - 30_000 : at;
}

async function podIn(t: TestContext): Promise<{ namespace: TestNamespace; uid: string }> {
  const namespace = await TestNamespace.create(t, cluster);
  // Nobody has to run it: it waits for a node that there is not.
  await namespace.apply(pod('shop', { nodeName: 'nowhere', containers: [idle('shop')] }));
  return { namespace, uid: (await namespace.pod('shop')).metadata.uid };
}

function killIn({ name }: TestNamespace, uid: string, id: string, time = Date.now() - 1000): Incident {
  const whole = containerKill();
  return valid({
    ...whole,
    id: id === '' ? whole.id : id,
    time: new Date(time).toISOString(),
    k8s: { ...whole.k8s, namespace: { name }, pod: { name: 'shop', uid } },
  });
}

async function opened(t: TestContext, kubeconfig = cluster.kubeconfig, nodeName = 'node-7'): Promise<Sink> {
  const settings = kubernetes.settings({}, { useKubernetes: true, tellRestarts: true })!;
  const context = sinkContext({
    now: Date.now,
    kubernetes: { nodeName, connect: () => connect({ kubeconfig }) },
  });
  const sink = await kubernetes.open(settings, context);
  t.after(() => sink.close());
  return sink;
}

async function deliver(sink: Sink, incidents: readonly Incident[]): Promise<Outcome['kind'][]> {
  const outcomes = await sink.deliver(
    incidents.map((incident): Delivery => delivery(incident)),
    NEVER,
  );
  return outcomes.map(({ kind }) => kind);
}

function kubeconfigWith(token: string): string {
  const file = cluster.at(`token-${crypto.randomUUID()}.kubeconfig`);
  const whole = JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'test',
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'test' } }],
    clusters: [
      {
        name: 'test',
        cluster: { server: cluster.apiUrl, 'certificate-authority': cluster.authority.pair.cert },
      },
    ],
    users: [{ name: 'test', user: { token } }],
  });
  writeFileSync(file, whole, { mode: 0o600 });
  return file;
}

/** RBAC reaches the API server's own cache a moment after it was written. */
async function granted(namespace: string): Promise<void> {
  const who = `--as=system:serviceaccount:${namespace}:agent`;
  const ask = () =>
    cluster.kubectl(['auth', 'can-i', 'patch', 'events', who, `--namespace=${namespace}`]).catch(() => 'no');
  await until(async () => (await ask()).trim() === 'yes', 'the rule to come into force');
}
