import { aborted } from '../aborted.ts';
import { PodTable } from '../inventory/pod-table.ts';
import type { KubernetesApi } from '../kubernetes/api.ts';
import type { Follower, ListWatch, ListWatchObserver } from '../kubernetes/list-watch.ts';
import { type KeptMetadata, type KnownPod, knownPod } from '../kubernetes/pod.ts';
import type { PartStatus } from '../part-status.ts';

export interface PodSettings {
  readonly useKubernetes: boolean;
  readonly kubeconfig: string | undefined;
  readonly nodeName: string | undefined;
  readonly podLabels: ReadonlySet<string>;
  readonly podAnnotations: ReadonlySet<string>;
}

export interface PodsOptions {
  readonly settings: PodSettings;
  /** The name of the node unless the settings have one. */
  readonly host: { readonly name: string };
  /** Of the whole cluster instead of this node, with the labels that tell which pods are agents. */
  readonly everywhere?: { readonly labels: readonly string[] };
  readonly observer: PodsObserver;
  readonly now: () => number;
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
  readonly random: () => number;
}

export interface PodsObserver extends ListWatchObserver {
  /** Nothing of Kubernetes works until the agent is started again. */
  notConnected(reason: string, cost: string): void;
}

/** The pods of this node, or of all, as the API of Kubernetes tells: one list and one watch. */
export class Pods {
  readonly table: PodTable;
  readonly #options: PodsOptions;
  readonly #stop = new AbortController();
  #api: KubernetesApi | undefined;
  #listWatch: ListWatch<unknown> | undefined;
  #connecting: Promise<KubernetesApi | undefined> | undefined;
  #following: Promise<void> | undefined;
  readonly #synced = Promise.withResolvers<void>();
  #problem = 'not connected yet';

  constructor(options: PodsOptions) {
    this.#options = options;
    this.table = new PodTable(options.now);
  }

  /** Undefined while there is no connection. */
  get api(): KubernetesApi | undefined {
    return this.#api;
  }

  /** Why the pods are not known; undefined where they are. */
  get problem(): string | undefined {
    if (this.#listWatch === undefined) return this.#problem;
    const { synced, problem } = this.#listWatch.status;
    return problem ?? (synced ? undefined : 'the pods are not listed yet');
  }

  /** Undefined where the API is not used. */
  get works(): boolean | undefined {
    return this.#options.settings.useKubernetes ? this.problem === undefined : undefined;
  }

  /** Need not be waited for: credentials may come from a program that takes its time. Undefined: there is no cluster. */
  start(): Promise<KubernetesApi | undefined> {
    if (!this.#options.settings.useKubernetes) return Promise.resolve(undefined);
    this.#connecting ??= this.#connect();
    return this.#connecting;
  }

  /** Resolves when every pod has been listed once, or the signal is aborted. */
  synced(signal: AbortSignal): Promise<void> {
    return Promise.race([this.#synced.promise, aborted(signal)]);
  }

  parts(): PartStatus[] {
    const { problem } = this;
    if (!this.#options.settings.useKubernetes) return [];
    if (problem === undefined) return [{ name: 'Kubernetes', works: true }];
    return [{ name: 'Kubernetes', works: false, problem, cost: this.#cost }];
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#connecting;
    await this.#following;
    this.#api?.close();
  }

  async #connect(): Promise<KubernetesApi | undefined> {
    const { settings, observer } = this.#options;
    const [{ connect }, { ListWatch }] = await Promise.all([
      import('../kubernetes/connection.ts'),
      import('../kubernetes/list-watch.ts'),
    ]);
    try {
      this.#api = await connect({ kubeconfig: settings.kubeconfig });
    } catch (error) {
      this.#problem = (error as Error).message;
      observer.notConnected(this.#problem, this.#cost);
      return undefined;
    }
    const follower = new TableFollower(this.table, this.#keep, this.#synced.resolve);
    this.#listWatch = new ListWatch(this.#api, '/api/v1/pods', this.#selection, follower, this.#options);
    this.#following = this.#listWatch.run(this.#stop.signal);
    return this.#api;
  }

  /** Who watches the pods of all nodes knows kills from nowhere else. */
  get #cost(): string {
    return this.#options.everywhere
      ? 'kills are not seen'
      : 'incidents have the UID of the pod, and its name only where a log file of kubelet has it';
  }

  get #selection(): { readonly fieldSelector?: string } {
    const { settings, host, everywhere } = this.#options;
    return everywhere ? {} : { fieldSelector: `spec.nodeName=${settings.nodeName ?? host.name}` };
  }

  get #keep(): KeptMetadata {
    const { settings, everywhere } = this.#options;
    const labels = settings.podLabels.union(new Set(everywhere?.labels));
    return { labels, annotations: settings.podAnnotations };
  }
}

/** Keeps of each pod what is needed, as it arrives. */
class TableFollower implements Follower<unknown> {
  readonly #table: PodTable;
  readonly #keep: KeptMetadata;
  readonly #onSynced: () => void;
  #listed = new Set<string>();

  constructor(table: PodTable, keep: KeptMetadata, onSynced: () => void) {
    this.#table = table;
    this.#keep = keep;
    this.#onSynced = onSynced;
  }

  began(): void {
    this.#listed = new Set();
  }

  page(items: readonly unknown[]): void {
    for (const item of items) {
      const pod = this.#apply(item);
      if (pod) this.#listed.add(pod.uid);
    }
  }

  synced(): void {
    this.#table.retain(this.#listed);
    this.#listed = new Set();
    this.#onSynced();
  }

  added(object: unknown): void {
    this.#apply(object);
  }

  modified(object: unknown): void {
    this.#apply(object);
  }

  deleted(object: unknown): void {
    const pod = knownPod(object, this.#keep);
    if (pod) this.#table.remove(pod.uid, pod);
  }

  #apply(object: unknown): KnownPod | undefined {
    const pod = knownPod(object, this.#keep);
    if (pod) this.#table.apply(pod);
    return pod;
  }
}
