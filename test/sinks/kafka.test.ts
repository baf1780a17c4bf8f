import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Message } from 'kafkajs';
import * as kafka from '../../sinks/kafka.ts';
import { OptionError } from '../../src/config/option.ts';
import type { KafkaSettings } from '../../src/kafka/client.ts';
import type { Outcome, SinkContext } from '../../src/sink.ts';
import { makeCertificates } from '../fixtures/tls.ts';
import { containerKill, delivery, groupKill, storm, valid } from '../incidents.ts';
import { NOW, sinkContext } from './context.ts';
import { parsed } from './option-values.ts';

const NEVER = new AbortController().signal;

/** Settings as the configuration makes them from texts. */
function settings(texts: Readonly<Record<string, string | boolean>>): KafkaSettings | undefined {
  return kafka.settings(
    Object.fromEntries(
      kafka.options.map((option) => {
        const text = texts[option.name] ?? option.default;
        return [option.name, text === undefined ? undefined : parsed(option, text)];
      }),
    ),
  );
}

const MINIMAL = { 'kafka-brokers': 'a:9092', 'kafka-topic': 'oom' };

function refused(
  texts: Readonly<Record<string, string | boolean>>,
  option: string,
  message: string | RegExp,
): void {
  assert.throws(
    () => settings(texts),
    (error) => {
      assert.ok(error instanceof OptionError);
      assert.equal(error.option, option);
      if (typeof message === 'string') assert.equal(error.message, message);
      else assert.match(error.message, message);
      return true;
    },
  );
}

test('brokers and topic are enough', () => {
  assert.deepEqual(settings(MINIMAL), {
    brokers: [{ host: 'a', port: 9092 }],
    topic: 'oom',
    clientId: 'oom-witness',
    acks: -1,
  });
});

test('nobody asked for it: no settings', () => {
  assert.equal(settings({}), undefined);
});

test('several brokers, by name, IPv4 and IPv6 address', () => {
  assert.deepEqual(
    settings({ ...MINIMAL, 'kafka-brokers': 'kafka-1.web:9092, 10.0.0.2:9093,[fd00::7]:9094' })?.brokers,
    [
      { host: 'kafka-1.web', port: 9092 },
      { host: '10.0.0.2', port: 9093 },
      { host: 'fd00::7', port: 9094 },
    ],
  );
});

test('what is not a list of brokers is refused with the form that is expected', () => {
  for (const text of [
    '',
    'a',
    'a:',
    ':9092',
    'a:0',
    'a:65536',
    'a:9092,',
    'fd00::7:9092',
    'http://a:9092',
    'a b:1',
  ])
    assert.throws(() => settings({ ...MINIMAL, 'kafka-brokers': text }), /must be HOST:PORT/, text);
});

test('the names of topics are those that Kafka allows', () => {
  for (const text of ['oom', 'oom.kills_1-a', 'x'.repeat(249)])
    assert.equal(settings({ ...MINIMAL, 'kafka-topic': text })?.topic, text);
  for (const text of ['', '.', '..', 'a b', 'a/b', 'ü', 'x'.repeat(250)])
    assert.throws(() => settings({ ...MINIMAL, 'kafka-topic': text }), /must be 1 to 249/, text);
});

test('acknowledged by all replicas, or by the leader as oom-notifier wanted it', () => {
  assert.equal(settings({ ...MINIMAL, 'kafka-acks': 'all' })?.acks, -1);
  assert.equal(settings({ ...MINIMAL, 'kafka-acks': '1' })?.acks, 1);
  assert.throws(() => settings({ ...MINIMAL, 'kafka-acks': '0' }), /must be all or 1/);
});

test('a login', () => {
  const login = { 'kafka-sasl-mechanism': 'scram-sha-512', 'kafka-username': 'u', 'kafka-password': 'p' };
  assert.deepEqual(settings({ ...MINIMAL, ...login })?.sasl, {
    mechanism: 'scram-sha-512',
    username: 'u',
    password: 'p',
  });
});

