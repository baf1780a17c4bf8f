import type { Message, SASLOptions } from 'kafkajs';
import * as v from 'valibot';
import { lacksPartner, type Option, OptionError } from '../src/config/option.ts';
import { encodeEvents } from '../src/event-format.ts';
import { INCIDENT_SCHEMA } from '../src/incident.ts';
import type { BrokerAddress } from '../src/kafka/broker-socket.ts';
import { brokerList } from '../src/kafka/brokers.ts';
import { KafkaClient, type KafkaSettings, loadKafkaJS } from '../src/kafka/client.ts';
import { reasonOf, refusalOf } from '../src/kafka/failure.ts';
import type { TlsMaterial } from '../src/net/http-post.ts';
import { tlsMaterial } from '../src/net/tls-files.ts';
import { DELIVERED, type Delivery, type Outcome, type Sink, type SinkContext } from '../src/sink.ts';

const SASL_MECHANISMS = ['plain', 'scram-sha-256', 'scram-sha-512'] as const;

const notEmpty = v.pipe(v.string(), v.minLength(1, 'must not be empty'));

export const options: readonly Option[] = [
  {
    name: 'kafka-brokers',
    value: 'HOST:PORT,…',
    help: 'send each incident to a Kafka topic, by way of these brokers',
    schema: brokerList,
    aliases: ['kb'],
  },
  {
    name: 'kafka-topic',
    value: 'TOPIC',
    help: 'the topic to write to',
    // The names that a broker accepts: org.apache.kafka.common.internals.Topic
    schema: v.pipe(
      v.string(),
      v.regex(/^(?!\.{1,2}$)[\w.-]{1,249}$/, 'must be 1 to 249 letters, digits, dots, underscores or dashes'),
    ),
    aliases: ['kt'],
  },
  {
    name: 'kafka-sasl-mechanism',
    value: 'MECHANISM',
    help: `log in with ${SASL_MECHANISMS.join(', ')}`,
    schema: v.picklist(SASL_MECHANISMS, `must be one of ${SASL_MECHANISMS.join(', ')}`),
  },
  { name: 'kafka-username', value: 'NAME', help: 'the user to log in as', schema: notEmpty },
  { name: 'kafka-password', value: 'TEXT', help: 'its password', schema: notEmpty, secret: true },
  { name: 'kafka-tls', help: 'connect with TLS', schema: v.boolean() },
  {
    name: 'kafka-ca',
    value: 'PATH',
    help: "PEM file of the authority that signed the brokers' certificates; turns TLS on",
    schema: v.string(),
    file: true,
  },
  {
    name: 'kafka-cert',
    value: 'PATH',
    help: 'PEM file of the certificate to show to the brokers; turns TLS on',
    schema: v.string(),
    file: true,
  },
  { name: 'kafka-key', value: 'PATH', help: 'PEM file of its private key', schema: v.string(), file: true },
  {
    name: 'kafka-client-id',
    value: 'TEXT',
    help: "who this is in the brokers' logs and quotas",
    schema: notEmpty,
    default: 'oom-witness',
  },
  {
    name: 'kafka-acks',
    value: 'all|1',
    help: 'whether all in-sync replicas must have an incident, or the leader alone',
    schema: v.pipe(
      v.picklist(['all', '1'], 'must be all or 1'),
      v.transform((acks) => (acks === 'all' ? -1 : 1)),
    ),
    default: 'all',
  },
];

export const batchSize = 500;

export function settings(values: Readonly<Record<string, unknown>>): KafkaSettings | undefined {
  const brokers = values['kafka-brokers'] as readonly BrokerAddress[] | undefined;
  const topic = values['kafka-topic'] as string | undefined;
  if (brokers === undefined) {
    const orphan = options.find((option) => option.default === undefined && values[option.name]);
    if (orphan) throw lacksPartner(orphan.name, 'kafka-brokers', 'host:9092');
    return undefined;
  }
  if (topic === undefined) throw lacksPartner('kafka-brokers', 'kafka-topic', 'oom');

  const sasl = login(values);
  const tls = transport(values);
  return {
    brokers,
    topic,
    clientId: (values['kafka-client-id'] as string | undefined) ?? 'oom-witness',
    acks: (values['kafka-acks'] as -1 | 1 | undefined) ?? -1,
    ...(sasl ? { sasl } : {}),
    ...(tls ? { tls } : {}),
  };
}

function login(values: Readonly<Record<string, unknown>>): SASLOptions | undefined {
  const mechanism = values['kafka-sasl-mechanism'] as SASLOptions['mechanism'] | undefined;
  const username = values['kafka-username'] as string | undefined;
  const password = values['kafka-password'] as string | undefined;
  if (mechanism === undefined && username === undefined && password === undefined) return undefined;

  const set =
    username !== undefined
      ? 'kafka-username'
      : password !== undefined
        ? 'kafka-password'
        : 'kafka-sasl-mechanism';
  if (username === undefined) throw lacksPartner(set, 'kafka-username', 'NAME');
  if (password === undefined) throw lacksPartner(set, 'kafka-password', 'PATH', 'kafka-password-file');
  if (mechanism === undefined) throw lacksPartner(set, 'kafka-sasl-mechanism', SASL_MECHANISMS.join('|'));
  return { mechanism, username, password } as SASLOptions;
}

function transport(values: Readonly<Record<string, unknown>>): TlsMaterial | undefined {
  const files = tlsMaterial('kafka', values);
  if (files && values['kafka-tls'] === false)
    throw new OptionError(
      'kafka-tls',
      '--kafka-tls is off but a file for TLS is set. Leave out --kafka-ca, --kafka-cert and --kafka-key, or turn --kafka-tls on.',
    );
  return files ?? (values['kafka-tls'] === true ? {} : undefined);
}

