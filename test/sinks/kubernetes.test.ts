import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import * as kubernetes from '../../sinks/kubernetes.ts';
import { OptionError } from '../../src/config/option.ts';
import type { Incident } from '../../src/incident.ts';
import { connect } from '../../src/kubernetes/connection.ts';
import { INCIDENT_ANNOTATION } from '../../src/kubernetes/event-writer.ts';
import type { Delivery, Outcome, Sink, SinkContext } from '../../src/sink.ts';
import {
  containerKill,
  delivery,
  hostileKills,
  killWithoutCommandLine,
  nodeKill,
  numbered,
  podLimitKill,
  storm,
  unitKill,
  valid,
} from '../incidents.ts';
import { ApiDouble, type Fault } from '../kubernetes/api-double.ts';
import { type ApiObject, resourcePath } from '../kubernetes/object-store.ts';
import { ADDRESS_OF_NOBODY } from '../servers/free-ports.ts';
import { sinkContext } from './context.ts';
import { testSinkContract, until } from './contract.ts';

const NEVER = new AbortController().signal;
const ALWAYS = Number.POSITIVE_INFINITY;
const NODE = '/api/v1/nodes/node-7';
const NODE_UID = '7d1f4b7e-0000-4000-8000-00000000a7a7';
/** So that no test waits for its turn; the rates themselves are tested with a clock in event-recorder.test.ts. */
const NO_LIMITS = { overall: { burst: 10_000, everyMs: 1 }, perObject: { burst: 10_000, everyMs: 1 } };
const AT_ONCE: kubernetes.KubernetesSettings = {
  limits: { ofNode: NO_LIMITS, ofCluster: NO_LIMITS },
  kills: true,
  restarts: true,
};

testSinkContract(
  'kubernetes',
  async (t) => {
    const double = await cluster(t);
    const openAt = (kubeconfig: string) => kubernetes.open(AT_ONCE, contextFor(kubeconfig));
    return {
      open: () => openAt(double.kubeconfig()),
      openAgainstNothing: async () => {
        const server = ADDRESS_OF_NOBODY.replace('http:', 'https:');
        return openAt(double.kubeconfig(undefined, { server }));
      },
      openAgainstSilence: async () => {
        const silent = await cluster(t);
        silent.fail(/./, { kind: 'hang' }, ALWAYS);
        return openAt(silent.kubeconfig());
      },
      received: async () =>
        double.requests.flatMap(({ body }) => body?.metadata?.annotations?.[INCIDENT_ANNOTATION] ?? []),
      restart: async () => {
        await double.down();
        await double.up();
      },
    };
  },
  { summarises: true },
);

test('a kill in a pod: an Event on the pod, at its container', async (t) => {
  const { events } = await delivered(t, [delivery(containerKill())]);
  const [event] = events;
  assert.equal(events.length, 1);
  assert.partialDeepStrictEqual(event, {
    type: 'Warning',
    reason: 'OOMKilled',
    involvedObject: {
      apiVersion: 'v1',
      kind: 'Pod',
      namespace: 'web',
      name: 'shop-5d8f7c-x2x',
      uid: '0f6c1f0e-7d3c-4d7a-9b1e-3a5f7c9d1e2b',
      fieldPath: 'spec.containers{shop}',
    },
    source: { component: 'oom-witness', host: 'node-7' },
    firstTimestamp: '2026-11-21T03:14:15Z',
    eventTime: '2026-11-21T03:14:15.926000Z',
    count: 1,
  });
  assert.match(
    event!.message,
    /^java \(pid 4243\) in container shop was killed: container limit 2\.00 GiB, used 1\.98 GiB\. /,
  );
  assert.equal(event!.metadata.namespace, 'web');
});