test('a missing partner is named, with the mend', () => {
  refused(
    { 'kafka-topic': 'oom' },
    'kafka-topic',
    '--kafka-topic is set but --kafka-brokers is not. Add --kafka-brokers host:9092 (or OOM_WITNESS_KAFKA_BROKERS).',
  );
  refused(
    { 'kafka-brokers': 'a:9092' },
    'kafka-brokers',
    '--kafka-brokers is set but --kafka-topic is not. Add --kafka-topic oom (or OOM_WITNESS_KAFKA_TOPIC).',
  );
  refused(
    { ...MINIMAL, 'kafka-username': 'u' },
    'kafka-username',
    '--kafka-username is set but --kafka-password is not. Add --kafka-password-file PATH (or OOM_WITNESS_KAFKA_PASSWORD).',
  );
  refused(
    { ...MINIMAL, 'kafka-sasl-mechanism': 'plain' },
    'kafka-sasl-mechanism',
    '--kafka-sasl-mechanism is set but --kafka-username is not. Add --kafka-username NAME (or OOM_WITNESS_KAFKA_USERNAME).',
  );
  refused({ ...MINIMAL, 'kafka-password': 'p' }, 'kafka-password', /--kafka-username is not/);
  refused(
    { ...MINIMAL, 'kafka-username': 'u', 'kafka-password': 'p' },
    'kafka-username',
    /--kafka-sasl-mechanism is not. Add --kafka-sasl-mechanism plain\|scram-sha-256\|scram-sha-512/,
  );
});

test('an option for Kafka without its brokers is a mistake, not nothing', () => {
  refused({ 'kafka-tls': true }, 'kafka-tls', /^--kafka-tls is set but --kafka-brokers is not\./);
  refused(
    { 'kafka-username': 'u' },
    'kafka-username',
    /^--kafka-username is set but --kafka-brokers is not\./,
  );
});

test('TLS: by its switch, or by a file', (t) => {
  const { ca, clientCert, clientKey, folder } = makeCertificates(t);
  assert.equal(settings(MINIMAL)?.tls, undefined);
  assert.deepEqual(settings({ ...MINIMAL, 'kafka-tls': true })?.tls, {});
  assert.deepEqual(Object.keys(settings({ ...MINIMAL, 'kafka-ca': ca })?.tls ?? {}), ['ca']);
  const mutual = { 'kafka-ca': ca, 'kafka-cert': clientCert, 'kafka-key': clientKey };
  assert.deepEqual(Object.keys(settings({ ...MINIMAL, ...mutual })?.tls ?? {}), ['ca', 'cert', 'key']);

  refused(
    { ...MINIMAL, 'kafka-cert': clientCert },
    'kafka-cert',
    '--kafka-cert is set but --kafka-key is not. Add --kafka-key PATH.',
  );
  refused({ ...MINIMAL, 'kafka-key': clientKey }, 'kafka-key', /--kafka-cert is not/);
  refused({ ...MINIMAL, 'kafka-ca': ca, 'kafka-tls': false }, 'kafka-tls', /^--kafka-tls is off but a file/);

  const garbage = join(folder, 'garbage.pem');
  writeFileSync(garbage, 'not a certificate');
  refused(
    { ...MINIMAL, 'kafka-cert': garbage, 'kafka-key': clientKey },
    'kafka-cert',
    /^--kafka-cert: not usable PEM/,
  );
});

/** Stands in for kafkajs: remembers what was sent, and fails as it is told. */
class Recorder {
  readonly requests: (readonly Message[])[] = [];
  readonly clients: { readonly brokers: readonly string[]; readonly idempotent: boolean }[] = [];
  fails: (messages: readonly Message[]) => Error | undefined = () => undefined;

