/** A real Kafka: one process that is broker and controller, on free ports of 127.0.0.1, with its data in a folder of its own. */
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Admin, Kafka } from 'kafkajs';
import { loadKafkaJS } from '../../src/kafka/client.ts';
import type { Certificates } from '../fixtures/tls.ts';
import { PATIENCE_MS } from '../patience.ts';
import { until } from '../sinks/contract.ts';
import { freshFolder } from '../temporary-folder.ts';
import { freePorts } from './free-ports.ts';
import { mavenClasspath } from './maven.ts';
import { type RunningServer, startServer } from './process.ts';

export type KafkaVersion = '4.3' | '3.9';

/** Listeners: without anything, TLS with client certificates, a login, a login over TLS. */
const LISTENERS = ['PLAINTEXT', 'SSL', 'SASL_PLAINTEXT', 'SASL_SSL'] as const;
export type Listener = (typeof LISTENERS)[number];

export interface Login {
  readonly username: string;
  readonly password: string;
}
/** May log in with PLAIN. */
export const PLAIN_LOGIN: Login = { username: 'plain-user', password: 'plain-secret' };
/** May log in with SCRAM-SHA-256 and SCRAM-SHA-512. */
export const SCRAM_LOGIN: Login = { username: 'scram-user', password: 'scram-secret' };
/** May log in with PLAIN, and may not write to any topic. */
export const POWERLESS_LOGIN: Login = { username: 'powerless', password: 'nothing' };

export interface ReadRecord {
  readonly key: string | undefined;
  readonly value: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly timestamp: number;
}

/** 16 bytes. Not random: one that begins with a dash is an option to the tool that is given it. */
const CLUSTER_ID = Buffer.from('oom-witness-test').toString('base64url');
const JAVA_OPTIONS = ['-Xmx256m', '-Xms64m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1'];

export class KafkaServer {
  readonly #ports: Readonly<Record<Listener, number>>;
  readonly #java: readonly string[];
  readonly #configure: (certificates: Certificates) => void;
  #process: RunningServer;

  private constructor(
    ports: Readonly<Record<Listener, number>>,
    java: readonly string[],
    configure: (certificates: Certificates) => void,
    process: RunningServer,
  ) {
    this.#ports = ports;
    this.#java = java;
    this.#configure = configure;
    this.#process = process;
  }

  /** With certificates it has the two TLS listeners too. Everything that was made goes with `t`. */
  static async start(
    t: { after(clean: () => unknown): void },
    version: KafkaVersion = '4.3',
    certificates?: Certificates,
  ): Promise<KafkaServer> {
    const jars = await mavenClasspath(
      join(import.meta.dirname, 'kafka', `pom-${version}.xml`),
      `kafka-${version}`,
    );
    const folder = freshFolder('oom-witness-kafka');
    let kafka: KafkaServer | undefined;
    t.after(async () => {
      await kafka?.stop();
      await rm(folder, { recursive: true, force: true });
    });
    const [controller, ...free] = await freePorts(LISTENERS.length + 1);
    const ports = Object.fromEntries(LISTENERS.map((listener, index) => [listener, free[index]]));

    const config = join(folder, 'server.properties');
    const configure = (pem: Certificates | undefined) =>
      writeFileSync(config, properties(folder, ports as never, controller!, pem));
    configure(certificates);
    // 4.x logs through log4j 2, 3.9 through reload4j; each reads its own file.
    writeFileSync(join(folder, 'log4j2.properties'), LOG4J_2);
    writeFileSync(join(folder, 'log4j.properties'), LOG4J_1);
    const java = [
      ...JAVA_OPTIONS,
      `-Dlog4j2.configurationFile=${join(folder, 'log4j2.properties')}`,
      `-Dlog4j.configuration=file:${join(folder, 'log4j.properties')}`,
      ...['-cp', `${jars}/*`],
    ];
    const { username, password } = SCRAM_LOGIN;
    const scram = [256, 512].flatMap((bits) => [
      '-S',
      `SCRAM-SHA-${bits}=[name=${username},password=${password}]`,
    ]);
    await promisify(execFile)('java', [
      ...java,
      'kafka.tools.StorageTool',
      'format',
      '-t',
      CLUSTER_ID,
      '-c',
      config,
      ...scram,
    ]);

    kafka = new KafkaServer(
      ports as never,
      [...java, 'kafka.Kafka', config],
      configure,
      await run([...java, 'kafka.Kafka', config]),
    );
    return kafka;
  }