export async function open(settings: KafkaSettings, context: SinkContext): Promise<Sink> {
  if (settings.sasl?.mechanism === 'plain' && !settings.tls)
    context.log('warn', 'the Kafka password travels unencrypted: turn on --kafka-tls');
  return new KafkaSink(settings, context, await loadKafkaJS());
}

/** Calls `run` after `ms` unless it is cancelled by what it returns. Must not keep the process alive. */
export type Later = (run: () => void, ms: number) => () => void;

const later: Later = (run, ms) => {
  const timer = setTimeout(run, ms).unref();
  return () => clearTimeout(timer);
};

/** kafkajs looks for late answers ten times a second while it is connected; a storm comes in bursts closer than this. */
const IDLE_MS = 5000;
/** Of JSON: a topic takes 1 MiB compressed by default (max.message.bytes), and no more than this is in memory at once. */
const REQUEST_BYTES = 1_000_000;

interface KafkaRecord {
  /** The incident's place in the batch. */
  readonly index: number;
  readonly message: Message & { readonly value: Buffer };
}

/** At least once; the key is the event's id, the same on every delivery, by which a reader recognises a repetition. */
export class KafkaSink implements Sink {
  readonly #settings: KafkaSettings;
  readonly #context: SinkContext;
  readonly #kafkajs: Awaited<ReturnType<typeof loadKafkaJS>>;
  readonly #later: Later;
  #client: KafkaClient | undefined;
  #clients = 0;
  #hasWorked = false;
  #cancelIdle = () => {};

  constructor(
    settings: KafkaSettings,
    context: SinkContext,
    kafkajs: Awaited<ReturnType<typeof loadKafkaJS>>,
    callLater: Later = later,
  ) {
    this.#settings = settings;
    this.#context = context;
    this.#kafkajs = kafkajs;
    this.#later = callLater;
  }

  async deliver(batch: readonly Delivery[], signal: AbortSignal): Promise<readonly Outcome[]> {
    this.#cancelIdle();
    // An incident is done when none of its events is open; 1 stands for those that are not encoded yet.
    const open = batch.map(() => 1);
    const refusals = new Map<number, string>();
    let reason = '';
    try {
      for (const request of this.#requests(batch, open)) {
        await this.#produce(request, signal, (record, refusal) => {
          open[record.index]!--;
          if (refusal !== undefined) refusals.set(record.index, refusal);
        });
      }
    } catch (error) {
      reason = reasonOf(error, this.#settings, this.#hasWorked);
    }
    if (this.#client) this.#cancelIdle = this.#later(() => this.#disconnect(), IDLE_MS);

    return batch.map((_, index): Outcome => {
      if (open[index]! > 0) return { kind: 'retry', reason };
      const refusal = refusals.get(index);
      return refusal === undefined ? DELIVERED : { kind: 'rejected', reason: refusal };
    });
  }

  async close(): Promise<void> {
    this.#cancelIdle();
    this.#disconnect();
  }

  /** As many events together as one request may carry; encoded when it is their turn. */
  *#requests(batch: readonly Delivery[], open: number[]): Generator<KafkaRecord[]> {
    const { eventFormat, kernelVersionLine, now } = this.#context;
    const headers = {
      'content-type': 'application/json',
      ...(eventFormat === 'incident' ? { schema: INCIDENT_SCHEMA } : {}),
    };
    let request: KafkaRecord[] = [];
    let bytes = 0;
    for (const [index, { incident }] of batch.entries()) {
      const sentAt = now();
      const events = encodeEvents(incident, eventFormat, kernelVersionLine);
      open[index] = events.length;
      for (const { id, body } of events) {
        const value = Buffer.from(JSON.stringify(body));
        if (request.length > 0 && bytes + value.length > REQUEST_BYTES) {
          yield request;
          request = [];
          bytes = 0;
        }
        // The time of sending, not the incident's: a topic's retention would delete at once what was found in an old log.
        // oom-notifier sent no key. Its readers look at the value alone, and a compacted topic refuses what has none.
        request.push({ index, message: { key: id, value, headers, timestamp: String(sentAt) } });
        bytes += value.length;
      }
    }
    if (request.length > 0) yield request;
  }

  /** Halves what is refused until the record is alone that is to blame, so that its neighbours are delivered. */
  async #produce(
    records: readonly KafkaRecord[],
    signal: AbortSignal,
    done: (record: KafkaRecord, refusal?: string) => void,
  ): Promise<void> {
    try {
      signal.throwIfAborted();
      this.#client ??= this.#connect();
      await this.#client.send(
        records.map(({ message }) => message),
        signal,
      );
    } catch (error) {
      this.#disconnect();
      const refusal = refusalOf(error);
      if (refusal === undefined) throw error;
      if (records.length === 1) return done(records[0]!, refusal);
      const middle = Math.ceil(records.length / 2);
      await this.#produce(records.slice(0, middle), signal, done);
      await this.#produce(records.slice(middle), signal, done);
      return;
    }
    this.#hasWorked = true;
    for (const record of records) done(record);
  }

  #connect(): KafkaClient {
    return new KafkaClient(this.#kafkajs, this.#settings, this.#clients++, (message) =>
      this.#context.log('debug', `kafka: ${message}`),
    );
  }

  #disconnect(): void {
    this.#client?.close();
    this.#client = undefined;
  }
}
