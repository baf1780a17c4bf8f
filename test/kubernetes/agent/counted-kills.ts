/** The metrics of kills, the agent's own and those of the programs that it replaces, as the pod of the agent shows them. */
import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import { seriesWith, shownFamilies } from '../../metrics/exposition.ts';
import { until } from '../../sinks/contract.ts';
import type { TestNamespace } from '../cluster-test.ts';
import { hogPod } from '../pods.ts';
import type { DeployedAgent } from './deployed-agent.ts';
import type { Scenario } from './kill-scenarios.ts';

/** What the agent of these tests shows. */
export const COUNTED_FAMILIES = 'own,missing-container-metrics,oom-messages-exporter';

const SHOWN = ['oom_witness_kills_total', 'container_', 'oom_messages_exporter_last_killed_pid'];
/** node-b is emulated. */
const PATIENCE_MS = 300_000;

/** Name of a pod -> `metric` -> its value. */
type Counts = Readonly<Record<string, Readonly<Record<string, number>>>>;

export const countedKills: Scenario = {
  title: 'every process that was killed counts, and 0 was to be seen before',
  async run({ agent, namespace, node }) {
    const victims = [
      { name: 'first', who: 'first process', kills: 1, isEnd: true },
      { name: 'child', who: 'child', kills: node.groupKills ? 2 : 1, isEnd: node.groupKills },
    ] as const;
    const word = (pod: string) => `${namespace.name}-${pod}`;
    for (const { name, who } of victims)
      await namespace.apply(hogPod(name, { node: node.name, who, waitsFor: 'line', text: [word(name)] }));
    for (const { name } of victims) await namespace.until(`pod/${name}`, '.status.phase', 'Running');
    const none = countsOf({ kills: 0, exitCode: 0 });
    await untilCounted(agent, namespace, Object.fromEntries(victims.map(({ name }) => [name, none])));

    const wanted: Record<string, Counts[string]> = {};
    for (const { name, kills, isEnd } of victims) {
      await namespace.tell(name);
      const { victims } = await agent.told(word(name));
      if (isEnd) await namespace.ended(name);
      wanted[name] = countsOf({ kills, exitCode: isEnd ? 137 : 0, pid: victims.at(-1)?.process.pid });
    }
    await untilCounted(agent, namespace, wanted);
  },
};

function countsOf({ kills, exitCode, pid }: { kills: number; exitCode: number; pid?: number | undefined }) {
  return {
    container_last_exit_code: exitCode,
    container_ooms: kills,
    container_restarts: 0,
    // One series for each name of a program: of a parent and its child the one that was killed last.
    ...(pid !== undefined && { oom_messages_exporter_last_killed_pid: pid }),
    oom_witness_kills_total: kills,
  };
}

async function untilCounted(agent: DeployedAgent, namespace: TestNamespace, wanted: Counts): Promise<void> {
  let found: Counts = {};
  await until(
    async () => {
      found = await counts(agent, namespace.name);
      return isDeepStrictEqual(found, wanted);
    },
    () => `${JSON.stringify(wanted)}, but it is ${JSON.stringify(found)}`,
    PATIENCE_MS,
  );
}

/** Of container hog in each pod of the namespace. */
async function counts(agent: DeployedAgent, namespace: string): Promise<Counts> {
  const page = await agent.metrics();
  const found: Record<string, Record<string, number>> = {};
  for (const prefix of SHOWN)
    for (const [series, value] of Object.entries(
      seriesWith(shownFamilies(page, prefix), `namespace="${namespace}"`),
    )) {
      assert.match(series, /[{,](container|name)="hog"/);
      const pod = /[{,]pod="([^"]*)"/.exec(series)?.[1] ?? '';
      found[pod] = { ...found[pod], [/^\w+/.exec(series)![0]]: value };
    }
  return found;
}
