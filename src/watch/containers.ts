import { existsSync } from 'node:fs';
import type { Incident, Witness } from '../incident.ts';
import { type ContainerRuntime, ContainerTable } from '../inventory/container-table.ts';
import { cgroupOwner } from '../kernel/cgroup-path.ts';
import type { PartStatus } from '../part-status.ts';
import { missingContainerMetrics } from '../replaced/missing-container-metrics.ts';
import { showsMetricsOf } from '../replaced/programs.ts';
import type { FeedStatus, FeedTools } from './container-feed.ts';

export interface ContainerSettings {
  /** A path, `off`, or `auto`: the usual place, if there is one. */
  readonly dockerSocket: string;
  readonly containerdSocket: string;
  readonly metrics: ReadonlySet<string>;
  readonly replace: ReadonlySet<string>;
  /** Of containers, too, where no kubelet made them. */
  readonly podLabels: ReadonlySet<string>;
}

export interface ContainersOptions extends Omit<FeedTools, 'chosenLabels'> {
  readonly settings: ContainerSettings;
  /** Whether the kernel's own word of a kill arrives. */
  readonly kernelSees: () => boolean;
}

const KERNEL: ReadonlySet<Witness> = new Set<Witness>(['kmsg', 'log']);
const USUAL = { docker: '/var/run/docker.sock', containerd: '/run/containerd/containerd.sock' } as const;

interface Feed {
  readonly name: string;
  readonly option: string;
  readonly socket: string;
  readonly watch: { readonly status: FeedStatus; start(): void; stop(): Promise<void> };
}

/** The container runtimes of this machine that are followed, and what they have told. */
export class Containers {
  readonly table: ContainerTable;
  readonly #options: ContainersOptions;
  readonly #feeds: Feed[] = [];
  /** Of the runtimes that are followed. */
  readonly #sockets: { readonly docker: string | undefined; readonly containerd: string | undefined };

  constructor(options: ContainersOptions) {
    this.#options = options;
    this.table = new ContainerTable(options);
    const { dockerSocket, containerdSocket } = options.settings;
    this.#sockets = {
      docker: place(dockerSocket, USUAL.docker),
      containerd: place(containerdSocket, USUAL.containerd),
    };
  }

  /** Loads what is needed and nothing else; returns before anything is connected. */
  async start(): Promise<void> {
    const { docker, containerd } = this.#sockets;
    if (docker !== undefined) await this.#followDocker(docker);
    if (containerd !== undefined)
      await this.#followContainerd(containerd, docker === undefined ? [] : ['moby']);
  }

  /** Whether somebody wants to know of starts and ends. */
  get isCounted(): boolean {
    return showsMetricsOf(missingContainerMetrics, this.#options.settings);
  }

  /** Where containerd can be asked for one container; undefined: nowhere, or it is followed. */
  get containerdSocket(): string | undefined {
    if (this.#sockets.containerd !== undefined) return undefined;
    return place(this.#options.settings.containerdSocket, USUAL.containerd);
  }

  /** Runtimes that are followed, or will be once they are connected. */
  get followed(): ReadonlySet<ContainerRuntime> {
    const runtimes = ['docker', 'containerd'] as const;
    return new Set(runtimes.filter((runtime) => this.#sockets[runtime] !== undefined));
  }

  parts(): PartStatus[] {
    return this.#feeds.map(({ name, option, socket, watch }) => {
      const { works, problem } = watch.status;
      if (works) return { name, works };
      return {
        name,
        works,
        problem: `${socket}: ${problem}. Mount it, or name another one by --${option}`,
        cost: 'containers have no names but their ids, starts and ends are not counted',
      };
    });
  }

  /** The kernel's word: every process that it killed counts for the container in which it ran. */
  witnessed(incidents: readonly Incident[]): void {
    for (const { kind, witness, victims } of incidents) {
      if (kind !== 'oom_kill' || !witness.some((each) => KERNEL.has(each))) continue;
      for (const { process } of victims) {
        if (process.cgroup === undefined) continue;
        const id = this.table.ofCgroup(process.cgroup)?.id ?? cgroupOwner(process.cgroup).container?.id;
        if (id !== undefined) this.table.killed(id, 1);
      }
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.#feeds.map(({ watch }) => watch.stop()));
  }

  async #followDocker(socket: string): Promise<void> {
    const [{ DockerEngine }, { DockerWatch }] = await Promise.all([
      import('../docker/engine-api.ts'),
      import('./docker.ts'),
    ]);
    const watch = new DockerWatch({ ...this.#tools(), engine: new DockerEngine(socket), table: this.table });
    this.#follow({ name: 'Docker', option: 'docker-socket', socket, watch });
  }

  async #followContainerd(socket: string, without: readonly string[]): Promise<void> {
    const { ContainerdWatch } = await import('./containerd.ts');
    const watch = new ContainerdWatch({ ...this.#tools(), socket, table: this.table, without });
    this.#follow({ name: 'containerd', option: 'containerd-socket', socket, watch });
  }

  #tools(): FeedTools {
    return { ...this.#options, chosenLabels: this.#options.settings.podLabels };
  }

  #follow(feed: Feed): void {
    feed.watch.start();
    this.#feeds.push(feed);
  }
}

function place(setting: string, usual: string): string | undefined {
  if (setting !== 'auto') return setting === 'off' ? undefined : setting;
  return existsSync(usual) ? usual : undefined;
}
