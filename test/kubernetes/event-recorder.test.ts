import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { ApiError } from '../../src/kubernetes/api.ts';
import { connect } from '../../src/kubernetes/connection.ts';
import type { InvolvedObject } from '../../src/kubernetes/event.ts';
import { type EventLimits, EventRecorder, type Happening } from '../../src/kubernetes/event-recorder.ts';
import { until } from '../sinks/contract.ts';
import { ApiDouble } from './api-double.ts';
import { type ApiObject, resourcePath } from './object-store.ts';

const NEVER = new AbortController().signal;
/** The middle of a window of ten minutes. */
const T = Date.parse('2026-11-21T03:14:15.926Z');
const LIMITS: EventLimits = {
  overall: { burst: 50, everyMs: 200 },
  perObject: { burst: 10, everyMs: 5000 },
};

const SHOP: InvolvedObject = {
  apiVersion: 'v1',
  kind: 'Pod',
  namespace: 'web',
  name: 'shop-5d8f7c-x2x',
  uid: '0f6c1f0e-7d3c-4d7a-9b1e-3a5f7c9d1e2b',
  fieldPath: 'spec.containers{shop}',
};

let next = 0;
function kill(over: Partial<Happening> = {}): Happening {
  const number = next++;
  return {
    id: `boot:${number}`,
    time: T + number,
    involved: SHOP,
    reason: 'OOMKilled',
    component: 'oom-witness',
    likeness: 'java',
    message: () => `java ${number} was killed`,
    ...over,
  };
}

interface SetUp {
  readonly double: ApiDouble;
  readonly recorder: EventRecorder;
  /** The waits that it asked for; each moves the clock on. */
  readonly waits: number[];
  record(happenings: readonly Happening[]): Promise<void>;
  events(): ApiObject[];
}

async function setUp(t: TestContext, limits = LIMITS): Promise<SetUp> {
  const double = await ApiDouble.start(t);
  const api = await connect({ kubeconfig: double.kubeconfig() });
  t.after(() => api.close());
  const waits: number[] = [];
  let now = T;
  const recorder = new EventRecorder(
    api,
    'node-7',
    limits,
    () => now,
    async (ms) => {
      waits.push(ms);
      now += ms;
    },
  );
  const record = async (happenings: readonly Happening[]) => {
    const results = await recorder.record(happenings, NEVER);
    assert.deepEqual(new Set(results.keys()), new Set(happenings));
    assert.deepEqual([...new Set(results.values())], [undefined]);
  };
  const events = () => double.store.list(resourcePath('/api/v1/events')!);
  return { double, recorder, waits, record, events };
}

const writes = ({ requests }: ApiDouble) => requests.filter(({ method }) => method !== 'GET');
const counted = (events: readonly ApiObject[]) => events.reduce((sum, { count }) => sum + count, 0);

test('one Event, as core/v1 wants it', async (t) => {
  const { record, events } = await setUp(t);
  const happening = kill({ time: T });
  await record([happening]);
  const [event] = events();
  const { metadata, ...rest } = event!;
  assert.match(metadata.name, /^shop-5d8f7c-x2x\.[0-9a-f]{16}$/);
  assert.equal(metadata.namespace, 'web');
  assert.deepEqual(rest, {
    apiVersion: 'v1',
    kind: 'Event',
    type: 'Warning',
    reason: 'OOMKilled',
    message: happening.message(),
    involvedObject: SHOP,
    source: { component: 'oom-witness', host: 'node-7' },
    firstTimestamp: '2026-11-21T03:14:15Z',
    lastTimestamp: '2026-11-21T03:14:15Z',
    count: 1,
    eventTime: '2026-11-21T03:14:15.926000Z',
    action: 'Kill',
    reportingComponent: 'oom-witness',
    reportingInstance: 'node-7',
  });
});

test('a storm of one kind is one Event and few requests', async (t) => {
  const { double, record, events, waits } = await setUp(t);
  for (let batch = 0; batch < 30; batch++) await record(Array.from({ length: 100 }, () => kill()));
  assert.equal(events().length, 1);
  assert.equal(counted(events()), 3000);
  assert.equal(events()[0]!.message, `java ${next - 1} was killed`);
  assert.equal(writes(double).length, 30);
  // Ten at once, then one in five seconds.
  assert.deepEqual(
    waits,
    Array.from({ length: 20 }, () => 5000),
  );
});

test('a storm under ever new names makes no more Events than the object may have', async (t) => {
  const { double, record, events, waits } = await setUp(t);
  for (let batch = 0; batch < 5; batch++)
    await record(Array.from({ length: 100 }, () => kill({ likeness: `fork-${next}` })));
  assert.equal(counted(events()), 500);
  assert.equal(events().length, 10, 'nine of their own, one for all the others');
  assert.deepEqual(
    events()
      .map(({ count }) => count)
      .sort((a, b) => b - a)
      .slice(0, 2),
    [491, 1],
  );
  assert.equal(writes(double).length, 14);
  assert.equal(waits.length, 4);
});

