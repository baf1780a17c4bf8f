/** Alerts and dashboard against the metrics that the agent really has. That the alerts fire is alerts.integration.ts. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { Metrics } from '../../src/metrics.ts';
import { alertTests, ruleGroups } from './alert-rules.ts';
import { dashboard } from './dashboard.ts';
import { MANIFESTS } from './manifest-files.ts';
import { documentedScrapeConfig, endpoint, relabelConfigs } from './scrape-config.ts';

/** What Prometheus, the PodMonitor's relabeling and a store of several clusters add to each series. */
const TARGET_LABELS = ['job', 'instance', 'namespace', 'pod', 'container', 'node', 'component', 'cluster'];

const rules = ruleGroups().groups.flatMap(({ rules }) => rules);
const { panels: everyPanel, templating } = dashboard();
const panels = everyPanel.filter(({ type }) => type !== 'row');

/** metric name -> label -> its values, as scrapes show them. */
async function exported(): Promise<Map<string, Map<string, Set<string>>>> {
  const series = new Map([['up', new Map<string, Set<string>>()]]);
  for (const kernelLog of ['kmsg', 'log_file'] as const) {
    const given = { version: '1.2.3', node: '26.10.0', sinks: ['kafka'], kernelLog, now: Date.now };
    const metrics = new Metrics(given);
    metrics.attach({ counter: () => 0, queue: () => ({ depth: 0 }), kubernetes: () => true });
    for (const line of (await metrics.scrape()).split('\n')) {
      const [, name, labels = ''] = /^(\w+)(?:\{(.*)\})? /.exec(line) ?? [];
      if (name === undefined) continue;
      const known = series.get(name) ?? new Map();
      for (const [, label = '', value = ''] of labels.matchAll(/(\w+)="([^"]*)"/g))
        known.set(label, (known.get(label) ?? new Set()).add(value));
      series.set(name, known);
    }
  }
  return series;
}

interface Matcher {
  readonly label: string;
  /** Alternatives of a regular expression are several. */
  readonly values: readonly string[];
}

/** Every metric that the query names, and what it asks of its labels. */
function asked(query: string): (readonly [metric: string, matchers: readonly Matcher[]])[] {
  const found = query.matchAll(/\b((?:oom_witness|process)_\w+|up)\b(?:\{([^}]*)\})?/g);
  return [...found].map(([, metric = '', matchers = '']) => [
    metric,
    [...matchers.matchAll(/(\w+) *(?:=~|!~|!=|=) *"([^"]*)"/g)].map(([, label = '', value = '']) => ({
      label,
      values: value.split('|'),
    })),
  ]);
}

async function assertAnswerable(query: string): Promise<void> {
  const series = await exported();
  const metrics = asked(query);
  assert.ok(metrics.length > 0, `${query}: no metric of ours`);
  for (const [metric, matchers] of metrics) {
    const own = series.get(metric);
    assert.ok(own, `${query}: there is no metric ${metric}`);
    for (const { label, values } of matchers.filter(({ label }) => !TARGET_LABELS.includes(label)))
      for (const value of values)
        assert.ok(own.get(label)?.has(value), `${metric} has no ${label}="${value}"`);
  }
  const kept = [...query.matchAll(/\bby \(([^)]*)\)/g)].flatMap(([, list = '']) => list.split(/, */));
  const known = new Set([
    ...metrics.flatMap(([metric]) => [...series.get(metric)!.keys()]),
    ...TARGET_LABELS,
  ]);
  for (const label of kept) assert.ok(known.has(label), `${query}: by (${label})`);
}

describe('metrics', () => {
  it('have no label of the target, except where it is the victim that they mean', async () => {
    for (const [metric, labels] of await exported())
      if (!/^oom_witness_(kills|last_kill)_/.test(metric))
        assert.deepEqual(
          TARGET_LABELS.filter((label) => labels.has(label)),
          [],
          metric,
        );
  });
});

it('without the operator Prometheus gives the same labels as with it', () => {
  const { job_name, honor_labels, relabel_configs } = documentedScrapeConfig();
  const [port, ...labels] = relabel_configs;
  assert.equal(job_name, 'oom-witness');
  assert.equal(honor_labels, endpoint().honorLabels);
  assert.deepEqual(port, {
    source_labels: ['__meta_kubernetes_pod_container_port_name'],
    regex: 'http',
    action: 'keep',
  });
  // The operator's own, which are not there without it.
  const undoing = { regex: 'pod|container', action: 'labeldrop' };
  assert.deepEqual([...labels, undoing], relabelConfigs());
});