test('a process of the host: an Event on the node, with its real uid, which is asked for once', async (t) => {
  const { events, double } = await delivered(t, [
    delivery(unitKill()),
    delivery(numbered(unitKill(), 2)),
    delivery({ ...numbered(unitKill(), 3), time: '2026-11-21T03:44:15.926Z' }),
  ]);
  assert.deepEqual(events.map(({ count }) => count).sort(), [1, 2]);
  for (const { metadata, involvedObject } of events) {
    assert.deepEqual(involvedObject, { apiVersion: 'v1', kind: 'Node', name: 'node-7', uid: NODE_UID });
    assert.equal(metadata.namespace, 'default');
  }
  assert.equal(double.requests.filter(({ path }) => path === NODE).length, 1);
});

test('the node ran out: an Event on the node, and on the pod if it was one that died', async (t) => {
  const kinds = async (incident: Incident) =>
    (await delivered(t, [delivery(incident)])).events.map(({ involvedObject }) => involvedObject.kind).sort();
  const inPod = { ...nodeKill(), k8s: containerKill().k8s, container: containerKill().container } as Incident;
  assert.deepEqual(await kinds(nodeKill()), ['Node']);
  assert.deepEqual(await kinds(inPod), ['Node', 'Pod']);
  assert.deepEqual(await kinds(podLimitKill()), ['Pod']);
  assert.deepEqual(
    await kinds({ ...podLimitKill(), oom: { ...podLimitKill().oom, limit_owner: 'qos' } }),
    ['Node', 'Pod'],
    'the pods of a class together are a matter of the node',
  );
});

test('a pod without a name: on the node, with the reason', async (t) => {
  const { events } = await delivered(t, [delivery(killWithoutCommandLine())]);
  assert.equal(events[0]!.involvedObject.kind, 'Node');
  assert.match(events[0]!.message, /pod unknown: API did not answer within 2 s/);
});

test('names that no pod can have never come into a path', async (t) => {
  const whole = containerKill();
  const hostile = ['../../../secrets', 'a/b', 'A', '', '-a', 'a'.repeat(254), 'a%2fb', 'a\nb'];
  for (const name of hostile)
    for (const k8s of [
      { ...whole.k8s, pod: { name } },
      { ...whole.k8s, namespace: { name } },
    ]) {
      const { events, double } = await delivered(t, [delivery({ ...whole, k8s })]);
      assert.equal(events[0]!.involvedObject.kind, 'Node', name);
      assert.deepEqual(
        double.requests.map(({ path }) => path),
        [NODE, '/api/v1/namespaces/default/events'],
      );
    }
});

test('a kill in an init container or an ephemeral one is at that container', async (t) => {
  const whole = containerKill();
  for (const [kind, path] of [
    ['init', 'spec.initContainers{shop}'],
    ['ephemeral', 'spec.ephemeralContainers{shop}'],
  ] as const) {
    const k8s = { ...whole.k8s, container: { name: 'shop', kind } };
    const { events } = await delivered(t, [delivery(valid({ ...whole, k8s }))]);
    assert.equal(events[0]!.involvedObject.fieldPath, path);
  }
});

test("a static pod's Event carries the hash by which kubectl looks for it", async (t) => {
  const hash = '8f3a2b1c4d5e6f708192a3b4c5d6e7f8';
  const whole = containerKill();
  const process = { ...whole.process, cgroup: `/kubepods/burstable/pod${hash}/${'4'.repeat(64)}` };
  const { events } = await delivered(t, [
    delivery({ ...whole, process, victims: [{ ...whole.victims[0]!, process }] }),
  ]);
  assert.equal(events[0]!.involvedObject.uid, hash);
});

test('hostile incidents: every Event is one that the API takes', async (t) => {
  const { events } = await delivered(
    t,
    hostileKills().map(({ incident }) => delivery(incident)),
  );
  assert.ok(events.length > 1);
  for (const { message } of events) {
    assert.ok(Buffer.byteLength(message) <= 1024);
    assert.doesNotMatch(message, /[\p{Cc}\p{Cf}]/u);
  }
});

