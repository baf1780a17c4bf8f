import { PodTable } from '../inventory/pod-table.ts';
import type { KubernetesApi } from '../kubernetes/api.ts';
import type { Follower, ListWatch, ListWatchObserver } from '../kubernetes/list-watch.ts';
import { type KeptMetadata, type KnownPod, knownPod } from '../kubernetes/pod.ts';

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
  readonly observer: PodsObserver;
  readonly now: () => number;
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
  readonly random: () => number;
}

export interface PodsObserver extends ListWatchObserver {
  /** Nothing of Kubernetes works until the agent is started again. */
  notConnected(reason: string): void;
}

/** One part of /readyz. */
export interface PodsPart {
  readonly name: string;
  readonly works: boolean;
  readonly problem?: string;
  readonly cost?: string;
}

/** The pods of this node, as the API of Kubernetes tells: one list and one watch. */
export class Pods {
  readonly table: PodTable;
  readonly #options: PodsOptions;
  readonly #stop = new AbortController();
  #api: KubernetesApi | undefined;
  #listWatch: ListWatch<unknown> | undefined;
  #following: Promise<void> | undefined;
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

  /** Returns at once: credentials may come from a program that takes its time. */
  start(): void {
    if (this.#options.settings.useKubernetes) this.#following ??= this.#follow();
  }

  parts(): PodsPart[] {
    const { problem } = this;
    if (!this.#options.settings.useKubernetes) return [];
    if (problem === undefined) return [{ name: 'Kubernetes', works: true }];
    const cost = 'incidents have the UID of the pod, and its name only where a log file of kubelet has it';
    return [{ name: 'Kubernetes', works: false, problem, cost }];
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#following;
    this.#api?.close();
  }

  async #follow(): Promise<void> {
    const { settings, host, observer } = this.#options;
    const [{ connect }, { ListWatch }] = await Promise.all([
      import('../kubernetes/connection.ts'),
      import('../kubernetes/list-watch.ts'),
    ]);
    try {
      this.#api = await connect({ kubeconfig: settings.kubeconfig });
    } catch (error) {
      this.#problem = (error as Error).message;
      observer.notConnected(this.#problem);
      return;
    }
    const selection = { fieldSelector: `spec.nodeName=${settings.nodeName ?? host.name}` };
    const keep = { labels: settings.podLabels, annotations: settings.podAnnotations };
    const follower = new TableFollower(this.table, keep);
    this.#listWatch = new ListWatch(this.#api, '/api/v1/pods', selection, follower, this.#options);
    await this.#listWatch.run(this.#stop.signal);
  }
}

/** Keeps of each pod what is needed, as it arrives. */
class TableFollower implements Follower<unknown> {
  readonly #table: PodTable;
  readonly #keep: KeptMetadata;
  #listed = new Set<string>();

  constructor(table: PodTable, keep: KeptMetadata) {
    this.#table = table;
    this.#keep = keep;
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