  /** What `loadKafkaJS` returns. */
  get kafkajs(): never {
    const recorder = this;
    return {
      CompressionTypes: { GZIP: 1 },
      Partitioners: {},
      logLevel: {},
      Kafka: class {
        readonly #brokers: readonly string[];
        constructor({ brokers }: { brokers: readonly string[] }) {
          this.#brokers = brokers;
        }
        producer({ idempotent }: { idempotent: boolean }) {
          recorder.clients.push({ brokers: this.#brokers, idempotent });
          return {
            connect: async () => {},
            send: async ({ messages }: { messages: readonly Message[] }) => {
              const failure = recorder.fails(messages);
              if (failure) throw failure;
              recorder.requests.push(messages);
            },
          };
        }
      },
    } as never;
  }

  sink(
    texts: Readonly<Record<string, string>> = {},
    context: Partial<SinkContext> = {},
    later?: kafka.Later,
  ) {
    return new kafka.KafkaSink(
      settings({ ...MINIMAL, ...texts })!,
      sinkContext(context),
      this.kafkajs,
      later,
    );
  }

  get messages(): readonly Message[] {
    return this.requests.flat();
  }
}

function protocolError(type: string): Error {
  return Object.assign(new Error(`what Kafka says of ${type}`), { name: 'KafkaJSProtocolError', type });
}

function kinds(outcomes: readonly Outcome[]): string[] {
  return outcomes.map(({ kind }) => kind);
}

test('a message: the id as key, the incident as JSON, what it is in the headers, the time of sending', async () => {
  const recorder = new Recorder();
  await recorder.sink().deliver([delivery(containerKill())], NEVER);

  const [{ key, value, headers, timestamp }] = recorder.messages as [Message];
  assert.equal(key, containerKill().id);
  assert.deepEqual(valid(JSON.parse(String(value))), containerKill());
  assert.deepEqual(headers, { 'content-type': 'application/json', schema: 'oom-witness.incident/1' });
  assert.equal(timestamp, String(NOW));
});

test('in the format of oom-notifier the value is byte for byte its JSON, one message for each victim', async () => {
  const recorder = new Recorder();
  const sink = recorder.sink({}, { eventFormat: 'oom-notifier', kernelVersionLine: 'Linux version 6.12.9' });
  assert.deepEqual(kinds(await sink.deliver([delivery(groupKill())], NEVER)), ['delivered']);

  const [first] = recorder.messages as [Message];
  const { process, time } = groupKill();
  assert.equal(
    String(first.value),
    `{"cmdline":"${process.command_line}","hostname":"node-7","kernel":"Linux version 6.12.9","pid":"4243","time":"${Date.parse(time)}"}`,
  );
  assert.deepEqual(first.headers, { 'content-type': 'application/json' });
  const { id } = groupKill();
  assert.deepEqual(
    recorder.messages.map(({ key }) => key),
    [id, `${id}:1`, `${id}:2`, `${id}:3`],
  );
});

test('a request carries at most 1 MB of JSON, and a batch is sent in order', async () => {
  const recorder = new Recorder();
  const batch = storm(1000);
  assert.ok((await recorder.sink().deliver(batch, NEVER)).every(({ kind }) => kind === 'delivered'));

  assert.deepEqual(
    recorder.messages.map(({ key }) => key),
    batch.map(({ incident }) => incident.id),
  );
  assert.ok(recorder.requests.length > 1);
  for (const request of recorder.requests)
    assert.ok(request.reduce((sum, { value }) => sum + value!.length, 0) <= 1_000_000);
});

test('a record that is too large is rejected alone; its neighbours are delivered once each', async () => {
  const recorder = new Recorder();
  const batch = storm(9);
  const large = batch[6]!.incident.id;
  recorder.fails = (messages) =>
    messages.some(({ key }) => key === large) ? protocolError('MESSAGE_TOO_LARGE') : undefined;
  const outcomes = await recorder.sink().deliver(batch, NEVER);

  assert.deepEqual(
    outcomes.map(({ kind }, index) => [index, kind]).filter(([, kind]) => kind !== 'delivered'),
    [[6, 'rejected']],
  );
  assert.match(
    (outcomes[6] as { reason: string }).reason,
    /larger than the topic takes \(max.message.bytes\)/,
  );
  assert.deepEqual(
    recorder.messages.map(({ key }) => key),
    batch.map(({ incident }) => incident.id).filter((id) => id !== large),
  );
});

test('a victim that is too large rejects its incident, and the other victims are delivered', async () => {
  const recorder = new Recorder();
  recorder.fails = (messages) =>
    messages.some(({ key }) => String(key).endsWith(':2')) ? protocolError('INVALID_RECORD') : undefined;
  const sink = recorder.sink({}, { eventFormat: 'oom-notifier' });
  const outcomes = await sink.deliver([delivery(groupKill()), ...storm(1)], NEVER);

  assert.deepEqual(kinds(outcomes), ['rejected', 'delivered']);
  assert.equal(recorder.messages.length, 4);
});

test('what was acknowledged before a failure is delivered, the rest is to be retried', async () => {
  const recorder = new Recorder();
  recorder.fails = () =>
    recorder.requests.length === 1 ? protocolError('NOT_LEADER_FOR_PARTITION') : undefined;
  const outcomes = await recorder.sink().deliver(storm(1000), NEVER);

  const sent = recorder.messages.length;
  assert.ok(sent > 0 && sent < 1000);
  assert.ok(outcomes.slice(0, sent).every(({ kind }) => kind === 'delivered'));
  for (const outcome of outcomes.slice(sent))
    assert.deepEqual(outcome, { kind: 'retry', reason: 'the topic oom has no leader at the moment' });
});

test('after any failure the next delivery begins with a new client, at the next broker', async () => {
  const recorder = new Recorder();
  const sink = recorder.sink({ 'kafka-brokers': 'a:1,b:2,[fd00::7]:3' });
  recorder.fails = () => protocolError('REQUEST_TIMED_OUT');
  await sink.deliver(storm(1), NEVER);
  await sink.deliver(storm(1), NEVER);
  recorder.fails = () => undefined;
  await sink.deliver(storm(1), NEVER);
  await sink.deliver(storm(1), NEVER);

  assert.deepEqual(
    recorder.clients.map(({ brokers }) => brokers),
    // kafkajs cuts an address at its first colon: ours is given back to it at the socket.
    [
      ['a:1', 'b:2', 'fd00__7:3'],
      ['b:2', 'fd00__7:3', 'a:1'],
      ['fd00__7:3', 'a:1', 'b:2'],
    ],
  );
});

test('idempotent only where all replicas acknowledge, as Kafka demands', async () => {
  for (const [acks, idempotent] of [
    ['all', true],
    ['1', false],
  ] as const) {
    const recorder = new Recorder();
    await recorder.sink({ 'kafka-acks': acks }).deliver(storm(1), NEVER);
    assert.equal(recorder.clients[0]?.idempotent, idempotent);
  }
});

test('disconnects when nothing was delivered for a while, and connects again', async () => {
  const recorder = new Recorder();
  const timers: { readonly run: () => void; readonly ms: number; cancelled: boolean }[] = [];
  const sink = recorder.sink({}, {}, (run, ms) => {
    const timer = { run, ms, cancelled: false };
    timers.push(timer);
    return () => {
      timer.cancelled = true;
    };
  });
  await sink.deliver(storm(1), NEVER);
  await sink.deliver(storm(1), NEVER);
  assert.equal(recorder.clients.length, 1);
  assert.deepEqual(
    timers.map(({ ms, cancelled }) => [ms, cancelled]),
    [
      [5000, true],
      [5000, false],
    ],
  );

  timers[1]!.run();
  await sink.deliver(storm(1), NEVER);
  assert.equal(recorder.clients.length, 2);
  await sink.close();
  assert.ok(timers.at(-1)?.cancelled);
});

test('a password for PLAIN without TLS is worth a warning', async () => {
  const warnings: string[] = [];
  const context = sinkContext({ log: (level, message) => level === 'warn' && warnings.push(message) });
  const login = { 'kafka-sasl-mechanism': 'plain', 'kafka-username': 'u', 'kafka-password': 'p' };
  for (const texts of [
    login,
    { ...login, 'kafka-tls': true },
    { ...login, 'kafka-sasl-mechanism': 'scram-sha-256' },
  ])
    await (await kafka.open(settings({ ...MINIMAL, ...texts })!, context)).close();
  assert.deepEqual(warnings, ['the Kafka password travels unencrypted: turn on --kafka-tls']);
});
