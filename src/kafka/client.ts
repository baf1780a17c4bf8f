import type { Message, Producer, SASLOptions } from 'kafkajs';
import { shown } from '../format.ts';
import type { TlsMaterial } from '../net/http-post.ts';
import { type BrokerAddress, BrokerSocket } from './broker-socket.ts';
import { kafkaJsAddress, kafkaJsHost } from './brokers.ts';

export interface KafkaSettings {
  readonly brokers: readonly BrokerAddress[];
  readonly topic: string;
  readonly clientId: string;
  /** -1: every in-sync replica has it; 1: the leader has it. */
  readonly acks: -1 | 1;
  readonly sasl?: SASLOptions;
  /** Absent: without TLS. */
  readonly tls?: TlsMaterial;
}

type KafkaJS = typeof import('kafkajs');

const CONNECT_MS = 5000;
/** The broker's own limit for its replicas is shorter, so that it can say why. */
const ACKNOWLEDGE_MS = 8000;
const REQUEST_MS = 10_000;
/** For all of it together. kafkajs waits without a limit where a broker dies at an unlucky moment. */
const SEND_MS = 30_000;

let loaded: Promise<KafkaJS> | undefined;

/** Loads kafkajs once, and mends in it what costs something. */
export function loadKafkaJS(): Promise<KafkaJS> {
  loaded ??= importMended();
  return loaded;
}

async function importMended(): Promise<KafkaJS> {
  const [{ default: kafkajs }, { default: RequestQueue }] = await Promise.all([
    import('kafkajs'),
    import('kafkajs/src/network/requestQueue/index.js'),
  ]);
  // kafkajs 2.2.4 sets a timer for `-1 - now` ms after each answer even if no request waits for one: Node.js makes 1 ms of
  // it, so that a connected client wakes up 1,000 times a second (2 % of a core), and warns with TimeoutNegativeWarning
  // (kafkajs#1704). Without a waiting request there is nothing to check: the next one that has to wait sets its own timer.
  const schedule = RequestQueue.prototype.scheduleCheckPendingRequests;
  RequestQueue.prototype.scheduleCheckPendingRequests = function scheduleIfAnyWaits(
    this: typeof RequestQueue.prototype,
  ) {
    if (this.pending.length > 0) schedule.call(this);
  };
  return kafkajs;
}

/**
 * A producer from its first connection to its first error. It must not be used after one: kafkajs then takes back the sequence
 * numbers of the records that failed, and a broker that has them all the same would take different records under the same numbers
 * for a repetition, acknowledge them and drop them.
 */
export class KafkaClient {
  readonly #settings: KafkaSettings;
  readonly #producer: Producer;
  readonly #gzip: number;
  readonly #sockets = new Set<BrokerSocket>();
  #connecting: Promise<void> | undefined;
  #closed = false;

  /** @param seed which of the brokers is asked first */
  constructor(kafkajs: KafkaJS, settings: KafkaSettings, seed: number, log: (message: string) => void) {
    const { brokers, acks, tls } = settings;
    const rotated = brokers.map((_, index) => brokers[(seed + index) % brokers.length]!);
    const hosts = new Map(brokers.map(({ host }) => [kafkaJsHost(host), host]));
    this.#settings = settings;
    this.#gzip = kafkajs.CompressionTypes.GZIP;
    this.#producer = new kafkajs.Kafka({
      brokers: rotated.map(kafkaJsAddress),
      clientId: settings.clientId,
      ...(settings.sasl ? { sasl: settings.sasl } : {}),
      ...(tls ? { ssl: { ...tls } } : {}),
      connectionTimeout: CONNECT_MS,
      requestTimeout: REQUEST_MS,
      // Once round the brokers. All other patience is the courier's.
      retry: { retries: brokers.length - 1, initialRetryTime: 50, maxRetryTime: 200 },
      socketFactory: ({ host, port, ssl, onConnect }) =>
        this.#connect({ host: hosts.get(host) ?? host, port }, ssl, onConnect) as never,
      logLevel: kafkajs.logLevel.INFO,
      logCreator:
        () =>
        ({ namespace, log: entry }) => {
          if (!this.#closed)
            log(shown([namespace, entry.message, entry.error].filter(Boolean).join(': '), 300));
        },
    }).producer({
      createPartitioner: kafkajs.Partitioners.DefaultPartitioner,
      idempotent: acks === -1,
      // What makes idempotence worth having: a leader that moves is tried again under the same sequence numbers. 1 is the least.
      retry: { retries: 1 },
      maxInFlightRequests: 1,
    });
  }

  /** Resolves when the brokers have all of them. Rejects at the latest after half a minute, or on `signal`. */
  async send(messages: Message[], signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const limit = AbortSignal.timeout(SEND_MS);
    await unlessAborted(this.#send(messages), AbortSignal.any([signal, limit]));
  }

  /** Leaves no socket behind. What was under way fails. */
  close(): void {
    this.#closed = true;
    for (const socket of this.#sockets) socket.destroy(new Error('closed'));
  }

  async #send(messages: Message[]): Promise<void> {
    this.#connecting ??= this.#producer.connect();
    await this.#connecting;
    await this.#producer.send({
      topic: this.#settings.topic,
      acks: this.#settings.acks,
      timeout: ACKNOWLEDGE_MS,
      // As fast as none at 1/25 of the bytes (290 incidents of 3.4 KB that differ in names, ids and arguments).
      compression: this.#gzip,
      messages,
    });
  }

  #connect(address: BrokerAddress, ssl: object | undefined, onConnect: () => void): BrokerSocket {
    if (this.#closed) throw new Error('closed');
    const socket = new BrokerSocket(address, ssl, onConnect);
    this.#sockets.add(socket);
    socket.once('end', () => this.#sockets.delete(socket));
    return socket;
  }
}

function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const abort = () => reject(signal.reason);
  if (signal.aborted) abort();
  signal.addEventListener('abort', abort, { once: true });
  void work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  return promise;
}
