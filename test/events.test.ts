import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Events } from '../src/events.ts';
import type { LogFields } from '../src/log.ts';
import { Metrics } from '../src/metrics.ts';
import { containerKill, groupKill, killWithoutCommandLine, podLimitKill } from './incidents.ts';

function bench() {
  const lines: { level: string; message: string; fields: LogFields }[] = [];
  const clock = { now: 1_000_000 };
  const metrics = new Metrics({ version: '1', node: '26', sinks: ['kafka'], now: () => clock.now });
  const events = new Events(
    (level, message, fields = {}) => lines.push({ level, message, fields }),
    metrics,
    () => clock.now,
  );
  const sample = async (series: string) => {
    const line = (await metrics.scrape()).split('\n').find((each) => each.startsWith(`${series} `));
    return Number(line?.split(' ').at(-1));
  };
  const said = () => lines.splice(0).filter(({ level }) => level !== 'debug');
  return { events, said, clock, sample };
}

describe('sinks', () => {
  test('the same failure is logged at once, then once a minute with its count; the metric has each', async () => {
    const { events, said, clock, sample } = bench();
    for (let i = 0; i < 30; i++, clock.now += 3000) events.delivery.retried('kafka', 2, 'refused', 3000);
    const lines = said();
    assert.deepEqual(
      lines.map(({ fields }) => fields.times),
      [undefined, 20],
    );
    assert.deepEqual(lines[0], {
      level: 'warn',
      message: 'not delivered, trying again',
      fields: { sink: 'kafka', waiting: 2, reason: 'refused', wait_ms: 3000 },
    });
    assert.equal(await sample('oom_witness_deliveries_total{sink="kafka",outcome="retried"}'), 60);
    assert.equal(await sample('oom_witness_log_lines_suppressed_total'), 28);
  });

  test('a clock that is set back by a day silences nothing', () => {
    const { events, said, clock } = bench();
    events.delivery.retried('kafka', 1, 'refused', 1000);
    clock.now -= 86_400_000;
    events.delivery.retried('kafka', 1, 'refused', 1000);
    events.delivery.retried('kafka', 1, 'refused', 1000);
    assert.equal(said().length, 2);
  });

  test('another reason is news; so is the same one after a recovery', () => {
    const { events, said } = bench();
    events.delivery.retried('kafka', 1, 'refused', 1000);
    events.delivery.retried('kafka', 1, 'timed out', 1000);
    events.delivery.delivered('kafka', 1, 12);
    events.delivery.delivered('kafka', 1, 12);
    events.delivery.retried('kafka', 1, 'refused', 1000);
    assert.deepEqual(
      said().map(({ message, fields }) => [message, fields.reason]),
      [
        ['not delivered, trying again', 'refused'],
        ['not delivered, trying again', 'timed out'],
        ['delivering again', undefined],
        ['not delivered, trying again', 'refused'],
      ],
    );
  });

  test('a thousand different reasons take bounded memory and still are said', () => {
    const { events, said } = bench();
    for (let i = 0; i < 1000; i++) events.delivery.retried('kafka', 1, `reason ${i}`, 1000);
    assert.equal(said().length, 1000);
  });

  test('each refusal is an error with the id, and counted as a dead letter', async () => {
    const { events, said, sample } = bench();
    events.delivery.rejected('kafka', 'a:1', 'too large');
    events.delivery.rejected('kafka', 'a:2', 'too large');
    assert.deepEqual(
      said().map(({ level, fields }) => [level, fields.id]),
      [
        ['error', 'a:1'],
        ['error', 'a:2'],
      ],
    );
    assert.equal(await sample('oom_witness_dead_letters_total{sink="kafka"}'), 2);
  });

  test('the latency is measured in seconds', async () => {
    const { events, sample } = bench();
    events.delivery.delivered('kafka', 5, 1500);
    assert.equal(await sample('oom_witness_delivery_latency_seconds_sum{sink="kafka"}'), 1.5);
    assert.equal(await sample('oom_witness_deliveries_total{sink="kafka",outcome="delivered"}'), 5);
  });

  test('what was given up is an error with its number', async () => {
    const { events, said, sample } = bench();
    events.store.dropped('kafka', 7, 'the queue is full');
    assert.equal(said()[0]!.fields.times, 7);
    assert.equal(await sample('oom_witness_deliveries_total{sink="kafka",outcome="dropped"}'), 7);
  });
});

const { k8s } = containerKill();
const SHOP = `namespace="${k8s?.namespace?.name}",pod="${k8s?.pod?.name}",container="${k8s?.container?.name}"`;

