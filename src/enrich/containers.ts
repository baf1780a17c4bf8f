import type { Finder, Finding } from '../enrich.ts';
import type { Container, Incident } from '../incident.ts';
import type { ContainerIdentity, ContainerTable, KnownContainer } from '../inventory/container-table.ts';
import type { Identity } from './identity.ts';

/** A runtime's word on who a container is: the names that people gave, and what kubelet wrote on it. */
export class ContainerFinder implements Finder {
  readonly #table: ContainerTable;
  /** Whether a runtime is followed at all: else nothing will come. */
  readonly #isFed: () => boolean;

  constructor(table: ContainerTable, isFed: () => boolean) {
    this.#table = table;
    this.#isFed = isFed;
  }

  concerns({ container, k8s, process }: Incident): boolean {
    if (container?.name !== undefined || k8s?.pod?.name !== undefined) return false;
    return container?.id !== undefined || this.#table.ofCgroup(process.cgroup ?? '') !== undefined;
  }

  async find({ container, process }: Incident, signal: AbortSignal): Promise<Finding | undefined> {
    const known =
      this.#table.ofCgroup(process.cgroup ?? '') ?? (container && (await this.#byId(container, signal)));
    return known && { identity: identityOfContainer(known), isPartial: false };
  }

  async #byId({ id, runtime }: Container, signal: AbortSignal): Promise<KnownContainer | undefined> {
    if (id === undefined) return undefined;
    // No daemon will tell of podman's.
    const isAwaited = this.#isFed() && runtime !== 'podman';
    return this.#table.get(id) ?? (isAwaited ? this.#awaited(id, signal) : undefined);
  }

  /** A container can be killed before its runtime has told of it. */
  #awaited(id: string, signal: AbortSignal): Promise<KnownContainer | undefined> {
    return new Promise((resolve) => {
      const done = () => {
        stop();
        signal.removeEventListener('abort', done);
        resolve(this.#table.get(id));
      };
      const stop = this.#table.listen((type, container) => {
        if (type === 'seen' && container.id === id) done();
      });
      if (signal.aborted) done();
      else signal.addEventListener('abort', done);
    });
  }
}

/** They say what stands in `k8s`. */
const KUBELETS = /^io\.(kubernetes|cri-containerd)\./;

/** What an incident has of it. */
export function identityOfContainer({
  id,
  name,
  runtime,
  image,
  namespace,
  podName,
  podUid,
  containerName,
  labels,
}: ContainerIdentity): Identity {
  const own = Object.entries(labels).filter(([label]) => !KUBELETS.test(label));
  return {
    container: {
      id,
      ...(name !== undefined && { name }),
      runtime,
      ...(image && { image }),
      ...(own.length > 0 && { labels: Object.fromEntries(own) }),
    },
    ...(namespace !== undefined &&
      podName !== undefined && {
        k8s: {
          namespace: { name: namespace },
          pod: { name: podName, ...(podUid !== undefined && { uid: podUid }) },
          ...(containerName !== undefined && { container: { name: containerName } }),
        },
      }),
  };
}
