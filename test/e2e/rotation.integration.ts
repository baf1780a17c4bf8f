/** Certificates and passwords of Kafka and Elasticsearch are replaced, and the servers restarted with them, while the agent runs. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { AgentProcess } from '../agent-process.ts';
import { makeCertificates } from '../fixtures/tls.ts';
import { PASSWORD, startElasticsearch, USERNAME } from '../servers/elasticsearch.ts';
import { KafkaServer } from '../servers/kafka.ts';
import { until } from '../sinks/contract.ts';
import { KillLog } from './kill-log.ts';
import { MountedSecret } from './mounted-secret.ts';

const ARRIVAL_MS = 120_000;
const INDEX = 'oom-kills';

describe('certificates that are replaced while the agent runs', () => {
  it('Kafka and Elasticsearch go on to get every kill', async (t) => {
    const secret = new MountedSecret(t);
    const first = secret.issue(PASSWORD);
    const [kafka, elasticsearch] = await Promise.all([
      KafkaServer.start(t, '4.3', first),
      startElasticsearch(t, { certificates: first }),
    ]);
    const topic = await kafka.createTopic('oom-kills');
    const { host, port } = kafka.address('SSL');
    const log = new KillLog(t);
    const identity = (sink: string) =>
      Object.entries({ ca: 'ca.crt', cert: 'tls.crt', key: 'tls.key' } as const).flatMap(([option, name]) => [
        `--${sink}-${option}`,
        secret.path(name),
      ]);
    const agent = await AgentProcess.start(t, {
      args: [
        ...['--log-file', log.file, '--kafka-brokers', `${host}:${port}`, '--kafka-topic', topic],
        ...identity('kafka'),
        ...['--elasticsearch-server', elasticsearch.url, '--elasticsearch-index', INDEX],
        ...['--elasticsearch-username', USERNAME, '--elasticsearch-password-file', secret.path('password')],
        ...identity('elasticsearch'),
      ],
    });
    const arrived = async (count: number) => {
      await agent.until(() => agent.incidents.length === count, `telling ${count} kills`);
      const ids = agent.incidents.map(({ id }) => id);
      const inKafka = async () => new Set((await kafka.read(topic)).map(({ key }) => key));
      await until(
        async () => (await inKafka()).isSupersetOf(new Set(ids)),
        'all of them in Kafka',
        ARRIVAL_MS,
      );
      const inIndex = async () => new Set(await elasticsearch.ids(INDEX));
      await until(
        async () => (await inIndex()).isSupersetOf(new Set(ids)),
        'all of them in Elasticsearch',
        ARRIVAL_MS,
      );
    };
    log.kill();
    await arrived(1);

    // kubelet brings a new Secret a minute late: until then the servers refuse the old one.
    await Promise.all([kafka.stop(), elasticsearch.stop()]);
    const second = makeCertificates(t);
    await Promise.all([kafka.startAgain(second), elasticsearch.start(second)]);
    log.kill();
    const failing = (sink: string) =>
      agent.log.some((line) => line.sink === sink && line.msg === 'not delivered, trying again');
    await until(() => failing('kafka') && failing('elasticsearch'), 'both refusing', ARRIVAL_MS);
    secret.mount(second, PASSWORD);
    await arrived(2);
    assert.equal(await agent.terminate(), 0);
  });
});