  address(listener: Listener = 'PLAINTEXT'): { readonly host: string; readonly port: number } {
    return { host: '127.0.0.1', port: this.#ports[listener] };
  }

  stop(): Promise<void> {
    return this.#process.stop();
  }

  /** SIGKILL. */
  die(): Promise<void> {
    return this.#process.kill9();
  }

  freeze(): Promise<void> {
    return this.#process.freeze();
  }

  thaw(): void {
    this.#process.thaw();
  }

  /** With the same ports and data; waits until it serves. @param certificates instead of those that it had */
  async startAgain(certificates?: Certificates): Promise<void> {
    if (certificates) this.#configure(certificates);
    this.#process = await run(this.#java);
  }

  async createTopic(
    topic: string,
    partitions = 1,
    config: Readonly<Record<string, string>> = {},
  ): Promise<string> {
    await this.#withAdmin(async (admin) => {
      await admin.createTopics({
        // Its own wait fails where a broker does not know its new topic at once.
        waitForLeaders: false,
        timeout: PATIENCE_MS,
        topics: [
          {
            topic,
            numPartitions: partitions,
            configEntries: Object.entries(config).map(([name, value]) => ({ name, value })),
          },
        ],
      });
      const isLed = async () => {
        const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
        return topics.every(({ partitions: all }) => all.every(({ leader }) => leader >= 0));
      };
      await until(() => isLed().catch(() => false), `a leader of topic ${topic}`);
    });
    return topic;
  }

  /** What a consumer gets from the topic's beginning to its present end. */
  async read(topic: string): Promise<readonly ReadRecord[]> {
    const offsets = await this.#withAdmin((admin) => admin.fetchTopicOffsets(topic));
    const expected = offsets.reduce((sum, { high, low }) => sum + Number(high) - Number(low), 0);
    if (expected === 0) return [];

    const consumer = (await this.#client()).consumer({ groupId: randomUUID(), maxWaitTimeInMs: 100 });
    // By where they are in the topic: a consumer that has had to begin anew reads them again.
    const records = new Map<string, ReadRecord>();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    consumer.on('consumer.crash', ({ payload }) => {
      if (!payload.restart) reject(payload.error);
    });
    try {
      await consumer.connect();
      await consumer.subscribe({ topic, fromBeginning: true });
      await consumer.run({
        autoCommit: false,
        eachMessage: async ({ partition, message }) => {
          records.set(`${partition}:${message.offset}`, {
            key: message.key?.toString(),
            value: message.value?.toString() ?? '',
            headers: Object.fromEntries(
              Object.entries(message.headers ?? {}).map(([name, value]) => [name, String(value)]),
            ),
            timestamp: Number(message.timestamp),
          });
          if (records.size === expected) resolve();
        },
      });
      await promise;
    } finally {
      await consumer.disconnect();
    }
    return [...records.values()];
  }

  async #withAdmin<T>(use: (admin: Admin) => Promise<T>): Promise<T> {
    const admin = (await this.#client()).admin();
    try {
      await admin.connect();
      return await use(admin);
    } finally {
      await admin.disconnect();
    }
  }

  async #client(): Promise<Kafka> {
    const kafkajs = await loadKafkaJS();
    const { host, port } = this.address();
    return new kafkajs.Kafka({
      brokers: [`${host}:${port}`],
      connectionTimeout: PATIENCE_MS,
      logLevel: kafkajs.logLevel.NOTHING,
    });
  }
}

