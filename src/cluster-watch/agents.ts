import type { PodListener } from '../inventory/pod-table.ts';
import type { KnownPod } from '../kubernetes/pod.ts';

/** Labels of the pods that watch a node of their own, as the manifests have them. */
export const AGENT_LABELS = {
  'app.kubernetes.io/name': 'oom-witness',
  'app.kubernetes.io/component': 'agent',
} as const;

/**
 * The nodes on which an agent runs: those of one namespace count, because whoever may make a pod anywhere can give it these labels, and
 * of kills on its node nobody would be told. One that is being replaced is ready again soon, and reads then what the kernel's ring still holds:
 * so that it runs is enough. Kept as pods change: to look through 100,000 pods took 100 ms, and a storm asks for each of its kills.
 */
export class AgentNodes implements PodListener {
  /** Name of a node -> UIDs of the agents that run there: two while one replaces the other. */
  readonly #agents = new Map<string, Set<string>>();
  readonly #namespace: string;

  constructor(namespace: string) {
    this.#namespace = namespace;
  }

  has(node: string): boolean {
    return this.#agents.has(node);
  }

  applied(pod: KnownPod): void {
    if (pod.namespace === this.#namespace && runsAnAgent(pod)) this.#add(pod);
    else this.gone(pod);
  }

  gone({ uid, node = '' }: KnownPod): void {
    const agents = this.#agents.get(node);
    if (agents?.delete(uid) && agents.size === 0) this.#agents.delete(node);
  }

  #add({ uid, node = '' }: KnownPod): void {
    const agents = this.#agents.get(node) ?? new Set();
    this.#agents.set(node, agents.add(uid));
  }
}

function runsAnAgent({ node, labels, ready, containers }: KnownPod): boolean {
  const isAgent = Object.entries(AGENT_LABELS).every(([name, value]) => labels[name] === value);
  return isAgent && node !== undefined && (ready || containers.some(({ running }) => running));
}
