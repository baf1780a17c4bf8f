/** The sink against real servers: Elasticsearch 8.19 and 9.5, one node each, on this machine. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, describe, type TestContext, test } from 'node:test';
import * as elasticsearch from '../../sinks/elasticsearch.ts';
import type { ElasticsearchSettings } from '../../src/elasticsearch/settings.ts';
import type { Delivery, Outcome, Sink, SinkContext } from '../../src/sink.ts';
import { type Certificates, makeCertificates } from '../fixtures/tls.ts';
import {
  containerKill,
  delivery,
  hostileKills,
  killWithoutCommandLine,
  numbered,
  storm,
} from '../incidents.ts';
import {
  documentedTemplate,
  ELASTICSEARCH_8,
  ELASTICSEARCH_9,
  type ElasticsearchOptions,
  type ElasticsearchServer,
  PASSWORD,
  startElasticsearch,
  USERNAME,
} from '../servers/elasticsearch.ts';
import { ADDRESS_OF_NOBODY } from '../servers/free-ports.ts';
import { sinkContext } from './context.ts';
import { longer, testSinkContract, until } from './contract.ts';
import { ElasticsearchDouble, silentAddress } from './elasticsearch-double.ts';
import { reasonOf } from './elasticsearch-sink.ts';

const NEVER = new AbortController().signal;
const DELIVERED: Outcome = { kind: 'delivered' };
const FIRST_TRY_MS = 2_000;

/** One server for the tests of a `describe`, started by the first that needs it. */
function sharedServer(options: () => ElasticsearchOptions): () => Promise<ElasticsearchServer> {
  const cleanups: (() => Promise<void>)[] = [];
  let starting: Promise<ElasticsearchServer> | undefined;
  after(async () => {
    for (const clean of cleanups.reverse()) await clean();
  });
  return () => {
    starting ??= startElasticsearch({ after: (clean) => cleanups.push(clean) }, options());
    return starting;
  };
}

let indices = 0;
/** Each test writes to an index of its own. */
function newIndex(prefix = 'oom'): string {
  return `${prefix}-${++indices}`;
}

async function openSink(
  t: TestContext | undefined,
  settings: ElasticsearchSettings,
  rest: Partial<SinkContext> = {},
): Promise<Sink> {
  const sink = await elasticsearch.open(settings, sinkContext({ now: Date.now, ...rest }));
  t?.after(() => sink.close());
  return sink;
}

interface Progress {
  delivered: number;
  retries: number;
}

/** What a courier does: what is not delivered is sent again until it is, with more patience each time. Returns everything that was sent. */
async function deliverWhile(goesOn: () => boolean, sink: Sink, progress: Progress): Promise<Delivery[]> {
  const sent: Delivery[] = [];
  while (goesOn()) {
    let left = storm(5, 100_000 + sent.length);
    sent.push(...left);
    let tryMs = FIRST_TRY_MS;
    await until(async () => {
      const outcomes = await sink.deliver(left, AbortSignal.timeout(tryMs));
      tryMs = longer(tryMs);
      const refused = outcomes.filter(({ kind }) => kind === 'rejected');
      assert.deepEqual(refused, []);
      const again = left.filter((_, index) => outcomes[index]!.kind === 'retry');
      progress.delivered += left.length - again.length;
      progress.retries += again.length;
      left = again;
      return left.length === 0;
    }, 'a delivery');
  }
  return sent;
}

function sorted(ids: readonly string[]): string[] {
  return [...ids].sort();
}

function idsOf(batch: readonly Delivery[]): string[] {
  return sorted(batch.map(({ incident }) => incident.id));
}