test('a storm is counted by one Event, also when a part of it comes again', async (t) => {
  const double = await cluster(t);
  const sink = await opened(t, double);
  const batch = storm(40);
  await sink.deliver(batch.slice(0, 20), NEVER);
  await sink.deliver(batch.slice(10), NEVER);
  const other = await opened(t, double);
  await other.deliver(batch, NEVER);
  const [event] = eventsOf(double);
  assert.equal(eventsOf(double).length, 1);
  assert.equal(event!.count, 40);
  assert.equal(event!.metadata.annotations[INCIDENT_ANNOTATION], batch.at(-1)!.incident.id);
});

test('who tells of all nodes does not have to do with the rate of one', async (t) => {
  const double = await cluster(t);
  const hourly = { ...NO_LIMITS, overall: { burst: 1, everyMs: 3_600_000 } };
  const context = contextFor('');
  const sink = await kubernetes.open(
    { ...AT_ONCE, limits: { ofNode: hourly, ofCluster: NO_LIMITS } },
    {
      ...context,
      kubernetes: { connect: () => connect({ kubeconfig: double.kubeconfig() }), everywhere: true },
    },
  );
  t.after(() => sink.close());
  const kills = [containerKill(), { ...containerKill(), id: 'another' }, { ...containerKill(), id: 'third' }];
  for (const kill of kills)
    assert.deepEqual(await sink.deliver([delivery(kill)], NEVER), [{ kind: 'delivered' }]);
});

test('what the API answers decides', async (t) => {
  const status = (status: number, message?: string, headers?: Record<string, string>): Fault => ({
    kind: 'status',
    status,
    ...(message !== undefined && { message }),
    ...(headers !== undefined && { headers }),
  });
  const terminating =
    'events "x" is forbidden: unable to create new content in namespace web because it is being terminated';
  const noRule =
    'events is forbidden: User "system:serviceaccount:oom-witness:oom-witness" cannot create resource "events"';
  const cases: readonly (readonly [Fault, Partial<Outcome>])[] = [
    [status(409, undefined), { kind: 'retry' }],
    [status(429, 'too many', { 'retry-after': '30' }), { kind: 'retry', afterMs: 30_000 }],
    [status(500, 'etcd is slow'), { kind: 'retry', reason: 'the API answered 500 etcd is slow' }],
    [status(503), { kind: 'retry' }],
    [status(401), { kind: 'retry' }],
    [status(410), { kind: 'retry' }],
    [status(403, noRule), { kind: 'retry', reason: `the API answered 403 ${noRule}` }],
    [status(403, terminating), { kind: 'rejected', reason: `the API answered 403 ${terminating}` }],
    [status(404, 'namespaces "web" not found'), { kind: 'rejected' }],
    [status(422, 'Event is invalid'), { kind: 'rejected' }],
    [status(413), { kind: 'rejected' }],
    [{ kind: 'reset' }, { kind: 'retry' }],
    [{ kind: 'raw', status: 502, body: '<html>bad gateway</html>' }, { kind: 'retry' }],
    [{ kind: 'raw', body: 'no JSON' }, { kind: 'retry' }],
  ];
  for (const [fault, expected] of cases) {
    const double = await cluster(t);
    double.fail(/events/, fault, ALWAYS);
    const sink = await opened(t, double);
    const [outcome] = await sink.deliver([delivery(containerKill())], NEVER);
    assert.partialDeepStrictEqual(outcome, expected, JSON.stringify({ fault, outcome }));
  }
});

test('one namespace that has gone costs the other Events of the batch nothing', async (t) => {
  const double = await cluster(t);
  double.fail(
    /POST \/api\/v1\/namespaces\/web\//,
    { kind: 'status', status: 404, reason: 'NotFound' },
    ALWAYS,
  );
  const sink = await opened(t, double);
  const other = { ...containerKill().k8s, namespace: { name: 'billing' } };
  const outcomes = await sink.deliver(
    [
      delivery(containerKill()),
      delivery({ ...numbered(containerKill(), 2), k8s: other }),
      delivery(unitKill()),
    ],
    NEVER,
  );
  assert.deepEqual(
    outcomes.map(({ kind }) => kind),
    ['rejected', 'delivered', 'delivered'],
  );
});

