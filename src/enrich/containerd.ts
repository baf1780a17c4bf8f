import { aborted } from '../aborted.ts';
import type { Containerd } from '../containerd/api.ts';
import type { Finder, Finding } from '../enrich.ts';
import type { Incident } from '../incident.ts';
import { type ChosenLabels, containerIdentity } from '../inventory/container-identity.ts';
import { identityOfContainer } from './containers.ts';

interface Connection {
  readonly containerd: Promise<Containerd>;
  readonly namespaces: Promise<readonly string[]>;
  readonly end: () => void;
  users: number;
}

/**
 * Names of containerd's own containers (nerdctl, ctr), asked for when one was killed: where nobody counts starts and ends there is
 * no need to follow it.
 */
export class ContainerdFinder implements Finder {
  readonly #socket: () => string | undefined;
  readonly #chosen: ChosenLabels;
  /** Of all who ask at the same time, as for the kills of a storm. */
  #connection: Connection | undefined;

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
    this.#connection ??= connect(socket);
    const connection = this.#connection;
    connection.users += 1;
    try {
      const namespaces = await Promise.race([connection.namespaces, aborted(signal)]);
      if (namespaces === undefined) throw new Error('no answer in time');
      const containerd = await connection.containerd;
      for (const runtimeNamespace of namespaces) {
        const found = await containerd.container(id, runtimeNamespace, signal);
        if (found === undefined) continue;
        const { image: imageName, labels } = found;
        const stated = { id, runtime: 'containerd', imageName, labels, runtimeNamespace } as const;
        const identity = containerIdentity(stated, this.#chosen);
        return identity && { identity: identityOfContainer(identity), isPartial: false };
      }
      return undefined;
    } catch (error) {
      this.#leave(connection);
      throw error;
    } finally {
      connection.users -= 1;
      if (connection.users === 0) {
        this.#leave(connection);
        connection.end();
      }
    }
  }

  /** Who asks next connects anew. */
  #leave(connection: Connection): void {
    if (this.#connection === connection) this.#connection = undefined;
  }
}

function connect(socket: string): Connection {
  const ended = new AbortController();
  const containerd = import('../containerd/api.ts').then(({ Containerd }) => Containerd.open(socket));
  const namespaces = containerd.then((connected) => connected.namespaces(ended.signal));
  const end = () => {
    ended.abort();
    void containerd.then(
      (connected) => connected.close(),
      () => {},
    );
  };
  return { containerd, namespaces, end, users: 0 };
}