/** The promises that hold on every version. */
function plainPath(started: () => Promise<ElasticsearchServer>): void {
  test('twice the same: one document, which is the incident with @timestamp', async (t) => {
    const server = await started();
    const index = newIndex();
    const sink = await openSink(t, { servers: [server.url], index });
    assert.deepEqual(await sink.deliver([delivery(containerKill())], NEVER), [DELIVERED]);
    assert.deepEqual(await sink.deliver([delivery(containerKill())], NEVER), [DELIVERED]);

    assert.deepEqual(await server.ids(index), [containerKill().id]);
    const { _source } = await server.call('GET', `/${index}/_doc/${encodeURIComponent(containerKill().id)}`);
    const incident = JSON.parse(JSON.stringify(containerKill()));
    assert.deepEqual(_source, { '@timestamp': incident.time, ...incident });
  });

  test('a strict mapping refuses one of three, the others are there', async (t) => {
    const server = await started();
    const index = newIndex();
    const strictSystemd = { dynamic: 'strict', properties: { unit: { type: 'keyword' } } };
    await server.call('PUT', `/${index}`, {
      mappings: { dynamic: false, properties: { systemd: strictSystemd } },
    });
    const sink = await openSink(t, { servers: [server.url], index });
    const [first, second, third] = storm(3) as [Delivery, Delivery, Delivery];
    const strange = delivery({ ...second.incident, systemd: { slice: 'user.slice' } });

    const outcomes = await sink.deliver([first, strange, third], NEVER);
    assert.deepEqual([outcomes[0], outcomes[2]], [DELIVERED, DELIVERED]);
    assert.match(reasonOf(outcomes[1], 'rejected'), /strict.*\[slice\]/);
    assert.deepEqual(await server.ids(index), [first.incident.id, third.incident.id]);
  });

  test('a data stream is made by the first incident, by the template of the documentation', async (t) => {
    const server = await started();
    await server.call('PUT', '/_index_template/oom-witness', documentedTemplate());
    const index = newIndex('oom-witness');
    const said: unknown[] = [];
    const sink = await openSink(t, { servers: [server.url], index }, { log: (...line) => said.push(line) });
    const batch = [
      containerKill(),
      numbered(killWithoutCommandLine(), 1),
      ...hostileKills().map(({ incident }) => incident),
      {
        ...numbered(containerKill(), 2),
        k8s: { pod: { labels: { app: 'a', 'app.kubernetes.io/name': 'b' } } },
        unknown: { process: 'x', 'process.command_line': 'y' },
      },
    ].map((incident) => delivery(incident));
    for (let round = 0; round < 2; round++)
      assert.deepEqual(
        await sink.deliver(batch, NEVER),
        batch.map(() => DELIVERED),
      );
    assert.deepEqual(said, []);

    assert.deepEqual(sorted(await server.ids(index)), idsOf(batch));
    const backing = Object.keys(await server.call('GET', `/${index}/_mapping`));
    assert.match(backing[0]!, /^\.ds-oom-witness-/);
    const word = { query: { match: { 'process.command_line': 'shop.jar' } } };
    assert.ok((await server.call('POST', `/${index}/_search`, word)).hits.total.value > 0);
  });
}

