/** The dashboard of k8s/, panel by panel: found, scraped and asked by a real Prometheus, after a real kill in a pod. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { it, type TestContext } from 'node:test';
import packageJson from '../../../package.json' with { type: 'json' };
import { dashboard } from '../../k8s/dashboard.ts';
import { SCRAPE_SECONDS, type Series, shown } from '../../k8s/grafana.ts';
import { documentedScrapeConfig } from '../../k8s/scrape-config.ts';
import { type Prometheus, prometheusPackages, startPrometheus } from '../../servers/prometheus.ts';
import { until } from '../../sinks/contract.ts';
import { temporaryFolder } from '../../temporary-folder.ts';
import { runningCluster, TestNamespace } from '../cluster-test.ts';
import { idle, once, pod } from '../pods.ts';
import { DeployedAgent } from './deployed-agent.ts';

const cluster = runningCluster();
const packages = await prometheusPackages();

interface FoundPod {
  readonly metadata: { readonly labels: Readonly<Record<string, string>> };
  readonly spec: {
    readonly nodeName: string;
    readonly containers: readonly {
      readonly ports: readonly { readonly name: string; readonly containerPort: number }[];
    }[];
  };
  readonly status: { readonly podIP: string };
}

/** What Prometheus finds in Kubernetes with `role: pod`: Debian's was built without. */
async function discovered(namespaces: readonly string[]): Promise<object[]> {
  const found = [];
  for (const namespace of namespaces) {
    const { items } = await cluster.get<{ items: FoundPod[] }>('pods', `--namespace=${namespace}`);
    for (const { metadata, spec, status } of items)
      for (const { name, containerPort } of spec.containers.flatMap(({ ports }) => ports)) {
        const labels = Object.entries(metadata.labels).map(([label, value]) => [
          `__meta_kubernetes_pod_label_${label.replace(/\W/g, '_')}`,
          value,
        ]);
        found.push({
          targets: [`${status.podIP}:${containerPort}`],
          labels: {
            ...Object.fromEntries(labels),
            __meta_kubernetes_pod_container_port_name: name,
            __meta_kubernetes_pod_node_name: spec.nodeName,
          },
        });
      }
  }
  return found;
}

/** As docs/kubernetes.md tells a user without the operator, in a hurry. */
async function scraping(t: TestContext): Promise<Prometheus> {
  assert.ok('root' in packages);
  const { kubernetes_sd_configs: discovery, ...config } = documentedScrapeConfig();
  const scrape = {
    ...config,
    scrape_interval: `${SCRAPE_SECONDS}s`,
    static_configs: await discovered(discovery[0].namespaces.names),
  };
  const folder = temporaryFolder(t, 'oom-witness-dashboard');
  const file = path.join(folder, 'prometheus.yml');
  writeFileSync(file, JSON.stringify({ scrape_configs: [scrape] }));
  return startPrometheus(t, packages.root, file);
}

const newest = ({ values }: Series) => values.at(-1);
const names = (series: readonly Series[]) => series.map(({ name }) => name).sort();
const highest = (series: readonly Series[]) =>
  series.map(({ name, values }) => [name, Math.round(Math.max(...values))]);
const rows = (series: readonly Series[]) => series.map((row) => ({ ...row.labels, value: newest(row) }));

/** Does nothing: what is killed in it is started later. */
const limited = { ...idle('shop'), resources: { limits: { memory: '32Mi' } } };
const SINKS = ['file', 'kubernetes', 'stdout'];

it('every panel shows what it is for', { skip: 'missing' in packages && packages.missing }, async (t) => {
  const agent = await DeployedAgent.deploy(cluster);
  t.after(() => agent.remove());
  const namespace = await TestNamespace.create(t, cluster);
  await namespace.apply(pod('victim', once([limited])));
  const prometheus = await scraping(t);
  const isScraped = async () => {
    const query = `count_over_time(oom_witness_kills_total{namespace="${namespace.name}"}[1m]) >= 2`;
    const { result } = await prometheus.api<{ result: object[] }>(`query?${new URLSearchParams({ query })}`);
    return result.length > 0;
  };
  await until(isScraped, () => `the container's kills at 0, twice\n${prometheus.log()}`);
  const before = Date.now();
  await assert.rejects(
    namespace.kubectl('exec', 'victim', '--', '/victim', 'hog', '0', namespace.name),
    /137/,
  );
  await agent.told(namespace.name);

  const labels = { container: 'shop', namespace: namespace.name, node: 'node-a', pod: 'victim' };
  const shows =
    (of: (series: readonly Series[]) => unknown, expected: unknown) => (series: readonly Series[]) =>
      assert.deepEqual(of(series), expected);
  const showsNumber = (expected: number) => shows((series) => series.map(newest), [expected]);
  const panels: Readonly<Record<string, (series: readonly Series[]) => void>> = {
    Kills: showsNumber(1),
    'Containers hit': showsNumber(1),
    'Nodes out of memory': showsNumber(0),
    'Blind agents': showsNumber(0),
    // Those of other kills on the machine: Events on the node are held back after the first ten.
    'Incidents waiting': ([only, ...more]) => {
      assert.deepEqual(more, []);
      assert.ok(Number(newest(only as Series)) >= 0);
    },
    'Nodes watched': showsNumber(1),
    'Kills by namespace': shows(highest, [[namespace.name, 1]]),
    'Kills by whose limit': shows(highest, [['cgroup', 1]]),
    'Most killed containers': shows(rows, [{ ...labels, scope: 'cgroup', value: 1 }]),
    'Newest kill': (series) => {
      assert.deepEqual(
        series.map((row) => row.labels),
        [labels],
      );
      const time = Number(newest(series[0] as Series));
      assert.ok(time >= before && time <= Date.now(), new Date(time).toISOString());
    },
    'Age of the oldest incident that waits': shows(names, SINKS),
    // Those of other kills on the machine, too.
    Outcomes: (series) => {
      for (const sink of SINKS) assert.ok(names(series).includes(`${sink} delivered`), names(series).join());
    },
    'Time of an attempt that delivered (p99)': shows(names, SINKS),
    'What each agent can read': shows(names, ['node-a kmsg', 'node-a kubernetes', 'node-a proc_connector']),
    'Where command lines came from': (series) => assert.ok(names(series).includes('exec')),
    // Empty, unless the machine was too busy.
    Lost: (series) => {
      for (const name of names(series))
        assert.match(name, /^node-a (kernel records|overruns of process events)$/);
    },
    Memory: (series) => {
      assert.deepEqual(names(series), ['highest', 'median']);
      assert.ok(Number(newest(series[0] as Series)) > 10 << 20);
    },
    CPU: shows(names, ['highest', 'median']),
    Versions: shows(rows, [{ version: packageJson.version, value: 1 }]),
  };
  const ofDashboard = dashboard().panels.filter(({ type }) => type !== 'row');
  assert.deepEqual(ofDashboard.map(({ title }) => title).sort(), Object.keys(panels).sort());
  const selection = { namespace: namespace.name, node: 'node-a' };
  for (const panel of ofDashboard) {
    let problem: unknown;
    const isRight = async () => {
      try {
        panels[panel.title]?.(await shown(prometheus, panel, selection));
        return true;
      } catch (error) {
        problem = error;
        return false;
      }
    };
    await until(isRight, () => `${panel.title}: ${problem}\n${prometheus.log()}`);
  }
});
