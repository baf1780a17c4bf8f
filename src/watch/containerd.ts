import { Containerd } from '../containerd/api.ts';
import type { ContainerdContainer, ContainerdEvent, ContainerdTask } from '../containerd/messages.ts';
import { containerIdentity } from '../inventory/container-identity.ts';
import type { ContainerTable } from '../inventory/container-table.ts';
import { type FeedStatus, type FeedTools, keepFollowing, Questions } from './container-feed.ts';

export interface ContainerdWatchOptions extends FeedTools {
  readonly socket: string;
  readonly table: ContainerTable;
  /** Namespaces that another watch tells of: Docker's own (`moby`) where Docker is followed. */
  readonly without: readonly string[];
}

/** Docker keeps its containers here, without their names. */
const DOCKERS = 'moby';

/**
 * Containers of containerd, from its events, in all of its namespaces (`k8s.io`, `default` …). An event has no labels:
 * a new container costs one question. containerd remembers no events, so after every connection containers and tasks are
 * asked for: a task with another pid than the one that was known is a start that was missed.
 */
export class ContainerdWatch {
  readonly #options: ContainerdWatchOptions;
  readonly #table: ContainerTable;
  readonly #stop = new AbortController();
  /** Id -> pid of its first process while that runs. */
  readonly #pids = new Map<string, number>();
  readonly #questions = new Questions();
  #status: FeedStatus = { works: false, problem: 'connecting' };
  #watchedSince: number | undefined;
  #running: Promise<void> | undefined;

  constructor(options: ContainerdWatchOptions) {
    this.#options = options;
    this.#table = options.table;
  }

  get status(): FeedStatus {
    return this.#status;
  }

  start(): void {
    const became = (status: FeedStatus) => {
      this.#status = status;
    };
    const follow = (follows: (containers: number) => void, signal: AbortSignal) =>
      this.#follow(follows, signal);
    this.#running = keepFollowing('containerd', this.#options, follow, became, this.#stop.signal);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    await this.#questions.done;
  }

  async #follow(follows: (containers: number) => void, signal: AbortSignal): Promise<void> {
    const { socket, now } = this.#options;
    const containerd = await Containerd.open(socket);
    try {
      const asked = now();
      const listening = this.#listen(containerd, signal);
      await Promise.all([
        listening,
        this.#takeStock(containerd, asked, signal).then((count) => {
          this.#watchedSince ??= asked;
          follows(count);
        }),
      ]);
    } finally {
      containerd.close();
    }
  }

  async #listen(containerd: Containerd, signal: AbortSignal): Promise<void> {
    const skipped = (reason: string) => this.#options.observer.feedSkipped('containerd', reason);
    for await (const event of containerd.events(skipped, signal)) this.#happened(event, containerd, signal);
    throw new Error('containerd ended the stream of events');
  }

  /**
   * Asks for the namespaces first: by the answer the subscription, which was sent before, is in force.
   *
   * @returns how many containers there are
   */
  async #takeStock(containerd: Containerd, asOf: number, signal: AbortSignal): Promise<number> {
    const ids = new Set<string>();
    for (const namespace of await containerd.namespaces(signal)) {
      if (this.#options.without.includes(namespace)) continue;
      const tasks = new Map<string, ContainerdTask>();
      for (const task of await containerd.tasks(namespace, signal)) tasks.set(task.containerId, task);
      for await (const container of containerd.containers(namespace, signal)) {
        ids.add(container.id);
        this.#found(container, namespace, tasks.get(container.id), asOf);
      }
    }
    this.#table.onlyThese('containerd', ids, asOf);
    return ids.size;
  }

  #found(
    container: ContainerdContainer,
    namespace: string,
    task: ContainerdTask | undefined,
    asOf: number,
  ): void {
    const { id, createdAt } = container;
    const known = this.#table.get(id);
    if (!this.#identify(container, namespace, asOf)) return;
    const isOld = known === undefined && createdAt < (this.#watchedSince ?? asOf);
    if (task?.state === 'running') {
      if (this.#pids.get(id) === task.pid) return;
      this.#pids.set(id, task.pid);
      // When it was started only its event says.
      if (isOld) this.#table.found(id, { running: true, startedAt: createdAt }, Number.POSITIVE_INFINITY);
      else this.#table.started(id, asOf);
      return;
    }
    this.#pids.delete(id);
    if (task?.state === 'stopped') {
      const { exitCode, exitedAt } = task;
      this.#table.found(
        id,
        { running: false, exitCode, exitedAt, startedAt: createdAt },
        Number.POSITIVE_INFINITY,
      );
    } else if (known?.running) this.#table.died(id, undefined, asOf);
  }

  #happened(event: ContainerdEvent, containerd: Containerd, signal: AbortSignal): void {
    const { type, namespace, id, at } = event;
    if (this.#options.without.includes(namespace)) return;
    switch (type) {
      case 'create':
      case 'update':
        this.#know(event, containerd, signal);
        return;
      case 'start':
        if (this.#table.get(id) === undefined) this.#know(event, containerd, signal);
        if (this.#pids.get(id) === event.pid) return;
        this.#pids.set(id, event.pid);
        this.#table.started(id, at);
        return;
      case 'exit':
        if (!event.isFirst) return;
        this.#pids.delete(id);
        this.#table.died(id, event.exitCode, at);
        return;
      case 'oom':
        this.#table.oom(id);
        return;
      case 'delete':
        this.#pids.delete(id);
        this.#table.gone(id, at);
        return;
    }
  }

  /** At once by its id, with its labels as soon as they are answered. */
  #know({ id, namespace, at }: ContainerdEvent, containerd: Containerd, signal: AbortSignal): void {
    if (this.#table.get(id)?.goneAt !== undefined || this.#table.get(id) === undefined) {
      if (!this.#identify({ id, labels: {}, image: '' }, namespace, at)) return;
    }
    this.#questions.ask(async () => {
      const container = await containerd.container(id, namespace, signal);
      if (container !== undefined) this.#identify(container, namespace, at);
    });
  }

  #identify(
    { id, labels, image }: Omit<ContainerdContainer, 'createdAt'>,
    namespace: string,
    asOf: number,
  ): boolean {
    const runtime = namespace === DOCKERS ? 'docker' : 'containerd';
    const stated = { id, runtime, imageName: image, labels, runtimeNamespace: namespace } as const;
    const identity = containerIdentity(stated, this.#options.chosenLabels);
    if (identity !== undefined) this.#table.identify('containerd', identity, asOf);
    return identity !== undefined;
  }
}