describe(`elasticsearch ${ELASTICSEARCH_8}`, () => {
  const started = sharedServer(() => ({
    version: ELASTICSEARCH_8,
    settings: { 'http.max_content_length': '900kb' },
  }));

  testSinkContract(`elasticsearch ${ELASTICSEARCH_8}`, async (t) => {
    const server = await started();
    const index = newIndex();
    const at = async (url: string) => openSink(undefined, { servers: [url], index });
    return {
      open: () => at(server.url),
      openAgainstNothing: async () => at(ADDRESS_OF_NOBODY),
      openAgainstSilence: async () => at(await silentAddress(t)),
      received: () => server.ids(index),
      restart: async () => {
        await server.stop();
        await server.start();
      },
    };
  });

  plainPath(started);

  test('the double of the unit tests answers as this server does', async (t) => {
    const server = await started();
    const double = await ElasticsearchDouble.start(t);
    const body =
      '{"create":{"_id":"a"}}\n{"x":1}\n{"create":{"_id":"a"}}\n{"x":1}\n{"create":{"_id":"b"}}\n{"x":2}\n';
    const answers = await Promise.all(
      [server.url, double.url].map(async (url) => {
        const response = await fetch(
          `${url}/double/_bulk?filter_path=items.*.status,items.*.error.type,items.*.error.reason`,
          { method: 'POST', headers: { 'content-type': 'application/x-ndjson' }, body },
        );
        return [response.status, response.headers.get('x-elastic-product'), await response.json()];
      }),
    );
    assert.deepEqual(answers[1], answers[0]);
  });

  test('an index without a template: what its mapping refuses goes in without its labels', async (t) => {
    const server = await started();
    const index = newIndex();
    const said: unknown[] = [];
    const sink = await openSink(t, { servers: [server.url], index }, { log: (...line) => said.push(line) });
    const labelled = (sequence: number, labels: Record<string, string>) =>
      delivery({ ...numbered(containerKill(), sequence), k8s: { pod: { name: 'p', labels } } });
    const batch = [labelled(1, { app: 'a' }), labelled(2, { 'app.kubernetes.io/name': 'b' })];
    assert.deepEqual(await sink.deliver(batch, NEVER), [DELIVERED, DELIVERED]);
    assert.equal((await server.ids(index)).length, 2);
    assert.match(JSON.stringify(said), /only without labels/);
  });

  test('an alias takes incidents into its write index', async (t) => {
    const server = await started();
    const [alias, index] = [newIndex(), newIndex()];
    await server.call('PUT', `/${index}`, { aliases: { [alias]: { is_write_index: true } } });
    const sink = await openSink(t, { servers: [server.url], index: alias });
    assert.deepEqual(await sink.deliver([delivery(containerKill())], NEVER), [DELIVERED]);
    assert.deepEqual(await server.ids(index), [containerKill().id]);
  });

  test('a batch that is larger than the server takes is split', async (t) => {
    const server = await started();
    const index = newIndex();
    const sink = await openSink(t, { servers: [server.url], index });
    const batch = storm(500);
    assert.ok(JSON.stringify(batch).length > 1_200_000);
    assert.ok((await sink.deliver(batch, NEVER)).every(({ kind }) => kind === 'delivered'));
    assert.deepEqual(sorted(await server.ids(index)), idsOf(batch));
  });

  test('one document that is larger than the server takes is rejected, its neighbour is not', async (t) => {
    const server = await started();
    const index = newIndex();
    const sink = await openSink(t, { servers: [server.url], index });
    const large = delivery({ ...numbered(containerKill(), 1), raw: ['x'.repeat(1_000_000)] });
    const [refused, taken] = await sink.deliver([large, delivery(containerKill())], NEVER);
    assert.match(reasonOf(refused, 'rejected'), /larger than Elasticsearch/);
    assert.deepEqual(taken, DELIVERED);
  });

  test('a node that hangs: the other one is asked within the same try', async (t) => {
    const server = await started();
    const index = newIndex();
    const sink = await openSink(t, { servers: [await silentAddress(t), server.url], index });
    assert.deepEqual(await sink.deliver([delivery(containerKill())], AbortSignal.timeout(25_000)), [
      DELIVERED,
    ]);
  });

  test('what somebody can mend is tried again, with a reason that says what', async (t) => {
    const server = await started();
    const reason = async (index: string) => {
      const sink = await openSink(t, { servers: [server.url], index });
      return reasonOf((await sink.deliver([delivery(containerKill())], NEVER))[0], 'retry');
    };
    const [blocked, full, closed, nowhere, alias] = Array.from({ length: 5 }, () => newIndex());
    await server.call('PUT', `/${blocked}`, { settings: { 'index.blocks.write': true } });
    await server.call('PUT', `/${full}`, { settings: { 'index.blocks.read_only_allow_delete': true } });
    await server.call('PUT', `/${closed}`);
    await server.call('POST', `/${closed}/_close`);
    // Its shard would keep the whole cluster red, and the next start would wait for it.
    t.after(() => server.call('DELETE', `/${nowhere}`));
    await server.call('PUT', `/${nowhere}?wait_for_active_shards=0`, {
      settings: { 'index.routing.allocation.include._name': 'nobody' },
    });
    await server.call('PUT', `/${newIndex()}`, { aliases: { [alias!]: { is_write_index: false } } });

    assert.match(await reason(blocked!), /\(403\): .*index write/);
    assert.match(await reason(full!), /takes no more at the moment: .*flood-stage/);
    assert.match(await reason(closed!), /closed/);
    assert.match(await reason(nowhere!), /\(503\): .*primary shard is not active/);
    assert.match(await reason(alias!), /no write index is defined/);
  });

  const outages: Record<
    string,
    (server: ElasticsearchServer) => { begin(): Promise<void>; end(): Promise<void> }
  > = {
    'stopped in order': (server) => ({ begin: server.stop, end: server.start }),
    'killed with -9': (server) => ({ begin: server.kill9, end: server.start }),
    frozen: (server) => ({ begin: server.freeze, end: async () => server.thaw() }),
  };
  for (const [how, outage] of Object.entries(outages))
    test(`${how} while incidents are on their way: each is there exactly once`, async (t) => {
      const server = await started();
      const index = newIndex();
      const sink = await openSink(t, { servers: [server.url], index });
      const progress: Progress = { delivered: 0, retries: 0 };
      let enough = false;
      const delivering = deliverWhile(() => !enough, sink, progress);
      const seen = (condition: () => boolean, what: string) =>
        Promise.race([until(condition, what), delivering]);

      await seen(() => progress.delivered >= 200, 'deliveries before the outage');
      const { begin, end } = outage(server);
      await begin();
      await seen(() => progress.retries > 0, 'a delivery that fails');
      await end();
      const before = progress.delivered;
      await seen(() => progress.delivered >= before + 200, 'deliveries after the outage');
      enough = true;
      const delivered = idsOf(await delivering);
      assert.deepEqual(sorted(await server.ids(index)), delivered);
    });
});

