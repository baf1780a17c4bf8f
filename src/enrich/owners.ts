import { ApiError, type KubernetesApi } from '../kubernetes/api.ts';
import type { KnownPod, PodOwner } from '../kubernetes/pod.ts';
import { type Rate, TokenBucket } from '../kubernetes/token-bucket.ts';
import type { Workload } from './identity.ts';

/** Owners that a node's pods have; one that is not here is asked for again. */
const CACHE_LIMIT = 512;
/** For an owner that could not be read: the next kill may have better luck. */
const RETRY_MS = 30_000;
/** Whatever is killed at once, and however many a new holder of the lease has to make up for, the API server has this to bear. */
const RATE: Rate = { burst: 30, everyMs: 20 };
/** At that rate the last of them waits for 20 s. Of a pod beyond them the owner itself is the answer. */
const MOST_ASKED = 1024;

export interface OwnersOptions {
  /** Undefined while there is no connection. */
  readonly api: () => KubernetesApi | undefined;
  readonly now: () => number;
  /** Rejects when nobody waits for answers any more. */
  readonly sleep: (ms: number) => Promise<unknown>;
}

interface Cached {
  readonly owner: Promise<PodOwner | undefined>;
  /** When it could not be read, milliseconds since the epoch. */
  readonly failedAt?: number;
}

/**
 * Who made a pod, as people call it: the Deployment behind its ReplicaSet, the CronJob behind its Job, else the owner itself.
 *
 * A Deployment costs no request: the ReplicaSets that it makes, and only those, are called `<deployment>-<pod-template-hash>`
 * (Kubernetes: Deployment, "Pod-template-hash label"). Others' ReplicaSets and Jobs are asked for once.
 */
export class Owners {
  readonly #options: OwnersOptions;
  readonly #bucket: TokenBucket;
  readonly #cache = new Map<string, Cached>();
  #asked = 0;

  constructor(options: OwnersOptions) {
    this.#options = options;
    this.#bucket = new TokenBucket(RATE, options.now());
  }

  /** Never fails: where the owner's owner cannot be read in time, the owner itself is the answer. */
  async workload(pod: KnownPod, signal: AbortSignal): Promise<Workload> {
    const { owner } = pod;
    if (owner === undefined) return {};
    if (owner.kind === 'ReplicaSet') {
      const end = `-${owner.templateHash}`;
      if (owner.templateHash && owner.name.endsWith(end) && owner.name.length > end.length)
        return { deployment: { name: owner.name.slice(0, -end.length) } };
      return workloadOf((await this.#ownerOf(pod, owner, 'replicasets', signal)) ?? owner);
    }
    if (owner.kind === 'Job') return workloadOf((await this.#ownerOf(pod, owner, 'jobs', signal)) ?? owner);
    return workloadOf(owner);
  }

  #ownerOf(
    { namespace }: KnownPod,
    { apiVersion, name }: PodOwner,
    resource: string,
    signal: AbortSignal,
  ): Promise<PodOwner | undefined> {
    const path = `/apis/${apiVersion}/namespaces/${encodeURIComponent(namespace)}/${resource}/${encodeURIComponent(name)}`;
    // Whose API it is comes from the pod, which its author writes.
    if (!/^(apps|batch)\/v\d\w*$/.test(apiVersion)) return Promise.resolve(undefined);
    const api = this.#options.api();
    if (api === undefined) return Promise.resolve(undefined);
    const cached = this.#cache.get(path);
    if (cached !== undefined && !this.#mayAskAgain(cached)) return inTime(cached.owner, signal);
    if (this.#asked >= MOST_ASKED) return Promise.resolve(undefined);
    const owner = this.#ask(api, path);
    this.#remember(path, { owner });
    return inTime(owner, signal);
  }

  /** Also when the clock was set back since. */
  #mayAskAgain({ failedAt }: Cached): boolean {
    return failedAt !== undefined && Math.abs(this.#options.now() - failedAt) >= RETRY_MS;
  }

  /** The newest so many. */
  #remember(path: string, cached: Cached): void {
    this.#cache.delete(path);
    this.#cache.set(path, cached);
    if (this.#cache.size > CACHE_LIMIT) this.#cache.delete(this.#cache.keys().next().value as string);
  }

  /** For all who wait for the answer, so none of them can end it; the API has a time limit of its own. */
  async #ask(api: KubernetesApi, path: string): Promise<PodOwner | undefined> {
    const { now, sleep } = this.#options;
    this.#asked += 1;
    try {
      const waitMs = this.#bucket.take(now());
      if (waitMs > 0) await sleep(waitMs);
      const answer = await api.get<{ metadata?: { ownerReferences?: unknown } }>(path);
      return controllerOf(answer.metadata?.ownerReferences);
    } catch (error) {
      // The workload is named a little less well; the courier must not wait for it.
      const gone = error instanceof ApiError && error.status === 404;
      this.#remember(path, {
        owner: Promise.resolve(undefined),
        ...(!gone && { failedAt: now() }),
      });
      return undefined;
    } finally {
      this.#asked -= 1;
    }
  }
}

/** Undefined when the signal is aborted first. What is known already is known in time. */
function inTime<T>(work: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const late = () => resolve(undefined);
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', late));
    if (signal.aborted) queueMicrotask(late);
    else signal.addEventListener('abort', late);
  });
}

function controllerOf(references: unknown): PodOwner | undefined {
  if (!Array.isArray(references)) return undefined;
  const found = references.find((each) => each?.controller === true);
  if (typeof found?.kind !== 'string' || typeof found?.name !== 'string') return undefined;
  return { apiVersion: String(found.apiVersion), kind: found.kind, name: found.name };
}

/** A map, because the author of a pod writes its owners: an object knows a `constructor`, too. */
const FIELDS: ReadonlyMap<string, keyof Workload> = new Map([
  ['Deployment', 'deployment'],
  ['StatefulSet', 'statefulset'],
  ['DaemonSet', 'daemonset'],
  ['Job', 'job'],
  ['CronJob', 'cronjob'],
]);

function workloadOf({ kind, name }: PodOwner): Workload {
  const field = FIELDS.get(kind);
  // A static pod is owned by its node, which says nothing of what it is for.
  if (kind === 'Node') return {};
  return field === undefined ? { owner: { kind, name } } : { [field]: { name } };
}