describe('incidents', () => {
  test('kills are processes, incidents are runs of the OOM killer', async () => {
    const { events, sample } = bench();
    const { time, victims } = groupKill();
    const incidents = [containerKill(), groupKill()];
    events.incidents.committed(incidents);
    for (const incident of incidents) events.incidents.enriched(incident);
    assert.equal(await sample(`oom_witness_kills_total{${SHOP},scope="cgroup"}`), 1 + victims.length);
    assert.equal(await sample('oom_witness_incidents_committed_total{scope="cgroup"}'), 2);
    assert.equal(
      await sample(`oom_witness_last_kill_timestamp_seconds{${SHOP},scope="cgroup"}`),
      Math.max(...[containerKill().time, time].map((each) => Date.parse(each) / 1000)),
    );
    assert.equal(await sample('oom_witness_captures_total{source="exec"}'), 1 + victims.length);
  });

  test('that all pods of a node, or a class of them, had no memory left is told apart from a limit of their own', async () => {
    const { events, sample } = bench();
    const ofPod = podLimitKill();
    for (const limit of [
      { limit_owner: 'slice', limit_cgroup: '/kubepods.slice' },
      { limit_owner: 'slice', limit_cgroup: '/kubelet/kubepods' },
      { limit_owner: 'qos', limit_cgroup: '/kubepods.slice/kubepods-besteffort.slice' },
    ] as const) {
      const incident = { ...ofPod, oom: { ...ofPod.oom, ...limit } };
      events.incidents.committed([incident]);
      events.incidents.enriched(incident);
    }
    events.incidents.committed([ofPod]);
    assert.equal(await sample('oom_witness_incidents_committed_total{scope="allocatable"}'), 3);
    assert.equal(await sample(`oom_witness_kills_total{${SHOP},scope="allocatable"}`), 3);
    assert.equal(
      await sample(`oom_witness_last_kill_timestamp_seconds{${SHOP},scope="allocatable"}`),
      Date.parse(ofPod.time) / 1000,
    );
    assert.equal(await sample('oom_witness_incidents_committed_total{scope="cgroup"}'), 1);
  });

  test('a kill of the past does not turn back the time of the last one; a warning is no kill', async () => {
    const { events, sample } = bench();
    const last = containerKill();
    for (const incident of [last, { ...last, time: '2020-01-01T00:00:00.000Z' }])
      events.incidents.enriched(incident);
    events.incidents.enriched({ ...last, kind: 'oom_warning' });
    assert.equal(
      await sample(`oom_witness_last_kill_timestamp_seconds{${SHOP},scope="cgroup"}`),
      Date.parse(last.time) / 1000,
    );
    assert.equal(await sample(`oom_witness_kills_total{${SHOP},scope="cgroup"}`), 2);
  });

  test('an unknown command line is a warning that says why', () => {
    const { events, said } = bench();
    events.incidents.committed([killWithoutCommandLine()]);
    assert.deepEqual(
      said().map(({ message, fields }) => [message, fields.reason]),
      [['command line unknown', 'it started and died while the agent was down']],
    );
  });

  test('of each process that died together it says its own reason', () => {
    const { events, said } = bench();
    const whole = killWithoutCommandLine();
    const [victim] = whole.victims;
    const why = { 'victims.1.process.command_line': 'a reason of its own' };
    const victims = [victim!, { ...victim!, process: { pid: 4240, name: 'sh' } }];
    events.incidents.committed([{ ...whole, victims, unknown: { ...whole.unknown, ...why } }]);
    assert.deepEqual(
      said().map(({ fields }) => [fields.pid, fields.reason]),
      [
        [whole.process.pid, 'it started and died while the agent was down'],
        [4240, 'a reason of its own'],
      ],
    );
  });
});

describe('capture', () => {
  const WORKS = { works: true };

  test('armed: what works, what does not, why, and what that costs', async () => {
    const { events, said, sample } = bench();
    const processEvents = { works: false, problem: 'needs CAP_NET_ADMIN', cost: 'command lines' };
    events.capture.armed({ kernelLog: WORKS, processEvents, processes: 120, restored: 0 }, 41.7);
    const [armed, blind] = said();
    assert.deepEqual(armed, {
      level: 'info',
      message: 'armed',
      fields: { ms: 42, processes: 120 },
    });
    assert.equal(blind?.message, 'process events: blind');
    assert.equal(blind?.level, 'warn');
    assert.equal(blind?.fields.reason, 'needs CAP_NET_ADMIN');
    assert.equal(blind?.fields.cost, 'command lines');
    assert.equal(await sample('oom_witness_reader_up{reader="kmsg"}'), 1);
    assert.equal(await sample('oom_witness_reader_up{reader="proc_connector"}'), 0);
    events.capture.readerRecovered('process events');
    assert.equal(await sample('oom_witness_reader_up{reader="proc_connector"}'), 1);
  });

  test('that no kill is seen is an error', () => {
    const { events, said } = bench();
    events.capture.readerBlind('kmsg', { works: false, problem: 'EIO' });
    const [blind] = said();
    assert.deepEqual(blind, {
      level: 'error',
      message: 'kmsg: blind',
      fields: { reason: 'EIO', cost: 'kills are not seen' },
    });
  });

  test('"no victim" is one line per cgroup and minute, however often it happens', async () => {
    const { events, said, clock, sample } = bench();
    for (let i = 0; i < 100; i++) events.capture.noVictim('/a', 3);
    events.capture.noVictim('/b\u001b[2J', 1);
    clock.now += 60_000;
    events.capture.noVictim('/a', 1);
    assert.deepEqual(
      said().map(({ fields }) => [fields.cgroup, fields.times]),
      [
        ['/a', 3],
        ['/b\\x1b[2J', undefined],
        ['/a', 298],
      ],
    );
    assert.equal(await sample('oom_witness_no_victim_total'), 302);
  });

  test('gaps add up to the number of lost records', () => {
    const { events, said, clock } = bench();
    events.capture.kmsgGap(5, 10);
    events.capture.kmsgGap(7, 30);
    clock.now += 61_000;
    events.capture.kmsgGap(1, 50);
    assert.deepEqual(
      said().map(({ fields }) => fields.times),
      [5, 8],
    );
  });
});

describe('leaving', () => {
  test('says what is left, and whether it will be there at the next start', () => {
    const { events, said } = bench();
    events.agent.drained({ kafka: 0 }, true);
    events.agent.drained({ kafka: 2, slack: 1 }, true);
    events.agent.drained({ kafka: 2 }, false);
    assert.deepEqual(
      said().map(({ level, message }) => [level, message]),
      [
        ['info', 'drained: every sink has everything'],
        ['warn', 'left in the store for the next start'],
        ['error', 'lost: not delivered, and there is no store on disk'],
      ],
    );
  });
});