describe(`elasticsearch ${ELASTICSEARCH_8} with security`, () => {
  const cleanups: (() => void)[] = [];
  after(() => {
    for (const clean of cleanups) clean();
  });
  let certificates: Certificates | undefined;
  const pem = () => {
    certificates ??= makeCertificates({ after: (clean) => cleanups.push(clean) });
    return certificates;
  };
  const started = sharedServer(() => ({ version: ELASTICSEARCH_8, certificates: pem() }));
  const basic = { username: USERNAME, password: PASSWORD };
  const trusted = () => ({
    ca: readFileSync(pem().ca, 'utf8'),
    cert: readFileSync(pem().clientCert, 'utf8'),
    key: readFileSync(pem().clientKey, 'utf8'),
  });

  async function outcomeWith(t: TestContext, rest: Partial<ElasticsearchSettings>): Promise<Outcome> {
    const server = await started();
    const sink = await openSink(t, { servers: [server.url], index: newIndex(), tls: trusted(), ...rest });
    return (await sink.deliver([delivery(containerKill())], NEVER))[0]!;
  }

  async function apiKey(names: readonly string[]): Promise<{ id: string; encoded: string }> {
    const server = await started();
    const privileges = ['create_doc', 'auto_configure'];
    const writer = { indices: [{ names, privileges }] };
    return server.call('POST', '/_security/api_key', { name: 'oom-witness', role_descriptors: { writer } });
  }

  test('HTTPS with an authority of its own, a client certificate, user and password', async (t) => {
    assert.deepEqual(await outcomeWith(t, { auth: basic }), DELIVERED);
  });

  test('a server that demands a client certificate: without one nothing goes', async (t) => {
    const { ca } = trusted();
    assert.match(
      reasonOf(await outcomeWith(t, { auth: basic, tls: { ca } }), 'retry'),
      /cannot reach.*--elasticsearch-cert/,
    );
  });

  test('an API key with the privileges of the documentation, also for what is already there', async (t) => {
    const server = await started();
    const index = newIndex();
    const auth = { apiKey: (await apiKey(['oom-*'])).encoded };
    const sink = await openSink(t, { servers: [server.url], index, tls: trusted(), auth });
    for (let round = 0; round < 2; round++)
      assert.deepEqual(await sink.deliver(storm(3), NEVER), [DELIVERED, DELIVERED, DELIVERED]);
    assert.equal((await server.ids(index)).length, 3);
  });

  test('an API key for another index: which privilege is missing', async (t) => {
    const auth = { apiKey: (await apiKey(['other-*'])).encoded };
    assert.match(reasonOf(await outcomeWith(t, { auth }), 'retry'), /forbids writing to oom-\d+.*create_doc/);
  });

  test('an API key that was withdrawn', async (t) => {
    const server = await started();
    const { id, encoded } = await apiKey(['oom-*']);
    await server.call('DELETE', '/_security/api_key', { ids: [id] });
    assert.match(reasonOf(await outcomeWith(t, { auth: { apiKey: encoded } }), 'retry'), /API key \(401\)/);
  });

  test('a wrong password, and none', async (t) => {
    const wrong = reasonOf(await outcomeWith(t, { auth: { ...basic, password: 'hunter2' } }), 'retry');
    assert.match(wrong, /refuses the user, password or API key \(401\)/);
    assert.doesNotMatch(wrong, /hunter2/);
    assert.match(reasonOf(await outcomeWith(t, {}), 'retry'), /missing authentication credentials/);
  });

  test('a certificate of an unknown authority: which option mends it', async (t) => {
    const stranger = { ...trusted(), ca: readFileSync(pem().strangerCa, 'utf8') };
    assert.match(
      reasonOf(await outcomeWith(t, { auth: basic, tls: stranger }), 'retry'),
      /cannot reach.*certificate.*--elasticsearch-ca/,
    );
  });

  test('http:// to a server that speaks TLS', async (t) => {
    const server = await started();
    const servers = [server.url.replace('https', 'http')];
    assert.match(reasonOf(await outcomeWith(t, { servers, tls: undefined }), 'retry'), /cannot reach/);
  });

  test('two nodes, one of them dead, in either order', async (t) => {
    const server = await started();
    const dead = ADDRESS_OF_NOBODY.replace('http:', 'https:');
    for (const servers of [
      [dead, server.url],
      [server.url, dead],
    ]) {
      const index = newIndex();
      const sink = await openSink(t, { servers, index, tls: trusted(), auth: basic });
      for (const one of storm(4)) assert.deepEqual(await sink.deliver([one], NEVER), [DELIVERED]);
      assert.deepEqual(sorted(await server.ids(index)), idsOf(storm(4)));
    }
  });
});

describe(`elasticsearch ${ELASTICSEARCH_9}`, () => {
  plainPath(sharedServer(() => ({ version: ELASTICSEARCH_9 })));
});
