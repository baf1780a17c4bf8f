/** The alerts in a real Prometheus: its own unit tests of them, then a real kill that a real agent tells it of. */
import assert from 'node:assert/strict';
import { copyFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { stringify } from 'yaml';
import { AgentProcess } from '../agent-process.ts';
import { launch, makeCgroup, whyNoKills } from '../kills/kills.ts';
import { freePort } from '../servers/free-ports.ts';
import { type Prometheus, prometheusPackages, promtool, startPrometheus } from '../servers/prometheus.ts';
import { until } from '../sinks/contract.ts';
import { Receiver } from '../sinks/receiver.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import { ALERT_TESTS, ruleGroups } from './alert-rules.ts';
import { dashboard, type Panel } from './dashboard.ts';
import { EVERYTHING, shown } from './grafana.ts';
import { endpoint, relabelConfigs } from './scrape-config.ts';

const packages = await prometheusPackages();
const missing = 'missing' in packages ? packages.missing : undefined;
const root = 'root' in packages ? packages.root : '';
const LIMIT = 32 << 20;
/** More than the scrapes that a busy machine may lose. */
const FOR = '10s';

interface Alert {
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

function folder(t: TestContext): string {
  return temporaryFolder(t, 'oom-witness-alerts');
}

describe('the rules', { skip: missing }, () => {
  it('are valid, and every alert does in promtool what alerts.yaml says', async (t) => {
    const made = folder(t);
    writeFileSync(path.join(made, 'rules.yaml'), stringify(ruleGroups()));
    copyFileSync(ALERT_TESTS, path.join(made, 'alerts.yaml'));
    assert.match(await promtool(root, 'check', 'rules', path.join(made, 'rules.yaml')), /SUCCESS: \d+ rules/);
    assert.match(await promtool(root, 'test', 'rules', path.join(made, 'alerts.yaml')), /SUCCESS/);
  });
});

/** Scrapes the agent every second as the PodMonitor would, and tells each alert to the receiver at once. */
async function watchedBy(t: TestContext, agentPort: number, receiver: Receiver): Promise<Prometheus> {
  const made = folder(t);
  const { groups } = ruleGroups();
  const impatient = groups.map((group) => ({
    ...group,
    rules: group.rules.map((rule) => (rule.for === undefined ? rule : { ...rule, for: FOR })),
  }));
  writeFileSync(path.join(made, 'rules.yaml'), stringify({ groups: impatient }));
  const target = {
    targets: [`127.0.0.1:${agentPort}`],
    labels: {
      __meta_kubernetes_pod_node_name: 'node-a',
      __meta_kubernetes_pod_label_app_kubernetes_io_component: 'agent',
      // As the operator sets them: those of the agent's own pod.
      ...{ namespace: 'oom-witness', pod: 'oom-witness-x2x', container: 'oom-witness' },
    },
  };
  const configuration = path.join(made, 'prometheus.yml');
  writeFileSync(
    configuration,
    stringify({
      global: { scrape_interval: '1s', evaluation_interval: '1s' },
      rule_files: ['rules.yaml'],
      alerting: { alertmanagers: [{ static_configs: [{ targets: [new URL(receiver.url).host] }] }] },
      scrape_configs: [
        {
          job_name: 'oom-witness',
          honor_labels: endpoint().honorLabels,
          static_configs: [target],
          relabel_configs: relabelConfigs(),
        },
      ],
    }),
  );
  assert.match(await promtool(root, 'check', 'config', configuration), /SUCCESS/);
  return startPrometheus(t, root, configuration);
}

/** What Prometheus has told the receiver until now. */
function alerts(receiver: Receiver, name: string): Alert[] {
  return receiver.requests
    .flatMap(({ body }) => JSON.parse(body) as Alert[])
    .filter(({ labels }) => labels.alertname === name);
}

async function alerted(receiver: Receiver, name: string, prometheus: Prometheus): Promise<Alert> {
  const isThere = () => alerts(receiver, name).length > 0;
  await until(isThere, () => `the alert ${name}\n${prometheus.log()}`);
  return alerts(receiver, name)[0] as Alert;
}

/** What these panels of the dashboard show, which are numbers. */
async function numbers(prometheus: Prometheus, ...titles: readonly string[]): Promise<unknown[]> {
  const panels = titles.map((title) => dashboard().panels.find((panel) => panel.title === title) as Panel);
  const found = panels.map(async (panel) => (await shown(prometheus, panel, EVERYTHING))[0]?.values[0]);
  return Promise.all(found);
}

describe('a real Prometheus', { skip: missing ?? whyNoKills() }, () => {
  it('tells of a real kill, and of an agent that is gone', async (t) => {
    const port = await freePort();
    const agent = await AgentProcess.start(t, { args: ['--listen', `127.0.0.1:${port}`] });
    const receiver = await Receiver.start(t);
    const prometheus = await watchedBy(t, port, receiver);
    const zero = async () => {
      const query = encodeURIComponent('count_over_time(oom_witness_kills_total{scope="cgroup"}[1m]) >= 2');
      return (await prometheus.api<{ result: unknown[] }>(`query?query=${query}`)).result.length > 0;
    };
    await until(zero, 'the counter of kills at 0, twice');

    const group = makeCgroup(LIMIT);
    t.after(() => group.remove());
    const [victim] = await launch(group, { count: 1, liveMs: 100 });
    const kill = await alerted(receiver, 'OomWitnessKill', prometheus);
    assert.equal(kill.labels.node, 'node-a');
    assert.equal(kill.labels.severity, 'warning');
    // A process of the host: the agent's own pod is not taken for the victim's.
    assert.deepEqual([kill.labels.namespace, kill.labels.pod], [undefined, undefined]);
    assert.match(kill.annotations.summary ?? '', /killed for lack of memory on node-a$/);
    await agent.until(() => agent.of([victim!.pid]).length === 1, 'telling it itself');
    assert.deepEqual(alerts(receiver, 'OomWitnessAgentBlind'), []);
    assert.deepEqual(await numbers(prometheus, 'Blind agents', 'Nodes watched'), [0, 1]);
    const nodes = await prometheus.api('label/node/values?match[]=oom_witness_build_info');
    assert.deepEqual(nodes, ['node-a'], "the dashboard's list of nodes");
    const [series] = await prometheus.api<Record<string, string>[]>('series?match[]=oom_witness_build_info');
    const { version, nodejs, ...target } = series ?? {};
    assert.ok(version && nodejs);
    assert.deepEqual(target, {
      __name__: 'oom_witness_build_info',
      component: 'agent',
      instance: 'node-a',
      job: 'oom-witness',
      namespace: 'oom-witness',
      node: 'node-a',
    });

    await agent.kill9();
    const blind = await alerted(receiver, 'OomWitnessAgentBlind', prometheus);
    assert.equal(blind.labels.node, 'node-a');
    assert.equal(blind.annotations.summary, 'Kills on node-a are not seen');
    assert.deepEqual(await numbers(prometheus, 'Blind agents', 'Nodes watched'), [1, 0]);
  });
});