test('others do not wait for a busy object longer than for one token of it', async (t) => {
  const { record, waits, events } = await setUp(t);
  for (let batch = 0; batch < 12; batch++) await record([kill(), kill({ likeness: 'sh' })]);
  waits.length = 0;
  await record([kill(), kill({ likeness: 'sh' }), kill({ involved: { ...SHOP, name: 'cart', uid: 'c' } })]);
  assert.ok(waits.reduce((sum, ms) => sum + ms, 0) <= 5000, waits.join());
  assert.equal(counted(events()), 27);
});

test('the same one twice in a batch counts once', async (t) => {
  const { record, events } = await setUp(t);
  const twice = kill();
  await record([twice, kill(), { ...twice }]);
  await record([{ ...twice }, kill(), { ...twice }]);
  assert.equal(counted(events()), 3);
});

test('many objects at once: a rate for all together', async (t) => {
  const { record, waits, events } = await setUp(t);
  await record(
    Array.from({ length: 100 }, (_, pod) =>
      kill({ involved: { ...SHOP, name: `pod-${pod}`, uid: `${pod}` } }),
    ),
  );
  assert.equal(events().length, 100);
  assert.deepEqual(
    waits,
    Array.from({ length: 50 }, () => 200),
  );
});

test('another container, another reason, another pod of the same name, another ten minutes: another Event', async (t) => {
  const { record, events } = await setUp(t);
  await record([
    kill(),
    kill({ involved: { ...SHOP, fieldPath: 'spec.containers{sidecar}' } }),
    kill({ reason: 'OOMWarning' }),
    kill({ involved: { ...SHOP, uid: 'reborn' } }),
    kill({ time: T + 600_000 }),
    kill(),
  ]);
  assert.deepEqual(
    events()
      .map(({ count }) => count)
      .sort(),
    [1, 1, 1, 1, 2],
  );
});

test('what has no likeness has an Event of its own, with the old form', async (t) => {
  const { record, events, double } = await setUp(t);
  const { fieldPath: _, ...involved } = SHOP;
  const restart = (id: string) =>
    kill({
      id,
      likeness: undefined,
      component: 'oom-event-generator',
      reason: 'PreviousContainerWasOOMKilled',
      involved,
    });
  await record([restart('a'), restart('b'), restart('a')]);
  assert.equal(events().length, 2);
  assert.equal(writes(double).length, 2);
  assert.deepEqual(events()[0]!.source, { component: 'oom-event-generator' });
  assert.deepEqual([events()[0]!.eventTime, events()[0]!.action], [undefined, undefined]);
  assert.equal(events()[0]!.reportingComponent, '');
});

test('what concerns one Event fails alone, what concerns the server ends the batch', async (t) => {
  for (const [status, rest] of [
    [400, [undefined, undefined]],
    [403, [undefined, undefined]],
    [404, [undefined, undefined]],
    [422, [undefined, undefined]],
    [401, [401, 401]],
    [429, [429, 429]],
    [500, [500, 500]],
    [503, [503, 503]],
  ] as const) {
    const { double, recorder, events } = await setUp(t);
    // The connection reads its credentials anew once after a 401.
    double.fail(/POST/, { kind: 'status', status }, status === 401 ? 2 : 1);
    const pods = ['a', 'b', 'c'].map((name) => kill({ involved: { ...SHOP, name, uid: name } }));
    const results = await recorder.record(pods, NEVER);
    assert.deepEqual(
      pods.map((pod) => (results.get(pod) as ApiError | undefined)?.status),
      [status, ...rest],
    );
    assert.equal(events().length, rest.filter((failed) => failed === undefined).length);
  }
});

test('a signal ends the wait, and what was not told is told so', async (t) => {
  const double = await ApiDouble.start(t);
  const api = await connect({ kubeconfig: double.kubeconfig() });
  t.after(() => api.close());
  const abort = new AbortController();
  const limits = { ...LIMITS, perObject: { burst: 1, everyMs: 3_600_000 } };
  const recorder = new EventRecorder(
    api,
    'node-7',
    limits,
    () => T,
    (_ms, signal) => {
      abort.abort(new Error('the agent is stopping'));
      signal.throwIfAborted();
      return Promise.resolve();
    },
  );
  const told = kill();
  assert.equal((await recorder.record([told], abort.signal)).get(told), undefined);
  const surplus = kill();
  const late = kill({ involved: { ...SHOP, uid: 'other' } });
  const results = await recorder.record([surplus, late], abort.signal);
  assert.match(String(results.get(surplus)), /the agent is stopping/);
  assert.match(String(results.get(late)), /the agent is stopping/);
  assert.equal(writes(double).length, 1);
});

test('a batch is done, in part, where the server becomes slow', async (t) => {
  const { double, recorder } = await setUp(t);
  double.fail(/POST/, { kind: 'raw', body: '{}' });
  double.fail(/POST/, { kind: 'hang' });
  const [first, second] = [kill(), kill({ likeness: 'sh' })];
  const limit = new AbortController();
  const recording = recorder.record([first, second], limit.signal);
  await until(() => writes(double).length === 2, 'the second write');
  limit.abort(new DOMException('no more time', 'TimeoutError'));
  const results = await recording;
  assert.equal(results.get(first), undefined);
  assert.equal((results.get(second) as Error).name, 'TimeoutError');
});
