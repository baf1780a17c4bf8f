import type { Finder, Finding } from '../enrich.ts';
import type { Incident } from '../incident.ts';
import type { PodTable } from '../inventory/pod-table.ts';
import type { KnownPod, KnownPodContainer, RuntimeName } from '../kubernetes/pod.ts';
import { identityOfPod } from './identity.ts';
import type { Owners } from './owners.ts';
import type { LoggedPod, PodLogs } from './pod-logs.ts';

export interface PodFinderOptions {
  /** Of this node. Undefined where the API is not used: then the names of log files are all there is. */
  readonly pods: PodTable | undefined;
  readonly owners: Owners | undefined;
  readonly logs: PodLogs;
  /** Why the API does not answer; undefined while it does. */
  readonly problem: () => string | undefined;
  /** For the reason why something is missing. */
  readonly timeoutMs: number;
}

/** By the UID of the pod that stands in the cgroup's path, or by the container's id alone: the pod and which of its containers. */
export class PodFinder implements Finder {
  readonly #options: PodFinderOptions;
  /** A kubelet has one for all its pods: that of a container which has no status yet is the others'. */
  #runtime: RuntimeName | undefined;

  constructor(options: PodFinderOptions) {
    this.#options = options;
    options.pods?.listen({
      applied: ({ containers }) => {
        this.#runtime = containers.find(({ runtime }) => runtime)?.runtime ?? this.#runtime;
      },
    });
  }

  concerns({ k8s }: Incident): boolean {
    return k8s?.pod?.uid !== undefined && k8s.pod.name === undefined;
  }

  async find(incident: Incident, signal: AbortSignal): Promise<Finding | undefined> {
    const uid = incident.k8s?.pod?.uid as string;
    const id = incident.container?.id;
    const { pods, logs } = this.#options;
    let logged: LoggedPod | undefined;
    if (pods !== undefined) {
      for (;;) {
        // Asked for first: what changes while a folder is read is not missed.
        const change = pods.changed(uid, signal);
        const found = this.#inTable(pods, uid, id);
        if (found?.container !== undefined || (found && (id === undefined || signal.aborted)))
          return this.#named(found.pod, found.container, id, signal);
        logged ??= await logs.find(uid, id);
        if (found && logged?.container !== undefined) {
          const container = found.pod.containers.find(({ name }) => name === logged?.container);
          return this.#named(found.pod, container, id, signal);
        }
        if (signal.aborted) break;
        await change;
      }
    }
    logged ??= await logs.find(uid, id);
    return this.#fromLogs(uid, logged);
  }

  #inTable(
    pods: PodTable,
    uid: string,
    id: string | undefined,
  ): { readonly pod: KnownPod; readonly container?: KnownPodContainer } | undefined {
    const exact = id === undefined ? undefined : pods.byContainerId(id);
    if (exact !== undefined) return exact;
    const pod = pods.byUid(uid);
    if (pod === undefined) return undefined;
    const [only] = pod.containers;
    return pod.containers.length === 1 && only && id !== undefined ? { pod, container: only } : { pod };
  }

  async #named(
    pod: KnownPod,
    container: KnownPodContainer | undefined,
    id: string | undefined,
    signal: AbortSignal,
  ): Promise<Finding> {
    const workload = (await this.#options.owners?.workload(pod, signal)) ?? {};
    const runtime = this.#runtime && { runtime: this.#runtime };
    const identity = identityOfPod(pod, container && { ...runtime, ...container }, workload);
    if (container !== undefined || id === undefined) return { identity, isPartial: false };
    const reason = `which container of the pod it was did not show within ${this.#patience}`;
    return { identity: { ...identity, unknown: { 'k8s.container': reason } }, isPartial: true };
  }

  #fromLogs(uid: string, logged: LoggedPod | undefined): Finding {
    const { pods, problem } = this.#options;
    const why = pods === undefined ? 'the API of Kubernetes is not used here' : problem();
    const reason = why ?? `pod not in the API within ${this.#patience}`;
    const isPartial = pods !== undefined;
    if (logged === undefined) return { identity: { unknown: { k8s: reason } }, isPartial };
    const { namespace, name, container } = logged;
    return {
      identity: {
        ...(container !== undefined && { container: { name: container } }),
        k8s: {
          namespace: { name: namespace },
          pod: { name, uid },
          ...(container !== undefined && { container: { name: container } }),
        },
        unknown: { 'k8s.deployment': `${reason}: only the names of its log files are known` },
      },
      isPartial,
    };
  }

  get #patience(): string {
    return `${this.#options.timeoutMs / 1000} s`;
  }
}