describe('alerts', () => {
  for (const { alert, expr, labels, annotations } of rules)
    it(`${alert} asks for what the agent exports, and says what to do`, async () => {
      await assertAnswerable(expr);
      assert.match(alert, /^OomWitness[A-Z]\w+$/);
      assert.ok(['warning', 'critical'].includes(labels.severity ?? ''));
      assert.deepEqual(Object.keys(annotations), ['summary', 'description', 'runbook', 'documentation']);
    });

  it('all are in docs/kubernetes.md, and no others', () => {
    const text = readFileSync(path.join(MANIFESTS, '../docs/kubernetes.md'), 'utf8');
    const documented = [...text.matchAll(/^\| `(OomWitness\w+)`/gm)].map(([, alert]) => alert);
    assert.deepEqual(
      documented,
      rules.map(({ alert }) => alert),
    );
  });

  it('each names its section of docs/alerts.md, which has commands to begin with; and there are no others', () => {
    const document = 'docs/alerts.md';
    const text = readFileSync(path.join(MANIFESTS, '..', document), 'utf8');
    const sections = text.split(/^## /m).slice(1);
    const alerts = sections.map((section) => section.slice(0, section.indexOf('\n')));
    assert.deepEqual(
      alerts,
      rules.map(({ alert }) => alert),
    );
    assert.deepEqual(
      alerts.map((alert) => `${document}#${alert.toLowerCase()}`),
      rules.map(({ annotations }) => annotations.documentation),
    );
    for (const section of sections) assert.match(section, /^```sh\nkubectl |^```sh\n\w+=.*\nkubectl /m);
  });

  it('each has a test in which it fires and one in which it does not', () => {
    const fires = new Set<string>();
    const rests = new Set<string>();
    for (const { alertname, exp_alerts } of alertTests().flatMap(({ alert_rule_test }) => alert_rule_test))
      (exp_alerts === undefined ? rests : fires).add(alertname);
    const names = rules.map(({ alert }) => alert).sort();
    assert.deepEqual([...fires].sort(), names);
    assert.deepEqual([...rests].sort(), names);
  });
});

describe('the dashboard', () => {
  for (const { title, targets, description } of panels)
    it(`${title}: asks for what the agent exports`, async () => {
      assert.ok(description);
      for (const { expr } of targets ?? []) await assertAnswerable(expr);
    });

  it('its variables come from metrics that exist, and are used', async () => {
    const series = await exported();
    for (const { name, type, query } of templating.list) {
      const metric = /^label_values\((\w+), \w+\)$/.exec(query)?.[1];
      if (type === 'query') assert.ok(series.has(metric ?? ''), query);
      assert.match(JSON.stringify(everyPanel), new RegExp(`\\$\\{?${name}\\b`));
    }
  });

  it('what is selected goes for every panel that can follow it', () => {
    for (const [expr, metric, matchers] of panels
      .flatMap(({ targets = [] }) => targets)
      .flatMap(({ expr }) => asked(expr).map((each) => [expr, ...each] as const))) {
      const selected = matchers.flatMap(({ values }) => values).filter((value) => value.startsWith('$'));
      // Of all others only these have a namespace, the victim's.
      const followed = /^oom_witness_(kills|last_kill)_/.test(metric) ? ['$namespace', '$node'] : ['$node'];
      assert.deepEqual(selected, followed, expr);
    }
  });

  it('what counts over an interval knows how often is scraped: Grafana would take it for every 15 s', () => {
    for (const { title, targets = [] } of panels)
      for (const { expr, interval } of targets)
        if (expr.includes('$__rate_interval')) assert.equal(interval, endpoint().interval, title);
  });

  it('no panel has something for each agent: a cluster may have 5,000', () => {
    for (const { title, targets = [] } of panels)
      for (const { expr } of targets) {
        const isAggregated = /\b(sum|max|min|count|quantile)\b/.test(expr);
        if (!isAggregated || /\bby \([^)]*\bnode\b/.test(expr))
          assert.match(expr, /^count\(|\b(top|bottom)k\(|> 0$/, title);
      }
  });

  it('no legend adds up intervals, which overlap', () => {
    for (const { title, targets = [], options } of panels)
      if (targets.some(({ expr }) => expr.includes('$__rate_interval')))
        assert.ok(!options?.legend?.calcs.includes('sum'), title);
  });

  it('every number has thresholds of its own: with those of Grafana it would be red from 80 on', () => {
    for (const { title, type, fieldConfig } of panels)
      if (type === 'stat') assert.ok(fieldConfig?.defaults.thresholds, title);
  });

  it('no panel lies on another one or beside the grid', () => {
    const taken = new Map<string, string>();
    for (const { title, gridPos } of everyPanel) {
      const { x, y, w, h } = gridPos;
      assert.ok(x + w <= 24, title);
      for (let column = x; column < x + w; column++)
        for (let line = y; line < y + h; line++) {
          const cell = `${column},${line}`;
          assert.equal(taken.get(cell), undefined, `${title} at ${cell}`);
          taken.set(cell, title);
        }
    }
  });
});
