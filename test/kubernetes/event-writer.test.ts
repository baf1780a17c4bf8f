import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { KubernetesApi } from '../../src/kubernetes/api.ts';
import { connect } from '../../src/kubernetes/connection.ts';
import type { ApiEvent } from '../../src/kubernetes/event.ts';
import {
  COUNTED_ANNOTATION,
  type EventWrite,
  EventWriter,
  INCIDENT_ANNOTATION,
  type Occurrence,
} from '../../src/kubernetes/event-writer.ts';
import { ApiDouble } from './api-double.ts';

const NEVER = new AbortController().signal;
const T = Date.parse('2026-11-21T03:14:15.926Z');
const PATH = '/api/v1/namespaces/web/events/shop.1';

const event: ApiEvent = {
  apiVersion: 'v1',
  kind: 'Event',
  metadata: { name: 'shop.1', namespace: 'web' },
  type: 'Warning',
  reason: 'OOMKilled',
  message: 'java was killed',
  involvedObject: { apiVersion: 'v1', kind: 'Pod', namespace: 'web', name: 'shop' },
  source: { component: 'oom-witness', host: 'node-7' },
  firstTimestamp: '2026-11-21T03:14:15Z',
  lastTimestamp: '2026-11-21T03:14:15Z',
  count: 1,
  reportingComponent: 'oom-witness',
  reportingInstance: 'node-7',
};

function writeOf(ids: readonly string[], over: Partial<ApiEvent> = {}, atMs = T): EventWrite {
  const occurrences = ids.map((id, index): Occurrence => ({ id, time: atMs + index * 1000 }));
  return { event: { ...event, ...over }, occurrences, counts: true };
}

async function setUp(
  t: TestContext,
): Promise<{ api: KubernetesApi; double: ApiDouble; writer: EventWriter }> {
  const double = await ApiDouble.start(t);
  const api = await connect({ kubeconfig: double.kubeconfig() });
  t.after(() => api.close());
  return { api, double, writer: new EventWriter(api) };
}

const verbs = ({ requests }: ApiDouble) => requests.map(({ method }) => method);

test('the first is made, the next ones are counted by a patch', async (t) => {
  const { double, writer } = await setUp(t);
  await writer.write(writeOf(['boot:1']), NEVER);
  await writer.write(writeOf(['boot:2', 'boot:3'], { message: 'java was killed again' }, T + 5000), NEVER);

  assert.deepEqual(verbs(double), ['POST', 'PATCH']);
  const made = double.object(PATH)!;
  assert.equal(made.count, 3);
  assert.equal(made.message, 'java was killed again');
  assert.equal(made.firstTimestamp, '2026-11-21T03:14:15Z');
  assert.equal(made.lastTimestamp, '2026-11-21T03:14:21Z');
  assert.equal(made.metadata.annotations[INCIDENT_ANNOTATION], 'boot:3');
  assert.equal(made.metadata.annotations[COUNTED_ANNOTATION].split(' ').length, 3);
});

test('what is delivered again is not counted again, by whomever', async (t) => {
  const { api, double, writer } = await setUp(t);
  await writer.write(writeOf(['boot:1']), NEVER);
  await writer.write(writeOf(['boot:2']), NEVER);
  await writer.write(writeOf(['boot:2']), NEVER);
  assert.deepEqual(verbs(double), ['POST', 'PATCH'], 'not even asked');

  // As after a restart of the agent, or in the other replica.
  await new EventWriter(api).write(writeOf(['boot:1', 'boot:2', 'boot:3']), NEVER);
  assert.equal(double.object(PATH)!.count, 3);
  assert.deepEqual(verbs(double).slice(2), ['POST', 'PATCH', 'PATCH']);
  await new EventWriter(api).write(writeOf(['boot:2']), NEVER);
  assert.equal(double.object(PATH)!.count, 3);
});

test('more at once than an Event can remember are counted once all the same', async (t) => {
  const { double, writer } = await setUp(t);
  await writer.write(writeOf(Array.from({ length: 300 }, (_, index) => `boot:${index}`)), NEVER);
  assert.equal(double.object(PATH)!.count, 300);
  assert.ok(double.object(PATH)!.metadata.annotations[COUNTED_ANNOTATION].length < 2048);
});

