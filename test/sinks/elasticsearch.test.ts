import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { containerKill, delivery, groupKill, KERNEL_VERSION_LINE, numbered, storm } from '../incidents.ts';
import { ADDRESS_OF_NOBODY } from '../servers/free-ports.ts';
import { testSinkContract } from './contract.ts';
import { ElasticsearchDouble, silentAddress } from './elasticsearch-double.ts';
import { openAt, reasonOf } from './elasticsearch-sink.ts';

const NEVER = new AbortController().signal;

testSinkContract('elasticsearch', async (t) => {
  const double = await ElasticsearchDouble.start(t);
  return {
    open: () => openAt(double.url),
    openAgainstNothing: async () => openAt(ADDRESS_OF_NOBODY),
    openAgainstSilence: async () => openAt(await silentAddress(t)),
    received: async () => [...double.documents.keys()],
    restart: () => double.restart(),
  };
});

test('the document is the incident with @timestamp, created under its own id', async (t) => {
  const double = await ElasticsearchDouble.start(t);
  const sink = await openAt(double.url, t);
  await sink.deliver([delivery(containerKill())], NEVER);

  const incident = containerKill();
  assert.deepEqual(double.requests[0]!.documents, [
    { id: incident.id, source: { '@timestamp': incident.time, ...JSON.parse(JSON.stringify(incident)) } },
  ]);
  assert.equal(new URL(double.requests[0]!.path, double.url).pathname, '/oom/_bulk');
});

test('--event-format oom-notifier: its exact JSON, one document for each victim', async (t) => {
  const double = await ElasticsearchDouble.start(t);
  const sink = await openAt(double.url, t, { eventFormat: 'oom-notifier' });
  assert.deepEqual(await sink.deliver([delivery(groupKill())], NEVER), [{ kind: 'delivered' }]);

  assert.deepEqual(
    [...double.documents.keys()],
    ['', ':1', ':2', ':3'].map((end) => `${groupKill().id}${end}`),
  );
  assert.equal(
    JSON.stringify(double.documents.get(`${groupKill().id}:1`)),
    `{"cmdline":"sh /entry.sh","hostname":"node-7","kernel":"${KERNEL_VERSION_LINE}","pid":"4240","time":"${Date.parse(groupKill().time)}"}`,
  );
});

test('one victim that must be tried again: so must its incident, and nothing is there twice', async (t) => {
  const double = await ElasticsearchDouble.start(t);
  const sink = await openAt(double.url, t, { eventFormat: 'oom-notifier' });
  const later = `${groupKill().id}:2`;
  double.answer = ({ documents }) => ({
    status: 200,
    body: {
      items: documents.map(({ id, source }) => {
        if (id === later)
          return { create: { status: 429, error: { type: 'es_rejected_execution_exception' } } };
        double.documents.set(id, source);
        return { create: { status: 201 } };
      }),
    },
  });
  reasonOf((await sink.deliver([delivery(groupKill())], NEVER))[0]!, 'retry');

  double.answer = () => undefined;
  assert.deepEqual(await sink.deliver([delivery(groupKill())], NEVER), [{ kind: 'delivered' }]);
  assert.equal(double.documents.size, 4);
});

test('a request that is too large is split until it is taken', async (t) => {
  const double = await ElasticsearchDouble.start(t);
  double.answer = ({ bytes }) => (bytes > 20_000 ? { status: 413 } : undefined);
  const sink = await openAt(double.url, t);
  const batch = storm(40);
  assert.ok((await sink.deliver(batch, NEVER)).every(({ kind }) => kind === 'delivered'));
  assert.deepEqual(
    [...double.documents.keys()],
    batch.map(({ incident }) => incident.id),
  );
});

test('no request is larger than what proxies let through, if one document is not', async (t) => {
  const double = await ElasticsearchDouble.start(t);
  const sink = await openAt(double.url, t);
  const large = { ...containerKill(), raw: ['x'.repeat(300_000)] };
  const batch = Array.from({ length: 10 }, (_, index) => delivery(numbered(large, index)));
  await sink.deliver(batch, NEVER);
  assert.ok(Math.max(...double.requests.map(({ bytes }) => bytes)) < 1024 * 1024);
  assert.equal(double.documents.size, 10);
});

test('a mapping that refuses labels gets the incident without them, and that is said', async (t) => {
  const double = await ElasticsearchDouble.start(t);
  double.answer = ({ documents }) =>
    JSON.stringify(documents).includes('labels')
      ? {
          status: 200,
          body: {
            items: documents.map(() => ({
              create: { status: 400, error: { type: 'x', reason: 'no labels' } },
            })),
          },
        }
      : undefined;
  const said: unknown[] = [];
  const sink = await openAt(double.url, t, { log: (...line) => said.push(line) });
  assert.deepEqual(await sink.deliver([delivery(containerKill())], NEVER), [{ kind: 'delivered' }]);

  const taken = double.documents.get(containerKill().id) as {
    k8s: Record<string, unknown>;
    process: unknown;
  };
  assert.deepEqual(taken.k8s.pod, { name: 'shop-5d8f7c-x2x', uid: '0f6c1f0e-7d3c-4d7a-9b1e-3a5f7c9d1e2b' });
  assert.deepEqual(taken.process, JSON.parse(JSON.stringify(containerKill().process)));
  assert.equal(said.length, 1);
  assert.match(JSON.stringify(said), /warn.*without labels.*no labels/);
});