function run(java: readonly string[]): Promise<RunningServer> {
  return startServer({
    command: 'java',
    args: java,
    ready: (line) => line.includes('Kafka Server started'),
  });
}

function properties(
  folder: string,
  ports: Readonly<Record<Listener, number>>,
  controller: number,
  certificates: Certificates | undefined,
): string {
  const listeners = LISTENERS.filter((listener) => certificates || !listener.endsWith('SSL'));
  const addresses = listeners.map((listener) => `${listener}://127.0.0.1:${ports[listener]}`);
  const plainUsers = [PLAIN_LOGIN, POWERLESS_LOGIN]
    .map((login) => `user_${login.username}="${login.password}"`)
    .join(' ');
  const jaas = 'org.apache.kafka.common.security';
  const logins = ['sasl_plaintext', 'sasl_ssl'].flatMap((listener) => [
    `listener.name.${listener}.plain.sasl.jaas.config=${jaas}.plain.PlainLoginModule required ${plainUsers};`,
    `listener.name.${listener}.scram-sha-256.sasl.jaas.config=${jaas}.scram.ScramLoginModule required;`,
    `listener.name.${listener}.scram-sha-512.sasl.jaas.config=${jaas}.scram.ScramLoginModule required;`,
  ]);
  return [
    'process.roles=broker,controller',
    'node.id=1',
    `controller.quorum.voters=1@127.0.0.1:${controller}`,
    'controller.listener.names=CONTROLLER',
    'inter.broker.listener.name=PLAINTEXT',
    `listeners=${addresses.join()},CONTROLLER://127.0.0.1:${controller}`,
    `advertised.listeners=${addresses.join()}`,
    `listener.security.protocol.map=CONTROLLER:PLAINTEXT,${listeners.map((name) => `${name}:${name}`).join()}`,
    `log.dirs=${join(folder, 'data')}`,
    'num.network.threads=1',
    'num.io.threads=2',
    'background.threads=1',
    'log.cleaner.enable=false',
    'offsets.topic.num.partitions=1',
    'offsets.topic.replication.factor=1',
    'transaction.state.log.num.partitions=1',
    'transaction.state.log.replication.factor=1',
    'transaction.state.log.min.isr=1',
    'group.initial.rebalance.delay.ms=0',
    'auto.create.topics.enable=false',
    'authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer',
    `super.users=User:ANONYMOUS;User:${PLAIN_LOGIN.username};User:${SCRAM_LOGIN.username};User:CN=client,O=oom-witness test`,
    'sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512',
    ...logins,
    ...(certificates ? tlsProperties(folder, certificates) : []),
    '',
  ].join('\n');
}

function tlsProperties(folder: string, { serverKey, serverCert, ca }: Certificates): string[] {
  const keystore = join(folder, 'keystore.pem');
  writeFileSync(keystore, [serverKey, serverCert, ca].map((path) => readFileSync(path, 'utf8')).join(''));
  return [
    'ssl.keystore.type=PEM',
    `ssl.keystore.location=${keystore}`,
    'ssl.truststore.type=PEM',
    `ssl.truststore.location=${ca}`,
    'listener.name.ssl.ssl.client.auth=required',
    'listener.name.sasl_ssl.ssl.client.auth=none',
  ];
}

const LOG4J_2 = `status=warn
appender.c.type=Console
appender.c.name=C
appender.c.layout.type=PatternLayout
appender.c.layout.pattern=%d %p %m (%c)%n
rootLogger.level=info
rootLogger.appenderRef.c.ref=C
`;

const LOG4J_1 = `log4j.rootLogger=INFO, C
log4j.appender.C=org.apache.log4j.ConsoleAppender
log4j.appender.C.layout=org.apache.log4j.PatternLayout
log4j.appender.C.layout.ConversionPattern=%d %p %m (%c)%n
`;
