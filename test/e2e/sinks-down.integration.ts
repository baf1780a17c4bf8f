/** The whole agent with real kills, while real Kafka, Elasticsearch and rsyslog are frozen or stopped: nothing is lost. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { AgentProcess } from '../agent-process.ts';
import { makeCertificates } from '../fixtures/tls.ts';
import { type Launched, launch, makeCgroup, whyNoKills } from '../kills/kills.ts';
import { startElasticsearch } from '../servers/elasticsearch.ts';
import { KafkaServer } from '../servers/kafka.ts';
import { rsyslog, rsyslogPackages } from '../servers/rsyslog.ts';
import { until } from '../sinks/contract.ts';

const packages = await rsyslogPackages();
const skip = whyNoKills() ?? ('missing' in packages ? packages.missing : false);

const INDEX = 'oom-kills';

describe('sinks that are down during kills', { skip }, () => {
  it('get every incident when they are back, whole and under its id', async (t) => {
    assert.ok('root' in packages);
    const [kafka, elasticsearch, syslog] = await Promise.all([
      KafkaServer.start(t),
      startElasticsearch(t),
      rsyslog(t, packages.root, makeCertificates(t)),
    ]);
    await syslog.start();
    const topic = await kafka.createTopic('oom-kills');
    const broker = kafka.address();
    const agent = await AgentProcess.start(t, {
      args: [
        ...['--kafka-brokers', `${broker.host}:${broker.port}`, '--kafka-topic', topic],
        ...['--elasticsearch-server', elasticsearch.url, '--elasticsearch-index', INDEX],
        ...['--syslog-proto', 'tcp', '--syslog-server', `127.0.0.1:${syslog.ports.octetCounting}`],
      ],
    });
    const group = makeCgroup(16 << 20);
    t.after(() => group.remove());
    const victims: Launched[] = [];
    const kill = async (text: string) =>
      victims.push(
        ...(await launch(group, { count: 10, parallel: 2, liveMs: 100, text: [text, '--index=%d'] })),
      );

    await kill('--while=all-are-up');
    await kafka.freeze();
    await elasticsearch.stop();
    await syslog.process.freeze();
    await kill('--while=all-are-down');
    kafka.thaw();
    syslog.process.thaw();
    await elasticsearch.start();
    await kafka.stop();
    await elasticsearch.freeze();
    await kill('--while=two-are-down');
    elasticsearch.thaw();
    await kafka.startAgain();
    await kill('--while=all-are-up-again');

    const pids = victims.map(({ pid }) => pid);
    await agent.until(() => agent.of(pids).length === victims.length, 'telling every kill');
    const ids = agent.of(pids).map(({ id }) => id);
    const has = (found: Iterable<string | undefined>) => {
      const there = new Set(found);
      return ids.every((id) => there.has(id));
    };
    const inKafka = async () => (await kafka.read(topic)).map(({ key }) => key);
    await until(async () => has(await inKafka()), 'every incident in Kafka');
    await until(async () => has(await elasticsearch.ids(INDEX)), 'every incident in Elasticsearch');
    const inSyslog = async () => JSON.stringify(await syslog.received());
    await until(async () => {
      const messages = await inSyslog();
      return ids.every((id) => messages.includes(id));
    }, 'every incident in rsyslog');
    const stored = await elasticsearch.ids(INDEX);
    assert.equal(new Set(stored).size, stored.length, 'nothing twice in Elasticsearch');
    assert.equal(await agent.terminate(), 0);
  });
});
