import type { Finder, Finding } from '../enrich.ts';
import type { Incident } from '../incident.ts';
import type { ContainerTable, KnownContainer } from '../inventory/container-table.ts';
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

  concerns({ container, k8s }: Incident): boolean {
    return container?.id !== undefined && container.name === undefined && k8s?.pod?.name === undefined;
  }

  async find(incident: Incident, signal: AbortSignal): Promise<Finding | undefined> {
    const id = incident.container?.id as string;
    const container = this.#table.get(id) ?? (this.#isFed() ? await this.#awaited(id, signal) : undefined);
    return container && { identity: identityOf(container), isPartial: false };
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

function identityOf({
  name,
  runtime,
  image,
  namespace,
  podName,
  podUid,
  containerName,
}: KnownContainer): Identity {
  return {
    container: { ...(name !== undefined && { name }), runtime, ...(image && { image }) },
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
