/** How fast queued incidents go to a real Elasticsearch through the sink. Target: 5,000 a second. */
import * as sinkModule from '../sinks/elasticsearch.ts';
import type { Delivery } from '../src/sink.ts';
import { storm } from '../test/incidents.ts';
import { documentedTemplate, ELASTICSEARCH_8, startElasticsearch } from '../test/servers/elasticsearch.ts';
import { sinkContext } from '../test/sinks/context.ts';
import { printTable } from './table.ts';

const INCIDENTS = 10_000;
const RUNS = 5;
const TARGET = 5000;
const NEVER = new AbortController().signal;

await using cleanup = new AsyncDisposableStack();
const server = await startElasticsearch({ after: (clean) => cleanup.defer(clean) }, { fullSpeed: true });
await server.call('PUT', '/_index_template/oom-witness', documentedTemplate());
const queue = storm(INCIDENTS).map(distinct);
const rows: (readonly string[])[] = [];
for (let run = 1; run <= RUNS; run++) {
  const index = `oom-witness-${run}`;
  rows.push([run === 1 ? 'server just started' : `run ${run}`, ...(await measure(index))]);
  if ((await server.ids(index)).length !== INCIDENTS) throw new Error('not all of them are there');
}
rows.push(['all are there already', ...(await measure('oom-witness-1'))]);
const bytes = JSON.stringify(queue[0]!.incident).length;
printTable(
  `${INCIDENTS} incidents of ${bytes} bytes to Elasticsearch ${ELASTICSEARCH_8}, ${sinkModule.batchSize} at a time (target ${TARGET}/s)`,
  ['', 'incidents/s', 'of the target', 's in all', 'CPU of the agent, s'],
  rows,
);

async function measure(index: string): Promise<readonly string[]> {
  const sink = await sinkModule.open({ servers: [server.url], index }, sinkContext());
  const cpu = process.cpuUsage();
  const startedAt = performance.now();
  for (let next = 0; next < queue.length; next += sinkModule.batchSize) {
    const outcomes = await sink.deliver(queue.slice(next, next + sinkModule.batchSize), NEVER);
    const failed = outcomes.find(({ kind }) => kind !== 'delivered');
    if (failed) throw new Error(JSON.stringify(failed));
  }
  const seconds = (performance.now() - startedAt) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  await sink.close();
  const rate = INCIDENTS / seconds;
  return [
    Math.round(rate).toString(),
    `${(rate / TARGET).toFixed(2)}x`,
    seconds.toFixed(2),
    ((user + system) / 1e6).toFixed(2),
  ];
}

/** With a process, a container and a pod of its own: an index of equals would be faster than a real one. */
function distinct({ incident, recurrence }: Delivery, number: number): Delivery {
  const process = {
    ...incident.process,
    pid: 1000 + number,
    command_line: `${incident.process.command_line} --shard=${number}`,
  };
  const own = `${number}`.padStart(64, '0');
  return {
    recurrence,
    incident: {
      ...incident,
      process,
      victims: [{ ...incident.victims[0]!, process }],
      container: { ...incident.container, id: own },
      k8s: { ...incident.k8s, pod: { ...incident.k8s?.pod, name: `shop-${number}` } },
    },
  };
}