test('a missing rule is said once, with the mend', async (t) => {
  const double = await cluster(t);
  double.fail(
    /POST/,
    { kind: 'status', status: 403, reason: 'Forbidden', message: 'events is forbidden' },
    ALWAYS,
  );
  const said: unknown[] = [];
  const sink = await opened(t, double, { log: (...line) => said.push(line) });
  for (let attempt = 0; attempt < 3; attempt++) await sink.deliver(storm(2), NEVER);
  assert.deepEqual(said, [
    [
      'error',
      'Events may not be written; they wait until the service account may create and patch events',
      { reason: '403 events is forbidden' },
    ],
  ]);
});

test("a node that may not be read: its name stands in for the uid, as in kubelet's own Events", async (t) => {
  const double = await cluster(t);
  double.fail(/GET \/api\/v1\/nodes/, { kind: 'status', status: 403 }, ALWAYS);
  const said: unknown[] = [];
  const sink = await opened(t, double, { log: (...line) => said.push(line) });
  for (let attempt = 0; attempt < 2; attempt++) await sink.deliver([delivery(unitKill())], NEVER);
  assert.equal(eventsOf(double)[0]!.involvedObject.uid, 'node-7');
  assert.equal(said.length, 1);
});

test('a node that is not there is named in the refusal; an API that does not answer is asked again', async (t) => {
  const double = await cluster(t);
  const sink = await opened(t, double, {
    kubernetes: {
      ...contextFor('').kubernetes!,
      nodeName: 'elsewhere',
      connect: () => connect({ kubeconfig: double.kubeconfig() }),
    },
  });
  const host = { ...unitKill().host, name: 'elsewhere' };
  const [refused] = await sink.deliver([delivery({ ...unitKill(), host })], NEVER);
  assert.deepEqual(refused, {
    kind: 'rejected',
    reason: 'there is no node elsewhere in the cluster. Set --node-name NAME.',
  });
  double.fail(/GET/, { kind: 'status', status: 500 });
  const [again, pod] = await sink.deliver([delivery(unitKill()), delivery(containerKill())], NEVER);
  assert.equal(again!.kind, 'retry');
  assert.equal(pod!.kind, 'delivered');
});

test('a slow server costs no more than the time limit; what it took is not sent again', async (t) => {
  const double = await cluster(t);
  const sink = await opened(t, double);
  const other = delivery({
    ...numbered(containerKill(), 2),
    k8s: { ...containerKill().k8s, namespace: { name: 'slow' } },
  });
  double.fail(/namespaces\/slow/, { kind: 'hang' });
  const limit = new AbortController();
  const delivering = sink.deliver([delivery(containerKill()), other], limit.signal);
  await until(() => double.requests.some(({ path }) => path.includes('/slow/')), 'the slow request');
  limit.abort(new DOMException('no more time', 'TimeoutError'));
  const outcomes = await delivering;
  assert.deepEqual(
    outcomes.map(({ kind }) => kind),
    ['delivered', 'retry'],
  );
});

test('on where Kubernetes is, unless somebody says no', () => {
  const settings = (wish: string | undefined, useKubernetes: boolean) =>
    kubernetes.settings({ 'kubernetes-events': wish }, { useKubernetes, tellRestarts: false });
  assert.ok(settings(undefined, true));
  assert.ok(settings('on', true));
  assert.equal(settings('off', true), undefined);
  assert.equal(settings(undefined, false), undefined);
  assert.equal(settings('off', false), undefined);
  assert.throws(
    () => settings('on', false),
    (error) => error instanceof OptionError && /Add --kubeconfig PATH/.test(error.message),
  );
});

