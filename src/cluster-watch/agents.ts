import type { PodTable } from '../inventory/pod-table.ts';

/** Labels of the pods that watch a node of their own, as the manifests have them. */
export const AGENT_LABELS = {
  'app.kubernetes.io/name': 'oom-witness',
  'app.kubernetes.io/component': 'agent',
} as const;

/**
 * The nodes on which an agent runs. One that is being replaced is ready again soon, and reads then what the kernel's ring still holds:
 * so that it runs is enough.
 */
export function nodesWithAgents(pods: PodTable): ReadonlySet<string> {
  const nodes = new Set<string>();
  for (const { node, labels, ready, containers } of pods.present())
    if (node !== undefined && isAgent(labels) && (ready || containers.some(({ running }) => running)))
      nodes.add(node);
  return nodes;
}

function isAgent(labels: Readonly<Record<string, string>>): boolean {
  return Object.entries(AGENT_LABELS).every(([name, value]) => labels[name] === value);
}
