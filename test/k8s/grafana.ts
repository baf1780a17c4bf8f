/** Asks Prometheus for what a panel shows, with the steps and intervals of Grafana (its pkg/promlib/models/query.go). */
import type { Prometheus } from '../servers/prometheus.ts';
import type { Panel, Target } from './dashboard.ts';

/** What stands above the panels. */
export interface Selection {
  /** A regular expression, as Grafana makes one of what is selected. */
  readonly namespace: string;
  readonly node: string;
}

export const EVERYTHING: Selection = { namespace: '.*', node: '.*' };

/** A line, a bar, a row of a table, or a number that stands alone. */
export interface Series {
  readonly labels: Readonly<Record<string, string>>;
  /** What its legend says; empty: Grafana has no name for it. */
  readonly name: string;
  /** The oldest first. */
  readonly values: readonly number[];
}

/** Until now. */
const RANGE_SECONDS = 300;
/** How often tests scrape: in a hurry, so that it stands here for what the panels say, which is the PodMonitor's interval. */
export const SCRAPE_SECONDS = 1;

type Sample = readonly [time: number, value: string];
interface Answer {
  readonly result: readonly {
    readonly metric: Readonly<Record<string, string>>;
    readonly value?: Sample;
    readonly values?: readonly Sample[];
  }[];
}

export async function shown(prometheus: Prometheus, panel: Panel, selection: Selection): Promise<Series[]> {
  const series = [];
  for (const target of panel.targets ?? []) {
    const { result } = await prometheus.api<Answer>(request(target, selection, Date.now() / 1000));
    for (const { metric, value, values = value === undefined ? [] : [value] } of result)
      series.push({
        labels: metric,
        name: (target.legendFormat ?? '').replace(/\{\{ *(\w+) *\}\}/g, (_, label) => metric[label] ?? ''),
        values: values.map(([, text]) => Number(text)),
      });
  }
  return series;
}

function request({ expr, instant }: Target, selected: Selection, now: number): string {
  const variables: Readonly<Record<string, string>> = {
    ...selected,
    __range: `${RANGE_SECONDS}s`,
    __rate_interval: `${4 * SCRAPE_SECONDS}s`,
  };
  const query = expr.replace(/\$(\w+)/g, (_, name) => variables[name] ?? `$${name}`);
  if (instant) return `query?${new URLSearchParams({ query, time: String(now) })}`;
  const [start, end] = [now - RANGE_SECONDS, now].map((time) => String(Math.floor(time)));
  const range = { start: String(start), end: String(end), step: String(SCRAPE_SECONDS) };
  return `query_range?${new URLSearchParams({ query, ...range })}`;
}
