/** A real Kubernetes on this machine: see README.md. */
import { rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { PATIENCE_MS } from '../patience.ts';
import { cgroupMounts, processesBelow, removeCgroup } from '../servers/cgroups.ts';
import { API_URL, NODE_A, NODE_B } from './addresses.ts';
import { CertificateAuthority } from './certificates.ts';
import { type CommandOptions, run } from './command.ts';
import * as controlPlane from './control-plane.ts';
import { Daemons, kill } from './daemons.ts';
import { Guest, guestCommand } from './guest.ts';
import { Namespace } from './namespace.ts';
import { makeCgroupRoot, nodeCommands, nodeEnvironment, staticPodFolder } from './node-a.ts';
import { abandonedFolders, disown, ownFolder, partsOf } from './ownership.ts';
import { type Parts, prepareParts, writeImages } from './parts.ts';

/** In the order in which they are started. */
const CONTROL_PLANE = ['etcd', 'kube-apiserver', 'kube-controller-manager', 'kube-scheduler'] as const;
export type Component = (typeof CONTROL_PLANE)[number] | 'containerd' | 'kubelet';

/** 53 s on a quiet machine. */
const GUEST_READY_MS = 600_000;
const LOOK_EVERY_MS = 50;

export class Cluster {
  /** All that it keeps. */
  readonly folder: string;
  /** An administrator's. */
  readonly kubeconfig: string;
  readonly apiUrl = API_URL;
  /** Below it each of node-a's pods has its cgroups, as the kernel prints them. */
  readonly cgroupRoot: string;
  readonly daemons: Daemons;
  readonly namespace: Namespace;
  readonly authority: CertificateAuthority;
  readonly #parts: Parts;
  /** node-b, once `startNodeB` has started it. */
  readonly guest: Guest;
  /** What it took to start, ms: step -> since the start. */
  readonly timings: Record<string, number> = {};

  private constructor(folder: string, parts: Parts) {
    this.folder = folder;
    this.kubeconfig = this.at('admin.kubeconfig');
    this.cgroupRoot = `/${path.basename(folder)}`;
    this.daemons = new Daemons(folder);
    this.namespace = new Namespace(this.daemons);
    this.authority = new CertificateAuthority(this.at('certificates'));
    this.guest = new Guest(this.namespace);
    this.#parts = parts;
  }

  /**
   * @param parts `control-plane`: etcd, API server, controllers and scheduler; `all`: with the node `node-a`
   * @throws with the reason and the log of what did not start; then nothing of it runs any more
   */
  static async start(
    parts: 'all' | 'control-plane',
    say: (line: string) => void = () => {},
  ): Promise<Cluster> {
    for (const folder of abandonedFolders()) {
      say(`removing what an earlier run has left in ${folder}`);
      await Cluster.attach(folder).stop();
    }
    const made = await prepareParts(say);
    const cluster = new Cluster(ownFolder(made), made);
    try {
      await cluster.#start(parts);
      return cluster;
    } catch (error) {
      await cluster.stop();
      throw error;
    }
  }

  /** One that another process has started, by its folder. */
  static attach(folder: string): Cluster {
    return new Cluster(folder, partsOf(folder));
  }

  /** From now on it is nobody's: it runs until somebody stops it. */
  disown(): void {
    disown(this.folder);
  }

  async #start(parts: 'all' | 'control-plane'): Promise<void> {
    const began = performance.now();
    const done = (step: string) => {
      this.timings[step] = Math.round(performance.now() - began);
    };
    CertificateAuthority.create(this.at('certificates'));
    for (const [name, subject] of [
      ['admin', '/O=system:masters/CN=admin'],
      ['kube-controller-manager', '/CN=system:kube-controller-manager'],
      ['kube-scheduler', '/CN=system:kube-scheduler'],
    ] as const)
      writeFileSync(this.at(`${name}.kubeconfig`), this.authority.kubeconfig(name, API_URL, subject));
    Namespace.start(this.daemons, this.folder);
    await this.#until('namespace', async () => this.namespace.isReady);
    for (const name of CONTROL_PLANE.slice(0, 2)) this.startComponent(name);
    if (parts === 'all') await this.#startContainerd();
    await this.#until('kube-apiserver', () => this.#succeeds(['get', '--raw', '/readyz']));
    done('API server');
    for (const name of CONTROL_PLANE.slice(2)) this.startComponent(name);
    if (parts === 'all') {
      makeCgroupRoot(this.cgroupRoot);
      this.startComponent('kubelet');
      await this.waitForNode(NODE_A.name);
      done('node-a Ready');
    }
    // Without it no pod may be made.
    await this.#until('kube-controller-manager', () =>
      this.#succeeds(['get', 'serviceaccount/default', 'configmap/kube-root-ca.crt']),
    );
    done('pods can be made');
  }

  /** Adds the virtual machine. */
  async startNodeB(say: (line: string) => void = () => {}): Promise<void> {
    const began = performance.now();
    const images = writeImages(this.#parts, this.at('images'));
    const { command, env } = await guestCommand(this.#parts, this.authority, this.folder, images, say);
    this.daemons.start(NODE_B.name, this.namespace.command(command, 'network'), { env });
    await this.#until(
      NODE_B.name,
      () =>
        this.waitForNode(NODE_B.name, 5_000).then(
          () => true,
          () => false,
        ),
      GUEST_READY_MS,
    );
    this.timings['node-b Ready'] = Math.round(performance.now() - began);
  }

  /** Until it is called again, with other fields: node-b's kubelet has these, and its containers go on. */
  async configureNodeB(fields: Readonly<Record<string, unknown>>): Promise<void> {
    await this.guest.configureKubelet(fields);
    const running = ['get', '--raw', `/api/v1/nodes/${NODE_B.name}/proxy/configz`];
    const has = async () => {
      const { kubeletconfig } = JSON.parse(await this.kubectl(running));
      return Object.entries(fields).every(([name, value]) => kubeletconfig[name] === value);
    };
    await this.#until(NODE_B.name, () => has().catch(() => false), GUEST_READY_MS);
  }

  get hasNodeB(): boolean {
    return this.daemons.pid(NODE_B.name) !== undefined;
  }

  async #startContainerd(): Promise<void> {
    this.startComponent('containerd');
    await this.#until('containerd', () =>
      this.ctr(['version']).then(
        () => true,
        () => false,
      ),
    );
    for (const archive of writeImages(this.#parts, this.at('images'))) await this.importImage(archive);
  }

  /** Does nothing when it runs. */
  startComponent(name: Component): void {
    if (this.daemons.pid(name) !== undefined) return;
    const data = this.at(`data/${name}`);
    const kubeconfig = this.at(`${name}.kubeconfig`);
    const commands: Record<Component, () => readonly string[]> = {
      etcd: () => controlPlane.etcd(data),
      'kube-apiserver': () => controlPlane.apiServer(this.authority, data),
      'kube-controller-manager': () => controlPlane.controllerManager(this.authority, kubeconfig, data),
      'kube-scheduler': () => controlPlane.scheduler(kubeconfig, data),
      containerd: () => this.#nodeCommands().containerd,
      kubelet: () => this.#nodeCommands().kubelet,
    };
    const command = name === 'containerd' ? commands[name]() : [this.#parts.kube1, ...commands[name]()];
    this.daemons.start(name, this.namespace.command(command, 'network and mounts'), {
      env: nodeEnvironment(this.#parts),
    });
  }

  #nodeCommands() {
    return nodeCommands(this.#parts, this.authority, this.folder, this.cgroupRoot);
  }

  async waitForNode(name: string, timeoutMs = PATIENCE_MS): Promise<void> {
    const timeout = `--timeout=${timeoutMs}ms`;
    await this.kubectl(['wait', '--for=create', `node/${name}`, timeout], { timeoutMs: timeoutMs + 5000 });
    await this.kubectl(['wait', '--for=condition=Ready', `node/${name}`, timeout], {
      timeoutMs: timeoutMs + 5000,
    });
  }

  /**
   * `kubectl ARGS...` as administrator.
   *
   * @returns what it printed
   * @throws with what it printed on stderr
   */
  kubectl(args: readonly string[], options: CommandOptions = {}): Promise<string> {
    return run(this.kubectlCommand(args), options);
  }

  /** `kubectl ARGS...` for somebody else to run. */
  kubectlCommand(args: readonly string[]): readonly string[] {
    const own = [`--kubeconfig=${this.kubeconfig}`, `--cache-dir=${this.at('kubectl-cache')}`];
    return this.namespace.command([this.#parts.kube1, 'kubectl', ...own, ...args], 'network');
  }

  /** Makes or changes objects. */
  async apply(...objects: readonly object[]): Promise<void> {
    const list = { apiVersion: 'v1', kind: 'List', items: objects };
    await this.kubectl(['apply', '-f', '-'], { input: JSON.stringify(list) });
  }

  /** `kubectl get ARGS... -o json`. */
  async get<T>(...args: readonly string[]): Promise<T> {
    return JSON.parse(await this.kubectl(['get', ...args, '--output=json']));
  }

  /** containerd's own client, on node-a. */
  ctr(args: readonly string[]): Promise<string> {
    const env = Object.entries(nodeEnvironment(this.#parts)).map(([name, value]) => `${name}=${value}`);
    return run(
      this.namespace.command(['env', ...env, 'ctr', '--namespace=k8s.io', ...args], 'network and mounts'),
    );
  }

  /** @param archive as `docker save` writes it; pods use it with `imagePullPolicy: Never` */
  async importImage(archive: string): Promise<void> {
    await this.ctr(['images', 'import', archive]);
  }

  /** kubelet runs the pods that are described in this folder of node-a's. */
  get staticPods(): string {
    return staticPodFolder(this.folder);
  }

  at(name: string): string {
    return path.join(this.folder, name);
  }

  /** Ends all that it has started, and removes its cgroups and its folder. */
  async stop(): Promise<void> {
    for (const name of ['node-b', 'kubelet']) await this.daemons.stop(name);
    const deadline = performance.now() + PATIENCE_MS;
    const containers = () =>
      cgroupMounts().flatMap((mount) => processesBelow(path.join(mount, this.cgroupRoot)));
    await endAll(containers, deadline);
    // SIGKILL: there is nothing that they must put in order.
    for (const name of ['containerd', ...CONTROL_PLANE.toReversed()])
      await this.daemons.stop(name, 'SIGKILL');
    await this.namespace.stop();
    // containerd's shims outlive it.
    await endAll(() => this.daemons.all(), deadline);
    for (const mount of cgroupMounts()) removeCgroup(path.join(mount, this.cgroupRoot));
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }

  async #until(component: string, check: () => Promise<boolean>, limitMs = PATIENCE_MS): Promise<void> {
    const deadline = performance.now() + limitMs;
    while (!(await check())) {
      const gone = this.daemons.hasEnded(component);
      if (gone || performance.now() > deadline)
        throw new Error(
          `${component} ${gone ? 'has ended' : 'is not ready in time'}:\n${this.daemons.lastWords(component)}`,
        );
      await sleep(LOOK_EVERY_MS);
    }
  }

  #succeeds(args: readonly string[]): Promise<boolean> {
    return this.kubectl(args).then(
      () => true,
      () => false,
    );
  }
}

async function endAll(find: () => number[], deadline: number): Promise<void> {
  for (let found = find(); found.length > 0 && performance.now() < deadline; found = find()) {
    for (const pid of found) kill(pid, 'SIGKILL');
    await sleep(LOOK_EVERY_MS);
  }
}