test('kills, restarts, both or neither', () => {
  const kinds = (wish: 'on' | 'off' | undefined, tellRestarts: boolean, useKubernetes = true) => {
    const settings = kubernetes.settings({ 'kubernetes-events': wish }, { useKubernetes, tellRestarts });
    return settings && kubernetes.kinds(settings);
  };
  assert.deepEqual(kinds(undefined, false), ['oom_kill', 'oom_unseen', 'oom_warning']);
  assert.deepEqual(kinds(undefined, true), ['oom_kill', 'oom_unseen', 'oom_warning', 'oom_restart']);
  assert.deepEqual(kinds('off', true), ['oom_restart']);
  assert.throws(
    () => kinds(undefined, true, false),
    (error) => error instanceof OptionError && error.option === 'kubernetes',
  );
});

test('a restart after a kill is told as kubernetes-oom-event-generator does, once', async (t) => {
  const double = await cluster(t);
  const whole = containerKill();
  const restart = valid<Incident>({
    ...whole,
    id: 'kubernetes:4bf1:restart',
    kind: 'oom_restart',
    k8s: { ...whole.k8s, pod: { ...whole.k8s!.pod, resource_version: '4711' } },
  });
  for (const sink of [await opened(t, double), await opened(t, double)])
    assert.deepEqual(await sink.deliver([delivery(restart)], NEVER), [{ kind: 'delivered' }]);
  const [event, ...more] = eventsOf(double);
  assert.deepEqual(more, []);
  const { metadata, ...rest } = event!;
  assert.match(metadata.name, /^shop-5d8f7c-x2x\.[0-9a-f]{16}$/);
  assert.deepEqual([metadata.namespace, metadata.annotations], ['web', undefined]);
  assert.deepEqual(rest, {
    apiVersion: 'v1',
    kind: 'Event',
    type: 'Warning',
    reason: 'PreviousContainerWasOOMKilled',
    message: `The previous instance of the container 'shop' (containerd://${whole.container!.id}) was OOMKilled`,
    involvedObject: {
      apiVersion: 'v1',
      kind: 'Pod',
      namespace: 'web',
      name: 'shop-5d8f7c-x2x',
      uid: '0f6c1f0e-7d3c-4d7a-9b1e-3a5f7c9d1e2b',
      resourceVersion: '4711',
    },
    source: { component: 'oom-event-generator' },
    firstTimestamp: '2026-11-21T03:14:15Z',
    lastTimestamp: '2026-11-21T03:14:15Z',
    count: 1,
    reportingComponent: '',
    reportingInstance: '',
  });
});

/** An API server that knows the node of the sample incidents. */
async function cluster(t: TestContext): Promise<ApiDouble> {
  const double = await ApiDouble.start(t);
  double.put(NODE, { kind: 'Node', metadata: { uid: NODE_UID } });
  return double;
}

function contextFor(kubeconfig: string, overrides: Partial<SinkContext> = {}): SinkContext {
  return sinkContext({ kubernetes: { connect: () => connect({ kubeconfig }) }, ...overrides });
}

async function opened(
  t: TestContext,
  double: ApiDouble,
  overrides: Partial<SinkContext> = {},
): Promise<Sink> {
  const sink = await kubernetes.open(AT_ONCE, contextFor(double.kubeconfig(), overrides));
  t.after(() => sink.close());
  return sink;
}

function eventsOf(double: ApiDouble): ApiObject[] {
  return double.store.list(resourcePath('/api/v1/events')!);
}

/** What the API has after all of `batch` was delivered. */
async function delivered(
  t: TestContext,
  batch: readonly Delivery[],
): Promise<{ events: ApiObject[]; double: ApiDouble }> {
  const double = await cluster(t);
  const sink = await opened(t, double);
  const outcomes = await sink.deliver(batch, NEVER);
  assert.deepEqual(
    outcomes,
    batch.map(() => ({ kind: 'delivered' })),
  );
  return { events: eventsOf(double), double };
}
