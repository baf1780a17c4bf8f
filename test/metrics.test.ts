import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { HOST_LABELS } from '../src/metrics/kill-series.ts';
import { Metrics } from '../src/metrics.ts';

/** A process of the machine itself. */
const HOST = 'namespace="",pod="",container=""';
const NOW = Date.parse('2026-11-21T03:14:15.926Z');

function metrics(): Metrics {
  return new Metrics({ version: '1.2.3', node: '26.10.0', sinks: ['kafka', 'slack'], now: () => NOW });
}

/** Name with labels -> value. */
async function samples(of: Metrics): Promise<Map<string, number>> {
  const lines = (await of.scrape()).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.split(' ').at(-1))]));
}

test('every series is there with 0 before anything has happened, so that increase() sees the first kill', async () => {
  const all = await samples(metrics());
  for (const series of [
    `oom_witness_kills_total{${HOST},scope="cgroup"}`,
    `oom_witness_kills_total{${HOST},scope="node"}`,
    `oom_witness_last_kill_timestamp_seconds{${HOST},scope="node"}`,
    'oom_witness_statements_total{agrees="false"}',
    'oom_witness_incidents_committed_total{scope="node"}',
    'oom_witness_no_victim_total',
    'oom_witness_captures_total{source="exec"}',
    'oom_witness_captures_total{source="kernel-comm"}',
    'oom_witness_redactions_total',
    'oom_witness_kmsg_records_total',
    'oom_witness_kmsg_lost_records_total',
    'oom_witness_kmsg_overruns_total',
    'oom_witness_untold_total',
    'oom_witness_reader_up{reader="kmsg"}',
    'oom_witness_reader_up{reader="proc_connector"}',
    'oom_witness_proc_connector_events_total{event="exec"}',
    'oom_witness_proc_connector_overruns_total',
    'oom_witness_process_table_entries',
    'oom_witness_process_table_bytes',
    'oom_witness_queue_depth{sink="kafka"}',
    'oom_witness_queue_oldest_seconds{sink="slack"}',
    'oom_witness_deliveries_total{sink="kafka",outcome="delivered"}',
    'oom_witness_deliveries_total{sink="slack",outcome="dropped"}',
    'oom_witness_delivery_latency_seconds_count{sink="kafka"}',
    'oom_witness_dead_letters_total{sink="kafka"}',
  ])
    assert.equal(all.get(series), 0, series);
  assert.equal(all.get('oom_witness_build_info{version="1.2.3",nodejs="26.10.0"}'), 1);
});

test("the capture thread's counters and the queues are read at the scrape", async () => {
  const own = metrics();
  const counters = { kmsgRecords: 5, execs: 7, tableEntries: 300 } as Record<string, number>;
  own.attach({
    counter: (name) => counters[name] ?? 0,
    queue: (sink) => (sink === 'kafka' ? { depth: 3, oldestAt: NOW - 2500 } : { depth: 0 }),
  });
  await own.scrape();
  counters.kmsgRecords = 9;
  const all = await samples(own);
  assert.equal(all.get('oom_witness_kmsg_records_total'), 9);
  assert.equal(all.get('oom_witness_proc_connector_events_total{event="exec"}'), 7);
  assert.equal(all.get('oom_witness_process_table_entries'), 300);
  assert.equal(all.get('oom_witness_queue_depth{sink="kafka"}'), 3);
  assert.equal(all.get('oom_witness_queue_oldest_seconds{sink="kafka"}'), 2.5);
  assert.equal(all.get('oom_witness_queue_oldest_seconds{sink="slack"}'), 0);
});

test("the process's own figures are there under their usual names", async () => {
  const all = await samples(metrics());
  assert.ok(all.get('process_resident_memory_bytes')! > 1e6);
  assert.ok(all.get('process_cpu_seconds_total')! > 0);
  assert.ok(Math.abs(all.get('process_start_time_seconds')! - NOW / 1000) < 600);
});

test('no label holds a pid, the name of a process or a command line', async () => {
  const labels = new Set((await metrics().scrape()).match(/[{,](\w+)=/g)?.map((each) => each.slice(1, -1)));
  assert.deepEqual([...labels].sort(), [
    'agrees',
    'container',
    'event',
    'le',
    'namespace',
    'nodejs',
    'outcome',
    'pod',
    'reader',
    'scope',
    'sink',
    'source',
    'version',
  ]);
});

test('two of them do not share anything', async () => {
  const [one, other] = [metrics(), metrics()];
  one.kills.killed(HOST_LABELS, 'node', 1, 0);
  assert.equal((await samples(other)).get(`oom_witness_kills_total{${HOST},scope="node"}`), 0);
});

describe('the series of a container', () => {
  const shop = { namespace: 'web', pod: 'shop-1', container: 'shop' };
  const kills = 'oom_witness_kills_total{namespace="web",pod="shop-1",container="shop",scope="cgroup"}';
  const lastIn = (scope: string) =>
    `oom_witness_last_kill_timestamp_seconds{namespace="web",pod="shop-1",container="shop",scope="${scope}"}`;
  const last = lastIn('cgroup');

  test('is there with 0 as soon as the container is known, and counts its victims', async () => {
    const own = metrics();
    own.kills.expect(shop);
    assert.equal((await samples(own)).get(kills), 0);
    assert.equal((await samples(own)).get(last), undefined);
    own.kills.killed(shop, 'cgroup', 3, 1000);
    own.kills.killed(shop, 'cgroup', 1, 900);
    assert.equal((await samples(own)).get(kills), 4);
    assert.equal((await samples(own)).get(last), 1000);
  });

  test('tells when the last kill was for each scope: one for want of its own memory says nothing of the node', async () => {
    const own = metrics();
    own.kills.killed(shop, 'node', 1, 1000);
    own.kills.killed(shop, 'cgroup', 1, 2000);
    const all = await samples(own);
    assert.deepEqual([all.get(lastIn('node')), all.get(last)], [1000, 2000]);
    own.kills.leave(shop);
    await own.scrape();
    const gone = await samples(own);
    assert.deepEqual([gone.get(lastIn('node')), gone.get(last)], [undefined, undefined]);
  });

  test('goes with its pod, but two scrapes see the last kill, also where that comes after the end', async () => {
    const own = metrics();
    own.kills.expect(shop);
    await own.scrape();
    own.kills.leave({ namespace: 'web', pod: 'shop-1' });
    own.kills.killed(shop, 'cgroup', 1, 1000);
    for (const prometheus of ['one', 'its twin'])
      assert.equal((await samples(own)).get(kills), 1, prometheus);
    const all = await samples(own);
    assert.equal(all.get(kills), undefined);
    assert.equal(all.get(last), undefined);
  });

  test('stays when a pod of its name comes back', async () => {
    const own = metrics();
    own.kills.expect(shop);
    own.kills.leave({ namespace: 'web', pod: 'shop-1' });
    own.kills.expect(shop);
    await own.scrape();
    await own.scrape();
    assert.equal((await samples(own)).get(kills), 0);
  });

  test('of 2,000 and one the oldest gives way, never that of the machine', async () => {
    const own = metrics();
    for (let n = 0; n < 2100; n++) own.kills.expect({ ...shop, pod: `shop-${n}` });
    const all = await samples(own);
    assert.equal([...all.keys()].filter((each) => each.startsWith('oom_witness_kills_total')).length, 2006);
    assert.equal(all.get(`oom_witness_kills_total{${HOST},scope="cgroup"}`), 0);
    assert.equal(all.get(kills), undefined);
  });
});
