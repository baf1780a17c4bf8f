/**
 * A real Docker (dockerd, containerd, runc) from Debian's packages, beside whatever Docker the machine has: its own
 * sockets, data folder and cgroups, no network.
 *
 * It runs in a mount namespace of its own, so that its mounts end with it and containerd's fixed socket folder below
 * /run is a private one. Processes, the kernel log and the network namespace are the machine's, as on a real host.
 */
import { execFile } from 'node:child_process';
import { mkdirSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { whyNoKills } from '../kills/kills.ts';
import { PATIENCE_MS } from '../patience.ts';
import { freshFolder } from '../temporary-folder.ts';
import { libraryPath, unpackPackages } from './apt.ts';
import { cgroupMounts, mayRaiseResources, processesBelow, removeCgroup } from './cgroups.ts';
import { type RunningServer, startServer } from './process.ts';

const run = promisify(execFile);

const BUILD_MS = 600_000;
const OUTPUT_LIMIT = 16 << 20;

const SANDBOX_RUNC = path.join(import.meta.dirname, 'docker', 'runc-in-a-sandbox.sh');

let started = 0;

/** The root folder of the packages, or why Docker cannot run here: the reason that a skipped test gives. */
export async function dockerPackages(): Promise<{ readonly root: string } | { readonly missing: string }> {
  const missing = whyNoKills();
  if (missing !== undefined) return { missing };
  return unpackPackages('docker', ['docker.io', 'containerd', 'runc', 'libdevmapper1.02.1', 'libseccomp2']);
}

export interface DockerOptions {
  /** Keeps images and what builds have cached, for one Docker at a time; default: this start only. */
  readonly data?: string;
  /** Default: in its own folder. */
  readonly socket?: string;
}

export class Docker {
  /** Below it each container has a cgroup with its id as name, as the kernel prints it. */
  readonly cgroup: string;
  /** All that it keeps for this start only. */
  readonly folder = freshFolder('oom-witness-docker');
  readonly #ownCgroup = `/oom-witness-test-${process.pid}-docker-${started++}`;
  readonly #environment: Readonly<Record<string, string>>;
  #containerd: RunningServer | undefined;
  #dockerd: RunningServer | undefined;

  readonly #data: string;
  /** Where its Engine API answers. */
  readonly socket: string;

  private constructor(root: string, { data, socket }: DockerOptions) {
    this.#data = data ?? this.#at('data');
    this.socket = socket ?? this.#at('docker.sock');
    // The name by which Docker's own containers are known, where nobody has asked for other cgroups.
    this.cgroup = `${this.#ownCgroup}/docker`;
    this.#environment = {
      PATH:
        ['usr/sbin', 'usr/bin'].map((folder) => `${path.join(root, folder)}:`).join('') + process.env.PATH,
      LD_LIBRARY_PATH: libraryPath(root),
      DOCKER_HOST: `unix://${this.socket}`,
      DOCKER_CONFIG: this.#at('client'),
      // The default since Docker 23.
      DOCKER_BUILDKIT: '1',
    };
  }

  /** @param root of `dockerPackages` */
  static async start(root: string, options: DockerOptions = {}): Promise<Docker> {
    const docker = new Docker(root, options);
    try {
      await docker.#startContainerd();
      await docker.#startDockerd();
      return docker;
    } catch (error) {
      await docker[Symbol.asyncDispose]();
      throw error;
    }
  }

  /**
   * Runs `docker ARGS...`.
   *
   * @returns what it printed, without the last newline
   * @throws with what it printed on stderr
   */
  command(...args: readonly string[]): Promise<string> {
    return this.#run(args, PATIENCE_MS);
  }

  /**
   * `docker build` by BuildKit, its steps in the machine's network.
   *
   * @throws with what the failed step printed
   */
  async build(name: string, folder: string, ...options: readonly string[]): Promise<void> {
    await this.#run(['build', '--quiet', '--network=host', '--tag', name, ...options, folder], BUILD_MS);
  }

  /** Runs `ctr ARGS...`, containerd's own client, on the containerd that Docker uses. */
  async ctr(...args: readonly string[]): Promise<string> {
    const options = { env: this.#environment, timeout: PATIENCE_MS, maxBuffer: OUTPUT_LIMIT };
    // Where containerd's own folder below /run is.
    const enter = [
      `--mount=/proc/${this.#containerd?.pid}/ns/mnt`,
      'ctr',
      '--address',
      this.containerdSocket,
    ];
    const { stdout } = await run('nsenter', [...enter, ...args], options);
    return stdout.trimEnd();
  }

  /** What `ctr run` needs beside its own, where the machine withholds capabilities. */
  readonly ctrRunOptions: readonly string[] = mayRaiseResources() ? [] : ['--runc-binary', SANDBOX_RUNC];

  /** containerd alone, at once; what runs on it stays. */
  async killContainerd(): Promise<void> {
    await this.#containerd?.kill9();
  }

  /** In the mount namespace of dockerd, which is the one where the shims' sockets are. */
  async startContainerdAgain(): Promise<void> {
    const mount = `--mount=/proc/${this.#dockerd?.pid}/ns/mnt`;
    await this.#runContainerd('nsenter', mount, 'containerd', '--config', this.#at('containerd.toml'));
    // By itself it looks for containerd with pauses that grow, and refuses containers until then.
    await this.stopDaemon();
    await this.startDaemon();
  }

  /** `docker inspect`, as far as a test asks for it. */
  async inspect(container: string): Promise<ContainerState> {
    const text = await this.command('inspect', '--format', '{{json .State}}', container);
    return JSON.parse(text);
  }

  /** The names of what has happened to a container until now, in order: create, start, oom, die ... */
  async events(container: string): Promise<string[]> {
    const now = (Date.now() / 1000).toFixed(3);
    const range = ['--since', '0', '--until', now, '--filter', `container=${container}`];
    return (await this.command('events', ...range, '--format', '{{.Status}}')).split('\n');
  }

  /** `docker import`: an image of one layer, the files below `folder`. */
  async importImage(name: string, folder: string): Promise<void> {
    const archive = this.#at(`${name}.tar`);
    await run('tar', ['-C', folder, '-cf', archive, '.']);
    await this.command('import', archive, name);
    rmSync(archive);
  }

  /** `docker ARGS...` for somebody else to run, with the environment that it needs. */
  commandLine(...args: readonly string[]): readonly string[] {
    const variables = Object.entries(this.#environment).map(([name, value]) => `${name}=${value}`);
    return ['env', ...variables, 'docker', ...args];
  }

  /** Where a volume's files are. */
  volume(name: string): string {
    return path.join(this.#data, 'volumes', name, '_data');
  }

  /** Where containerd, which it runs its containers with, answers. */
  get containerdSocket(): string {
    return this.#at('containerd.sock');
  }

  /** dockerd alone, in order; containerd and what runs on it stay. */
  async stopDaemon(): Promise<void> {
    await this.#dockerd?.stop();
  }

  async startDaemon(): Promise<void> {
    await this.#startDockerd();
  }

  /** Stops every thread of dockerd where it stands: it answers nothing, its socket still takes connections. */
  async freezeDaemon(): Promise<{ thaw(): void }> {
    await this.#dockerd!.freeze();
    return { thaw: () => this.#dockerd!.thaw() };
  }

  /** Ends the containers and itself; removes its cgroups and all that it kept. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#dockerd !== undefined) await this.#removeContainers();
    const namespace = mountNamespace(this.#containerd?.pid);
    await this.#dockerd?.stop();
    await this.#endLeftovers(namespace);
    await this.#containerd?.stop();
    for (const mount of cgroupMounts()) removeCgroup(path.join(mount, this.#ownCgroup));
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }

  async #run(args: readonly string[], timeout: number): Promise<string> {
    const { stdout } = await run('docker', args, {
      env: this.#environment,
      timeout,
      maxBuffer: OUTPUT_LIMIT,
    });
    return stdout.trimEnd();
  }

  async #startContainerd(): Promise<void> {
    const configuration = this.#at('containerd.toml');
    await writeFile(
      configuration,
      `version = 2
root = "${this.#at('containerd')}"
state = "${this.#at('containerd-state')}"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "${this.#at('containerd.sock')}"
`,
    );
    const script = 'mount -t tmpfs tmpfs /run && exec containerd --config "$0"';
    await this.#runContainerd('unshare', '--mount', 'sh', '-c', script, configuration);
  }

  async #runContainerd(command: string, ...args: readonly string[]): Promise<void> {
    this.#containerd = await startServer({
      command,
      args,
      env: this.#environment,
      ready: (line) => line.includes('containerd successfully booted'),
    });
  }

  async #startDockerd(): Promise<void> {
    const configuration = this.#at('dockerd.json');
    // Else it would read the machine's.
    await writeFile(configuration, '{ "live-restore": true }');
    mkdirSync(this.#at('client'), { recursive: true });
    this.#dockerd = await startServer({
      command: 'nsenter',
      args: [
        ...[`--mount=/proc/${this.#containerd?.pid}/ns/mnt`, 'dockerd', '--config-file', configuration],
        ...['--data-root', this.#data, '--exec-root', this.#at('run')],
        ...['--pidfile', this.#at('dockerd.pid'), '--host', `unix://${this.socket}`],
        ...['--containerd', this.#at('containerd.sock')],
        ...['--exec-opt', 'native.cgroupdriver=cgroupfs', '--cgroup-parent', this.cgroup],
        ...[
          '--bridge=none',
          '--iptables=false',
          '--ip6tables=false',
          '--ip-forward=false',
          '--ip-masq=false',
        ],
        // Its default is below 0, which needs CAP_SYS_RESOURCE.
        ...['--oom-score-adjust', '0'],
        ...(mayRaiseResources()
          ? []
          : ['--add-runtime', `sandbox=${SANDBOX_RUNC}`, '--default-runtime', 'sandbox']),
      ],
      env: this.#environment,
      ready: (line) => line.includes('API listen on'),
    });
  }

  async #removeContainers(): Promise<void> {
    const containers = await this.command('ps', '--all', '--quiet').catch(() => '');
    if (containers !== '')
      await this.command('rm', '--force', '--volumes', ...containers.split('\n')).catch(() => '');
  }

  /** Shims and containers that Docker has not ended: they outlive both daemons. */
  async #endLeftovers(namespace: string | undefined): Promise<void> {
    const spared = this.#containerd?.pid;
    const left = () => {
      const inNamespace = pids().filter(
        (pid) => namespace !== undefined && mountNamespace(pid) === namespace,
      );
      const inCgroups = cgroupMounts().flatMap((mount) => processesBelow(path.join(mount, this.#ownCgroup)));
      return [...inNamespace, ...inCgroups].filter((pid) => pid !== spared);
    };
    const deadline = performance.now() + PATIENCE_MS;
    for (let found = left(); found.length > 0 && performance.now() < deadline; found = left()) {
      for (const pid of found)
        try {
          process.kill(pid, 'SIGKILL');
        } catch {
          // It has ended in the meantime.
        }
      await sleep(20);
    }
  }

  #at(name: string): string {
    return path.join(this.folder, name);
  }
}

export interface ContainerState {
  readonly Running: boolean;
  readonly OOMKilled: boolean;
  readonly ExitCode: number;
  readonly Pid: number;
}

function pids(): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => pid > 0);
}

function mountNamespace(pid: number | undefined): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/mnt`);
  } catch {
    return undefined;
  }
}
