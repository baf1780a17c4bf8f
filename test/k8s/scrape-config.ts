/** How Prometheus finds the agents: as the operator is told, and as a user without it is. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { parse } from 'yaml';
import { MANIFESTS, manifests } from './manifest-files.ts';

interface PodMetricsEndpoint {
  readonly interval: string;
  readonly honorLabels: boolean;
  readonly relabelings: readonly Readonly<Record<string, unknown>>[];
}

/** The one of the PodMonitor. */
export function endpoint(): PodMetricsEndpoint {
  return manifests().find(({ kind }) => kind === 'PodMonitor')?.spec.podMetricsEndpoints[0];
}

/** Its relabelings as Prometheus reads them: in snake case. */
export function relabelConfigs(): object[] {
  return endpoint().relabelings.map((relabeling) =>
    Object.fromEntries(
      Object.entries(relabeling).map(([key, value]) => [
        key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
        value,
      ]),
    ),
  );
}

export interface ScrapeConfig {
  readonly job_name: string;
  readonly honor_labels: boolean;
  readonly kubernetes_sd_configs: readonly [{ readonly namespaces: { readonly names: readonly string[] } }];
  readonly relabel_configs: readonly object[];
}

/** The one that docs/kubernetes.md shows. */
export function documentedScrapeConfig(): ScrapeConfig {
  const text = readFileSync(path.join(MANIFESTS, '../docs/kubernetes.md'), 'utf8');
  const [, yaml = ''] = /^```yaml\n(- job_name:.*?)^```$/ms.exec(text) ?? [];
  return parse(yaml)[0];
}
