/** How fast queued incidents go to a real Kafka through the sink. Target: 5,000 a second. */
import { createHash } from 'node:crypto';
import * as sinkModule from '../sinks/kafka.ts';
import type { Delivery } from '../src/sink.ts';
import { storm } from '../test/incidents.ts';
import { KafkaServer } from '../test/servers/kafka.ts';
import { sinkContext } from '../test/sinks/context.ts';

const INCIDENTS = 10_000;
const RUNS = 3;
const TARGET = 5000;
const NEVER = new AbortController().signal;

await using cleanup = new AsyncDisposableStack();
const kafka = await KafkaServer.start({ after: (clean) => cleanup.defer(async () => void (await clean())) });
const incidents = storm(INCIDENTS).map(distinct);
const rows: Record<string, string>[] = [];
for (const partitions of [1, 6])
  for (let run = 1; run <= RUNS; run++) {
    const topic = await kafka.createTopic(`p${partitions}-run${run}`, partitions);
    rows.push({ partitions: String(partitions), run: String(run), ...(await measure(topic, incidents)) });
  }
console.log(
  `${INCIDENTS} incidents of ${Math.round(JSON.stringify(incidents[0]!.incident).length)} bytes to Kafka 4.3, ` +
    `${sinkModule.batchSize} at a time (target ${TARGET}/s)`,
);
console.table(rows);

async function measure(topic: string, queue: readonly Delivery[]): Promise<Record<string, string>> {
  const settings = sinkModule.settings({ 'kafka-brokers': [kafka.address()], 'kafka-topic': topic })!;
  const sink = await sinkModule.open(settings, sinkContext({ now: Date.now }));
  const cpu = process.cpuUsage();
  const startedAt = performance.now();
  for (let next = 0; next < queue.length; next += sinkModule.batchSize) {
    const outcomes = await sink.deliver(queue.slice(next, next + sinkModule.batchSize), NEVER);
    const lost = outcomes.find(({ kind }) => kind !== 'delivered');
    if (lost) throw new Error(JSON.stringify(lost));
  }
  const seconds = (performance.now() - startedAt) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  await sink.close();
  const arrived = new Set((await kafka.read(topic)).map(({ key }) => key)).size;
  if (arrived !== queue.length) throw new Error(`${arrived} of ${queue.length} arrived`);
  return {
    'incidents/s': Math.round(queue.length / seconds).toString(),
    's in all': seconds.toFixed(2),
    'CPU of this process, s': ((user + system) / 1e6).toFixed(2),
    'of the target': `${(queue.length / seconds / TARGET).toFixed(1)}x`,
  };
}

/** Names, ids and arguments of its own, so that it does not compress better than a real one. */
function distinct({ incident, recurrence }: Delivery, index: number): Delivery {
  const own = createHash('sha512').update(String(index)).digest('hex');
  const process = {
    ...incident.process,
    pid: 1000 + index,
    command_line: `${incident.process.command_line} --id=${own}`,
  };
  return {
    recurrence,
    incident: {
      ...incident,
      process,
      victims: [{ ...incident.victims[0]!, process }],
      container: { ...incident.container, id: own.slice(64) },
      k8s: {
        ...incident.k8s,
        pod: { ...incident.k8s?.pod, name: `shop-${own.slice(0, 10)}`, uid: own.slice(10, 46) },
      },
    },
  };
}
