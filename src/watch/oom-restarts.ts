import type { Incident, IncidentHost } from '../incident.ts';
import type { PodListener } from '../inventory/pod-table.ts';
import { incidentFromStatement } from '../inventory/stated-kill.ts';
import { type KnownPod, type KnownPodContainer, OOM_KILLED, type Termination } from '../kubernetes/pod.ts';

/** What became of one start of a container, in the words of kubernetes-oom-event-generator. */
const UPDATE_TYPES = [
  'not_oomkilled',
  'oomkilled_termination_too_old',
  'oomkilled_restart_count_unchanged',
  'oomkilled_event_sent',
] as const;
export type UpdateType = (typeof UPDATE_TYPES)[number];

export interface OomRestartOptions {
  readonly host: IncidentHost;
  /** Milliseconds since the epoch; what ended before is not told. */
  readonly startedAt: number;
  readonly now: () => number;
  /** Stores it for delivery; false: it was stored before; undefined: who tells it turns out later, and calls `sent`. */
  readonly commit: (restart: Incident) => boolean | undefined;
}

/**
 * Tells each restart of a container whose earlier instance was OOM killed, in the words of its pod's status, as an incident of the
 * kind `oom_restart`. kubernetes-oom-event-generator looks at the pod when an Event `Started` comes, so it loses a kill whose status
 * comes later, and tells one again when another container of the pod starts. Here the status itself is waited for, of the one
 * container. As there, init containers and ephemeral ones are left out.
 */
export class OomRestarts implements PodListener {
  readonly counts: ReadonlyMap<UpdateType, number>;
  readonly #counts = new Map<UpdateType, number>(UPDATE_TYPES.map((type) => [type, 0]));
  readonly #options: OomRestartOptions;
  /** Its whole second: the times of a status have no finer one, and a kill in the second of the start is no old one. */
  readonly #since: number;

  constructor(options: OomRestartOptions) {
    this.#options = options;
    this.counts = this.#counts;
    this.#since = Math.floor(options.startedAt / 1000) * 1000;
  }

  started(_pod: KnownPod, container: KnownPodContainer): void {
    // One that has an earlier instance is told by `restarted`.
    if (container.kind === 'container' && container.previous === undefined) this.#count('not_oomkilled');
  }

  restarted(pod: KnownPod, container: KnownPodContainer, previous: Termination): void {
    if (container.kind !== 'container') return;
    this.#count(this.#tell(pod, container, previous));
  }

  /** One that `commit` had left open is told from here. */
  sent(): void {
    this.#count('oomkilled_event_sent');
  }

  #count(type: UpdateType | undefined): void {
    if (type !== undefined) this.#counts.set(type, this.#counts.get(type)! + 1);
  }

  #tell(pod: KnownPod, container: KnownPodContainer, previous: Termination): UpdateType | undefined {
    if (previous.reason !== OOM_KILLED) return 'not_oomkilled';
    if (Date.parse(previous.finishedAt ?? '') < this.#since) return 'oomkilled_termination_too_old';
    const isNew = this.#options.commit(this.#incident(pod, container, previous));
    if (isNew === undefined) return undefined;
    return isNew ? 'oomkilled_event_sent' : 'oomkilled_restart_count_unchanged';
  }

  #incident(pod: KnownPod, container: KnownPodContainer, previous: Termination): Incident {
    const { host, now } = this.#options;
    // The instance that was killed: what stands in a pod's status while a container waits to be started again, and so what
    // kubernetes-oom-event-generator names, although its message sounds as if it were the new one.
    const id = previous.containerId ?? container.id;
    return incidentFromStatement(previous, host, {
      id: `restart:${pod.uid}:${container.name}:${container.restartCount}`,
      kind: 'oom_restart',
      time: new Date(now()).toISOString(),
      container: {
        name: container.name,
        ...(id !== undefined && { id }),
        ...(container.runtime !== undefined && { runtime: container.runtime }),
      },
      k8s: {
        namespace: { name: pod.namespace },
        pod: {
          name: pod.name,
          uid: pod.uid,
          ...(pod.resourceVersion !== undefined && { resource_version: pod.resourceVersion }),
        },
        container: { name: container.name, restart_count: container.restartCount },
        ...(pod.node !== undefined && { node: { name: pod.node } }),
      },
    });
  }
}
