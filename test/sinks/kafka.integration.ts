import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { createServer } from 'node:net';
import { after, before, type TestContext, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import * as kafkaSink from '../../sinks/kafka.ts';
import { type KafkaSettings, loadKafkaJS } from '../../src/kafka/client.ts';
import type { Delivery, Outcome, Sink, SinkContext } from '../../src/sink.ts';
import { type Certificates, makeCertificates } from '../fixtures/tls.ts';
import { containerKill, delivery, groupKill, storm, valid } from '../incidents.ts';
import { PATIENCE_MS } from '../patience.ts';
import { PORT_OF_NOBODY } from '../servers/free-ports.ts';
import {
  KafkaServer,
  type Listener,
  type Login,
  PLAIN_LOGIN,
  POWERLESS_LOGIN,
  SCRAM_LOGIN,
} from '../servers/kafka.ts';
import { sinkContext } from './context.ts';
import { longer, PROMPT_MS, testSinkContract, until } from './contract.ts';
import { parsed } from './option-values.ts';

const NEVER = new AbortController().signal;

/** What all tests of this file share, cleaned up in reverse order. */
const cleanup = new AsyncDisposableStack();
const shared = { after: (clean: () => unknown) => cleanup.defer(async () => void (await clean())) };
let certificates: Certificates;
let kafka: KafkaServer;

before(async () => {
  certificates = makeCertificates(shared);
  kafka = await KafkaServer.start(shared, '4.3', certificates);
});
after(() => cleanup.disposeAsync());

type Texts = Readonly<Record<string, string | boolean>>;

/** Settings as the configuration makes them from texts. */
function settings(
  topic: string,
  broker: { readonly host: string; readonly port: number },
  texts: Texts = {},
): KafkaSettings {
  const all: Texts = { 'kafka-topic': topic, 'kafka-brokers': `${broker.host}:${broker.port}`, ...texts };
  const made = kafkaSink.settings(
    Object.fromEntries(
      kafkaSink.options.map((option) => {
        const text = all[option.name];
        return [option.name, text === undefined ? undefined : parsed(option, text)];
      }),
    ),
  );
  assert.ok(made);
  return made;
}

async function openSink(
  t: TestContext,
  settings: KafkaSettings,
  context: Partial<SinkContext> = {},
): Promise<Sink> {
  const sink = await kafkaSink.open(settings, sinkContext({ now: Date.now, ...context }));
  t.after(() => sink.close());
  return sink;
}

function newTopic(partitions = 1, config: Readonly<Record<string, string>> = {}): Promise<string> {
  return kafka.createTopic(`oom-${randomUUID()}`, partitions, config);
}

async function deliverOne(t: TestContext, settings: KafkaSettings): Promise<Outcome> {
  const sink = await openSink(t, settings);
  const [outcome] = await sink.deliver([delivery(containerKill())], NEVER);
  await sink.close();
  return outcome!;
}

/** This process's TCP connections to a port, whatever their state. */
function connectionsTo(port: number): string[] {
  const own = new Set(
    readdirSync('/proc/self/fd').flatMap((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`);
      } catch {
        return [];
      }
    }),
  );
  const hex = port.toString(16).toUpperCase().padStart(4, '0');
  return readFileSync('/proc/self/net/tcp', 'utf8')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields[2]?.endsWith(`:${hex}`) && own.has(`socket:[${fields[9]}]`))
    .map((fields) => fields.slice(1, 4).join(' '));
}

/** Until those are gone that have made topics and read them. */
function untilUnconnected(port: number): Promise<void> {
  return until(() => connectionsTo(port).length === 0, 'the end of all connections');
}

testSinkContract('kafka 4.3', async (t) => {
  const topic = await newTopic();
  const opened = (broker: { readonly host: string; readonly port: number }) =>
    openSink(t, settings(topic, broker));
  return {
    open: () => opened(kafka.address()),
    openAgainstNothing: async () => opened({ host: '127.0.0.1', port: PORT_OF_NOBODY }),
    openAgainstSilence: async () => opened({ host: '127.0.0.1', port: await silentPort(t) }),
    received: async () => (await kafka.read(topic)).map(({ key }) => key ?? 'no key'),
    restart: async () => {
      await kafka.stop();
      await kafka.startAgain();
    },
  };
});

async function silentPort(t: TestContext): Promise<number> {
  const server = createServer((socket) => {
    t.after(() => socket.destroy());
    socket.on('error', () => {});
  });
  t.after(() => server.close());
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  return (server.address() as { port: number }).port;
}

test('a consumer reads the incident, its id as key, its headers and the time of sending', async (t) => {
  const topic = await newTopic();
  const startedAt = Date.now();
  assert.deepEqual(await deliverOne(t, settings(topic, kafka.address())), { kind: 'delivered' });

  const [record] = await kafka.read(topic);
  assert.equal(record?.key, containerKill().id);
  assert.deepEqual(valid(JSON.parse(record.value)), containerKill());
  assert.deepEqual(record.headers, { 'content-type': 'application/json', schema: 'oom-witness.incident/1' });
  assert.ok(record.timestamp >= startedAt && record.timestamp <= Date.now());
});

test('a batch over several partitions arrives whole', async (t) => {
  const topic = await newTopic(5);
  const sink = await openSink(t, settings(topic, kafka.address()));
  const batch = storm(kafkaSink.batchSize);
  await sink.deliver(batch, NEVER);
  const keys = (await kafka.read(topic)).map(({ key }) => key);
  assert.deepEqual(keys.sort(), batch.map(({ incident }) => incident.id).sort());
});

const login = (mechanism: string, { username, password }: Login): Texts => ({
  'kafka-sasl-mechanism': mechanism,
  'kafka-username': username,
  'kafka-password': password,
});
const trust = (): Texts => ({ 'kafka-ca': certificates.ca });
const identity = (): Texts => ({
  'kafka-cert': certificates.clientCert,
  'kafka-key': certificates.clientKey,
});

const WAYS: readonly [what: string, listener: Listener, texts: () => Texts][] = [
  ['PLAIN', 'SASL_PLAINTEXT', () => login('plain', PLAIN_LOGIN)],
  ['SCRAM-SHA-256', 'SASL_PLAINTEXT', () => login('scram-sha-256', SCRAM_LOGIN)],
  ['SCRAM-SHA-512', 'SASL_PLAINTEXT', () => login('scram-sha-512', SCRAM_LOGIN)],
  ['TLS with a client certificate', 'SSL', () => ({ ...trust(), ...identity() })],
  ['PLAIN over TLS', 'SASL_SSL', () => ({ ...trust(), ...login('plain', PLAIN_LOGIN) })],
  ['SCRAM-SHA-512 over TLS', 'SASL_SSL', () => ({ ...trust(), ...login('scram-sha-512', SCRAM_LOGIN) })],
  ['the leader alone acknowledging', 'PLAINTEXT', () => ({ 'kafka-acks': '1' })],
];
for (const [what, listener, texts] of WAYS)
  test(`delivers with ${what}`, async (t) => {
    const topic = await newTopic();
    assert.deepEqual(await deliverOne(t, settings(topic, kafka.address(listener), texts())), {
      kind: 'delivered',
    });
    assert.deepEqual(
      (await kafka.read(topic)).map(({ key }) => key),
      [containerKill().id],
    );
    const { port } = kafka.address(listener);
    await untilUnconnected(port);
  });

const wrong = ({ username }: Login): Login => ({ username, password: 'wrong' });
const MISTAKES: readonly [what: string, listener: Listener, texts: () => Texts, reason: RegExp][] = [
  [
    'a wrong password with PLAIN',
    'SASL_PLAINTEXT',
    () => login('plain', wrong(PLAIN_LOGIN)),
    /^the broker refuses the login of plain-user \(plain\): check --kafka-username and --kafka-password/,
  ],
  [
    'a wrong password with SCRAM',
    'SASL_SSL',
    () => ({ ...trust(), ...login('scram-sha-512', wrong(SCRAM_LOGIN)) }),
    /^the broker refuses the login of scram-user \(scram-sha-512\)/,
  ],
  [
    "the authority of somebody else's certificates",
    'SASL_SSL',
    () => ({ 'kafka-ca': certificates.strangerCa, ...login('plain', PLAIN_LOGIN) }),
    /^the certificate of 127\.0\.0\.1:\d+ is not signed by an authority that is trusted here: check --kafka-ca/,
  ],
  ['no client certificate', 'SSL', trust, /refuses the TLS connection: check --kafka-cert and --kafka-key/],
  [
    'no TLS where the broker speaks nothing else',
    'SSL',
    () => ({}),
    /(closed the connection|does not answer as a Kafka broker does); does it want TLS \(--kafka-tls\)/,
  ],
  [
    'TLS where the broker does not speak it',
    'PLAINTEXT',
    trust,
    /^127\.0\.0\.1:\d+ (does not speak TLS|closed the connection)/,
  ],
  [
    'no login where the broker wants one',
    'SASL_PLAINTEXT',
    () => ({}),
    /a login \(--kafka-sasl-mechanism\)\?$/,
  ],
  [
    'a user that may not write, with one replica',
    'SASL_PLAINTEXT',
    () => ({ ...login('plain', POWERLESS_LOGIN), 'kafka-acks': '1' }),
    /^the user powerless may not write to the topic oom-.*: allow it Write and Describe$/,
  ],
  [
    'a user that may not write',
    'SASL_PLAINTEXT',
    () => login('plain', POWERLESS_LOGIN),
    /^the user powerless may not write: allow it Write and Describe on the topic oom-/,
  ],
];
for (const [what, listener, texts, reason] of MISTAKES)
  test(`${what}: a retry that says what to mend`, async (t) => {
    const outcome = await deliverOne(t, settings(await newTopic(), kafka.address(listener), texts()));
    assert.equal(outcome.kind, 'retry', JSON.stringify(outcome));
    assert.match((outcome as { reason: string }).reason, reason);
    await untilUnconnected(kafka.address(listener).port);
  });

test('a topic that does not exist is waited for', async (t) => {
  const topic = `oom-${randomUUID()}`;
  const sink = await openSink(t, settings(topic, kafka.address()));
  const batch = [delivery(containerKill())];
  const [before] = await sink.deliver(batch, NEVER);
  assert.equal(before?.kind, 'retry');
  assert.match(
    (before as { reason: string }).reason,
    /^the topic oom-.* does not exist and the broker does not create it/,
  );

  await kafka.createTopic(topic);
  await until(async () => (await sink.deliver(batch, NEVER))[0]?.kind === 'delivered', 'the delivery');
  assert.deepEqual([...new Set((await kafka.read(topic)).map(({ key }) => key))], [containerKill().id]);
});

/** An incident that does not compress: `bytes` of hexadecimal digits that look random. */
function bulky({ incident, recurrence }: Delivery, bytes: number): Delivery {
  let text = '';
  for (let block = 0; text.length < bytes; block++)
    text += createHash('sha512').update(`${block}`).digest('hex');
  const process = { ...incident.process, command_line: `python ${text}` };
  return { recurrence, incident: { ...incident, process, victims: [{ ...incident.victims[0]!, process }] } };
}

for (const partitions of [1, 4])
  test(`an incident that the topic is too small for is rejected alone (partitions: ${partitions})`, async (t) => {
    const topic = await newTopic(partitions, { 'max.message.bytes': '30000' });
    const sink = await openSink(t, settings(topic, kafka.address()));
    const batch = storm(20);
    batch[13] = bulky(batch[13]!, 100_000);
    const outcomes = await sink.deliver(batch, NEVER);

    assert.deepEqual(
      outcomes.flatMap(({ kind }, index) => (kind === 'delivered' ? [] : [[index, kind]])),
      [[13, 'rejected']],
    );
    const keys = new Set((await kafka.read(topic)).map(({ key }) => key));
    assert.deepEqual(
      [...keys].sort(),
      batch
        .filter((_, index) => index !== 13)
        .map(({ incident }) => incident.id)
        .sort(),
    );
  });

/** The courier's part: tries again what was not delivered, with more patience each time. */
async function deliverStubbornly(sink: Sink, batch: readonly Delivery[], tries: Outcome[]): Promise<void> {
  let left = batch;
  let tryMs = 1000;
  await until(async () => {
    const outcomes = await sink.deliver(left, AbortSignal.timeout(tryMs));
    tries.push(...outcomes);
    left = left.filter((_, index) => outcomes[index]?.kind !== 'delivered');
    tryMs = longer(tryMs);
    return left.length === 0;
  }, 'the delivery of a batch');
}

const MISFORTUNES: Readonly<Record<string, { befall(): Promise<void>; pass(): Promise<void> | void }>> = {
  'frozen and thawed': { befall: () => kafka.freeze(), pass: () => kafka.thaw() },
  'stopped and started': { befall: () => kafka.stop(), pass: () => kafka.startAgain() },
  'killed and started': { befall: () => kafka.die(), pass: () => kafka.startAgain() },
};
for (const [what, { befall, pass }] of Object.entries(MISFORTUNES))
  test(`the broker ${what} during deliveries: nothing is lost`, async (t) => {
    const topic = await newTopic(2);
    const sink = await openSink(t, settings(topic, kafka.address()));
    const batches = Array.from({ length: 30 }, (_, index) => storm(20, 50_000 + 20 * index));
    const tries: Outcome[] = [];
    const under = Promise.withResolvers<void>();
    const befallen = Promise.withResolvers<void>();
    const delivering = (async () => {
      for (const [index, batch] of batches.entries()) {
        if (index === 10) under.resolve();
        await deliverStubbornly(sink, batch, tries);
        // It comes while this batch is on its way; the batches after it meet what it has left.
        if (index === 10) await befallen.promise;
      }
    })();
    await under.promise;
    await befall();
    befallen.resolve();
    await until(() => tries.some(({ kind }) => kind === 'retry'), 'a try that failed');
    await pass();
    await delivering;

    const records = await kafka.read(topic);
    const expected = new Map(batches.flat().map(({ incident }) => [incident.id, incident]));
    const read = new Map(records.map(({ key, value }) => [key, JSON.parse(value)]));
    assert.deepEqual([...read.keys()].sort(), [...expected.keys()].sort());
    for (const { key, value } of records) assert.deepEqual(JSON.parse(value), expected.get(key!));
    t.diagnostic(
      `${records.length - read.size} repetitions, ${tries.filter(({ kind }) => kind === 'retry').length} retries`,
    );
  });

test('a frozen broker: an abort ends it at once, and no connection stays', async (t) => {
  const topic = await newTopic();
  const { port } = kafka.address();
  await untilUnconnected(port);
  const sink = await openSink(t, settings(topic, kafka.address()));
  await sink.deliver(storm(1), NEVER);
  await kafka.freeze();
  t.after(() => kafka.thaw());
  const abort = new AbortController();
  const pending = sink.deliver(storm(3), abort.signal);
  await until(() => connectionsTo(port).length > 0, 'a connection');
  const abortedAt = performance.now();
  abort.abort();
  const outcomes = await pending;
  assert.ok(performance.now() - abortedAt < PROMPT_MS);
  assert.deepEqual([...new Set(outcomes.map(({ kind }) => kind))], ['retry']);
  await untilUnconnected(port);

  // What the broker finds in its socket buffers when it wakes up must not be mistaken for what comes afterwards.
  kafka.thaw();
  const later = storm(3, 60_000);
  const tries: Outcome[] = [];
  await deliverStubbornly(sink, later, tries);
  const keys = (await kafka.read(topic)).map(({ key }) => key);
  assert.deepEqual(
    later.filter(({ incident }) => !keys.includes(incident.id)),
    [],
  );
});

test('brokers that are down or silent do not matter while one is up', async (t) => {
  const topic = await newTopic();
  const { host, port } = kafka.address();
  const beside = (other: number) =>
    openSink(t, settings(topic, { host: `127.0.0.1:${other},${host}`, port }));
  // Who refuses costs nothing, who is silent costs a try.
  const besideDead = await beside(PORT_OF_NOBODY);
  assert.deepEqual(await besideDead.deliver(storm(1), NEVER), [{ kind: 'delivered' }]);
  const besideSilent = await beside(await silentPort(t));
  const [first] = await besideSilent.deliver(storm(1), AbortSignal.timeout(1000));
  assert.equal(first?.kind, 'retry');
  assert.deepEqual(await besideSilent.deliver(storm(1), NEVER), [{ kind: 'delivered' }]);
});

test('idle, it holds no connection, and comes back for the next incident', async (t) => {
  const topic = await newTopic();
  const { port } = kafka.address();
  await untilUnconnected(port);
  let idle = () => {};
  const sink = new kafkaSink.KafkaSink(
    settings(topic, kafka.address()),
    sinkContext(),
    await loadKafkaJS(),
    (run) => {
      idle = run;
      return () => {};
    },
  );
  t.after(() => sink.close());
  await sink.deliver(storm(1, 1), NEVER);
  assert.equal(connectionsTo(port).length, 1);
  idle();
  await untilUnconnected(port);
  const [outcome] = await sink.deliver(storm(1, 2), NEVER);
  assert.deepEqual(outcome, { kind: 'delivered' });
  assert.equal((await kafka.read(topic)).length, 2);
});

test('a process of its own: nothing on stderr, and it ends by itself after close()', async () => {
  const topic = await newTopic();
  const script = `
    const { open } = await import(${JSON.stringify(pathToFileURL(`${import.meta.dirname}/../../sinks/kafka.ts`))});
    const { sinkContext } = await import(${JSON.stringify(pathToFileURL(`${import.meta.dirname}/context.ts`))});
    const { storm } = await import(${JSON.stringify(pathToFileURL(`${import.meta.dirname}/../incidents.ts`))});
    const sink = await open(${JSON.stringify(settings(topic, kafka.address()))}, sinkContext());
    const never = new AbortController().signal;
    for (const batch of [storm(2), storm(2), storm(2)]) console.log(JSON.stringify(await sink.deliver(batch, never)));
    await sink.close();`;
  const { stdout, stderr } = await promisify(execFile)(
    process.execPath,
    ['--input-type=module', '-e', script],
    {
      timeout: PATIENCE_MS,
    },
  );
  assert.equal(stderr, '');
  assert.equal(stdout.match(/delivered/g)?.length, 6);
});

test('kafka 3.9', async (t) => {
  const old = await KafkaServer.start(t, '3.9');
  const topic = await old.createTopic('oom', 3);

  await t.test('a batch arrives', async (t) => {
    const sink = await openSink(t, settings(topic, old.address()));
    const batch = storm(50);
    assert.ok((await sink.deliver(batch, NEVER)).every(({ kind }) => kind === 'delivered'));
    const keys = (await old.read(topic)).map(({ key }) => key);
    assert.deepEqual(keys.sort(), batch.map(({ incident }) => incident.id).sort());
  });

  await t.test('oom-notifier: the value is its JSON', async (t) => {
    const topic = await old.createTopic('oom-notifier');
    const sink = await openSink(t, settings(topic, old.address()), { eventFormat: 'oom-notifier' });
    await sink.deliver([delivery(groupKill())], NEVER);
    const records = await old.read(topic);
    assert.deepEqual(
      records.map(({ value }) => [Object.keys(JSON.parse(value)).join(), JSON.parse(value).pid]),
      ['4243', '4240', '4251', '4260'].map((pid) => ['cmdline,hostname,kernel,pid,time', pid]),
    );
  });

  for (const [what, mechanism, who] of [
    ['PLAIN', 'plain', PLAIN_LOGIN],
    ['SCRAM-SHA-256', 'scram-sha-256', SCRAM_LOGIN],
  ] as const)
    await t.test(`delivers with ${what}`, async (t) => {
      const outcome = await deliverOne(
        t,
        settings(topic, old.address('SASL_PLAINTEXT'), login(mechanism, who)),
      );
      assert.deepEqual(outcome, { kind: 'delivered' });
    });
});
