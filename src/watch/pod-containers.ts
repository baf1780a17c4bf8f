import { type ContainerRuntime, containerIdentity, RUNTIMES } from '../inventory/container-identity.ts';
import type { ContainerTable } from '../inventory/container-table.ts';
import type { PodListener } from '../inventory/pod-table.ts';
import { type KnownPod, type KnownPodContainer, OOM_KILLED, type Termination } from '../kubernetes/pod.ts';

/**
 * Containers as the status of their pods tells of them, where their runtime is not followed. There each restart is another
 * container with another id; how often one was restarted is the kubelet's own count.
 */
export class PodContainers implements PodListener {
  readonly #table: ContainerTable;
  readonly #now: () => number;
  /** Unix time, ms; the times of a status are whole seconds. */
  readonly #since: number;
  readonly #followed: ReadonlySet<ContainerRuntime>;

  /**
   * Kills from before now are not counted.
   *
   * @param followed runtimes that tell of their own containers themselves
   */
  constructor(table: ContainerTable, now: () => number, followed: ReadonlySet<ContainerRuntime> = new Set()) {
    this.#table = table;
    this.#now = now;
    this.#followed = followed;
    this.#since = Math.floor(now() / 1000) * 1000;
  }

  started(pod: KnownPod, container: KnownPodContainer): void {
    const { id, previous, restartCount } = container;
    if (id === undefined || this.#isFollowed(container) || !this.#identify(pod, container, id)) return;
    this.#table.restarted(id, restartCount);
    // The kubelet removes the one before the last, but nobody tells of that.
    if (previous?.containerId !== undefined && previous.containerId !== id)
      this.#table.gone(previous.containerId, this.#now());
  }

  terminated(pod: KnownPod, container: KnownPodContainer, termination: Termination): void {
    const { containerId: id, exitCode, finishedAt, reason } = termination;
    if (id === undefined || this.#isFollowed(container)) return;
    if (this.#table.get(id) === undefined && !this.#identify(pod, container, id)) return;
    const at = Date.parse(finishedAt ?? '') || this.#now();
    this.#table.died(id, exitCode, at);
    if (reason === OOM_KILLED && at >= this.#since) this.#table.oom(id);
  }

  gone(pod: KnownPod): void {
    for (const container of pod.containers)
      if (container.id !== undefined && !this.#isFollowed(container))
        this.#table.gone(container.id, this.#now());
  }

  #isFollowed(container: KnownPodContainer): boolean {
    return this.#followed.has(runtimeOf(container));
  }

  #identify({ namespace, name: podName, uid }: KnownPod, container: KnownPodContainer, id: string): boolean {
    const { name, image } = container;
    const identity = containerIdentity({
      id,
      runtime: runtimeOf(container),
      name,
      imageName: image?.name,
      imageId: image?.id,
      labels: {
        'io.kubernetes.pod.namespace': namespace,
        'io.kubernetes.pod.name': podName,
        'io.kubernetes.pod.uid': uid,
        'io.kubernetes.container.name': name,
      },
    });
    if (identity !== undefined) this.#table.identify('kubernetes', identity);
    return identity !== undefined;
  }
}

function runtimeOf({ runtime }: KnownPodContainer): ContainerRuntime {
  return RUNTIMES.find((name) => name === runtime) ?? 'containerd';
}