test('credentials go with each request and never into a reason', async (t) => {
  const double = await ElasticsearchDouble.start(t);
  double.answer = () => ({ status: 500 });
  const server = double.url.replace('//', '//oom:hunter2@');
  const sink = await openAt(server, t);
  const [outcome] = await sink.deliver([delivery(containerKill())], NEVER);
  assert.equal(
    double.requests[0]!.headers.authorization,
    `Basic ${Buffer.from('oom:hunter2').toString('base64')}`,
  );
  assert.doesNotMatch(JSON.stringify(outcome), /hunter2/);
});

test('of two nodes the dead one costs nothing: the other is asked within the same try', async (t) => {
  const double = await ElasticsearchDouble.start(t);
  const sink = await openAt(`${ADDRESS_OF_NOBODY},${double.url}`, t);
  for (const one of storm(4)) assert.deepEqual(await sink.deliver([one], NEVER), [{ kind: 'delivered' }]);
  assert.equal(double.requests.length, 4);
});

test('all nodes down for a long time: the first try after it is a delivery', async (t) => {
  const double = await ElasticsearchDouble.start(t);
  double.answer = () => ({ status: 503 });
  const sink = await openAt(`${ADDRESS_OF_NOBODY},${double.url}`, t);
  for (const one of storm(50)) reasonOf((await sink.deliver([one], NEVER))[0]!, 'retry');
  double.answer = () => undefined;
  assert.deepEqual(await sink.deliver([delivery(containerKill())], NEVER), [{ kind: 'delivered' }]);
});

test('an outage is found out once for a batch, not once for each request', async (t) => {
  const double = await ElasticsearchDouble.start(t);
  double.answer = () => ({ status: 503 });
  const sink = await openAt(double.url, t);
  const outcomes = await sink.deliver(storm(1000), NEVER);
  assert.ok(outcomes.every(({ kind }) => kind === 'retry'));
  assert.equal(double.requests.length, 1);
});

test('close() ends a delivery that waits', async (t) => {
  const sink = await openAt(await silentAddress(t), t);
  const pending = sink.deliver([delivery(containerKill())], NEVER);
  await sink.close();
  reasonOf((await pending)[0]!, 'retry');
});

test("the server's deprecation warnings stay out of stderr", async (t) => {
  const double = await ElasticsearchDouble.start(t);
  double.answer = () => ({
    status: 200,
    headers: { warning: '299 Elasticsearch-8.19.21-0 "this index name is deprecated"' },
    body: { items: [{ create: { status: 201 } }] },
  });
  const written = t.mock.method(process.stderr, 'write');
  const warned = t.mock.method(process, 'emitWarning');
  const sink = await openAt(double.url, t);
  assert.deepEqual(await sink.deliver([delivery(containerKill())], NEVER), [{ kind: 'delivered' }]);
  assert.equal(written.mock.callCount() + warned.mock.callCount(), 0);
});

test('the client is loaded by open(), not by importing the sink', () => {
  const code = `
    import module from 'node:module';
    const loaded = () => Object.keys(module._cache).some((path) => path.includes('@elastic'));
    const sink = await import(${JSON.stringify(new URL('../../sinks/elasticsearch.ts', import.meta.url).href)});
    const before = loaded();
    await (await sink.open({ servers: ['http://127.0.0.1:9'], index: 'oom' }, {})).close();
    console.log(before, loaded());`;
  const output = execFileSync(process.execPath, ['--input-type=module', '-e', code], { encoding: 'utf8' });
  assert.equal(output.trim(), 'false true');
});

/** Else whoever answers there fills the agent's memory: until it runs out, or at once by what unpacks to a thousand times its size. */
for (const [how, bytes, encoding] of [
  ['plain', 8 << 20, 'identity'],
  ['packed', 1 << 20, 'gzip'],
] as const)
  test(`an answer that is too long, ${how}, is not kept`, async (t) => {
    const double = await ElasticsearchDouble.start(t);
    const body = JSON.stringify({
      items: [{ create: { status: 201 } }],
      more: randomBytes(bytes / 2).toString('hex'),
    });
    double.answer = () => ({
      status: 200,
      headers: { 'content-encoding': encoding },
      body: encoding === 'gzip' ? gzipSync(body) : body,
    });
    const sink = await openAt(double.url, t);
    const [outcome] = await sink.deliver([delivery(containerKill())], NEVER);
    assert.match(reasonOf(outcome, 'retry'), /is not understood: is it Elasticsearch/);
  });

/** The client lets go of such an answer in a way that ended the process. */
test('an answer that only says that it is too long', async (t) => {
  const double = await ElasticsearchDouble.start(t);
  double.answer = () => ({ status: 200, headers: { 'content-length': '1000000000000' }, body: '{' });
  const sink = await openAt(double.url, t);
  const [outcome] = await sink.deliver([delivery(containerKill())], NEVER);
  assert.match(reasonOf(outcome, 'retry'), /is not understood: is it Elasticsearch/);
});

test('the reason is the same at every try: no port of our own is in it', async (t) => {
  const server = createServer((socket) => socket.on('data', () => socket.end()));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const sink = await openAt(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, t);
  const tries = [1, 2].map(async () => sink.deliver([delivery(containerKill())], NEVER));
  const [first, second] = (await Promise.all(tries)).map(([outcome]) => reasonOf(outcome, 'retry'));
  assert.match(first!, /other side closed/);
  assert.equal(first, second);
});
