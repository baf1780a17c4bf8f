import { kubernetesOomEventGenerator } from './kubernetes-oom-event-generator.ts';
import { missingContainerMetrics } from './missing-container-metrics.ts';
import { oomMessagesExporter } from './oom-messages-exporter.ts';
import type { ReplacedProgram } from './program.ts';

/** All that there are. A new one is its file, and its line here. */
export const PROGRAMS: readonly ReplacedProgram[] = [
  missingContainerMetrics,
  kubernetesOomEventGenerator,
  oomMessagesExporter,
];

/** Whether the metrics of a program are asked for, for themselves or with all of it. */
export function showsMetricsOf(
  { name }: ReplacedProgram,
  { metrics, replace }: { readonly metrics: ReadonlySet<string>; readonly replace: ReadonlySet<string> },
): boolean {
  return metrics.has(name) || replace.has(name);
}

/** The name of the agent's own metrics after `--metrics`. */
export const OWN_FAMILY = 'own';
