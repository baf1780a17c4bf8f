import type { KubernetesApi } from './api.ts';
import { badAnswer } from './status.ts';

/** Node names are few; whoever sees a whole cluster meets them all. */
const LIMIT = 10_000;

/** The UIDs of nodes, each asked for once: a node that comes back under its name is a new machine with a new agent. */
export class NodeUids {
  readonly #api: KubernetesApi;
  readonly #known = new Map<string, string>();

  constructor(api: KubernetesApi) {
    this.#api = api;
  }

  /** @throws ApiError (404: there is no such node; 403: it may not be read), or the signal's reason */
  async of(name: string, signal: AbortSignal): Promise<string> {
    const known = this.#known.get(name);
    if (known !== undefined) return known;
    const node = await this.#api.get<{ metadata?: { uid?: unknown } }>(`/api/v1/nodes/${name}`, signal);
    const uid = node.metadata?.uid;
    if (typeof uid !== 'string' || uid === '') throw badAnswer(`the node ${name} has no uid`);
    if (this.#known.size >= LIMIT) this.#known.clear();
    this.#known.set(name, uid);
    return uid;
  }
}
