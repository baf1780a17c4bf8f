import type { Finder, Finding } from '../enrich.ts';
import type { Incident } from '../incident.ts';
import { type ChosenLabels, containerIdentity } from '../inventory/container-identity.ts';
import { identityOfContainer } from './containers.ts';

/**
 * Names of containerd's own containers (nerdctl, ctr), asked for when one was killed: where nobody counts starts and ends there is
 * no need to follow it.
 */
export class ContainerdFinder implements Finder {
  readonly #socket: () => string | undefined;
  readonly #chosen: ChosenLabels;

  /** @param socket where it answers; undefined: nowhere, or it is followed already */
  constructor(socket: () => string | undefined, chosen: ChosenLabels) {
    this.#socket = socket;
    this.#chosen = chosen;
  }

  concerns({ container, k8s }: Incident): boolean {
    const { id, name, runtime = 'containerd' } = container ?? {};
    const isItsOwn = runtime === 'containerd' && k8s?.pod === undefined;
    return isItsOwn && id !== undefined && name === undefined && this.#socket() !== undefined;
  }

  async find({ container }: Incident, signal: AbortSignal): Promise<Finding | undefined> {
    const socket = this.#socket();
    const id = container?.id;
    if (socket === undefined || id === undefined || signal.aborted) return undefined;
    const { Containerd } = await import('../containerd/api.ts');
    const containerd = await Containerd.open(socket);
    try {
      for (const runtimeNamespace of await containerd.namespaces(signal)) {
        const found = await containerd.container(id, runtimeNamespace, signal);
        if (found === undefined) continue;
        const { image: imageName, labels } = found;
        const stated = { id, runtime: 'containerd', imageName, labels, runtimeNamespace } as const;
        const identity = containerIdentity(stated, this.#chosen);
        return identity && { identity: identityOfContainer(identity), isPartial: false };
      }
      return undefined;
    } finally {
      containerd.close();
    }
  }
}