test('two writers of one Event count everything', async (t) => {
  const { api, double, writer } = await setUp(t);
  const other = new EventWriter(api);
  await writer.write(writeOf(['boot:1']), NEVER);
  await other.write(writeOf(['boot:2']), NEVER);
  await writer.write(writeOf(['boot:3']), NEVER);
  await Promise.all([writer.write(writeOf(['boot:4']), NEVER), other.write(writeOf(['boot:5']), NEVER)]);
  assert.equal(double.object(PATH)!.count, 5);
});

test('the server forgets an Event after an hour: then it is made anew', async (t) => {
  const { double, writer } = await setUp(t);
  await writer.write(writeOf(['boot:1']), NEVER);
  double.remove(PATH);
  await writer.write(writeOf(['boot:2']), NEVER);
  assert.equal(double.object(PATH)!.count, 1);

  double.fail(/PATCH/, { kind: 'status', status: 410, reason: 'Gone' });
  await writer.write(writeOf(['boot:3']), NEVER);
  assert.equal(double.object(PATH)!.count, 2);
});

test('one that ends between reading and writing is made anew, and endless change is an error', async (t) => {
  const { double, writer } = await setUp(t);
  double.put(PATH, { ...event });
  double.fail(/PATCH/, { kind: 'status', status: 404, reason: 'NotFound' });
  await writer.write(writeOf(['boot:1']), NEVER);
  assert.equal(double.object(PATH)!.count, 2);

  double.fail(/PATCH/, { kind: 'status', status: 409, reason: 'Conflict' }, 10);
  await assert.rejects(writer.write(writeOf(['boot:2']), NEVER), { name: 'ApiError', status: 409 });
  assert.ok(double.requests.length < 30);
});

test('an older one changes the count and the beginning, not what is shown', async (t) => {
  const { double, writer } = await setUp(t);
  await writer.write(writeOf(['boot:9']), NEVER);
  await writer.write(writeOf(['boot:1'], { message: 'older' }, T - 60_000), NEVER);
  const made = double.object(PATH)!;
  assert.equal(made.count, 2);
  assert.equal(made.message, 'java was killed');
  assert.equal(made.firstTimestamp, '2026-11-21T03:13:15Z');
  assert.equal(made.lastTimestamp, '2026-11-21T03:14:15Z');
  assert.equal(made.metadata.annotations[INCIDENT_ANNOTATION], 'boot:9');
});

test('an Event that counts nothing is made once, and is only what it was to be', async (t) => {
  const { api, double, writer } = await setUp(t);
  const plain = { ...writeOf(['boot:1']), counts: false };
  await writer.write(plain, NEVER);
  await new EventWriter(api).write(plain, NEVER);
  assert.deepEqual(verbs(double), ['POST', 'POST']);
  const { metadata, ...rest } = double.object(PATH)!;
  const { metadata: _, ...sent } = event;
  assert.deepEqual(rest, sent);
  assert.equal(metadata.annotations, undefined);
});

test('an Event of that name by somebody else is counted on', async (t) => {
  const { double, writer } = await setUp(t);
  double.put(PATH, {
    ...event,
    count: 'many',
    metadata: { annotations: { [COUNTED_ANNOTATION]: 7 } },
  } as object);
  await writer.write(writeOf(['boot:1']), NEVER);
  assert.equal(double.object(PATH)!.count, 2);
});

test('what else the server says is told', async (t) => {
  const { double, writer } = await setUp(t);
  for (const status of [403, 404, 422, 429, 500])
    for (const verb of [/POST/, /PATCH/]) {
      if (verb.source === 'PATCH' && status === 404) continue;
      double.put(PATH, { ...event });
      if (verb.source === 'POST') double.remove(PATH);
      double.fail(verb, { kind: 'status', status });
      await assert.rejects(writer.write(writeOf(['boot:7']), NEVER), { name: 'ApiError', status });
    }
  await assert.rejects(writer.write(writeOf(['boot:8']), AbortSignal.abort()), { name: 'AbortError' });
});
