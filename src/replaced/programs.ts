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

/** The name of the agent's own metrics after `--metrics`. */
export const OWN_FAMILY = 'own';
