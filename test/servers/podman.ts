/** A real podman from Debian's packages, with a storage of its own; it has no daemon. */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { whyNoKills } from '../kills/kills.ts';
import { libraryPath, unpackPackages } from './apt.ts';

const run = promisify(execFile);
const COMMAND_MS = 60_000;

const PACKAGES = [
  ...['podman', 'conmon', 'golang-github-containers-common', 'runc', 'libseccomp2'],
  ...['libgpgme11', 'libassuan0', 'libdevmapper1.02.1', 'libsubid4', 'libyajl2'],
];

/** The root folder of the packages, or why podman cannot run here: the reason that a skipped test gives. */
export async function podmanPackages(): Promise<{ readonly root: string } | { readonly missing: string }> {
  const missing = whyNoKills();
  return missing === undefined ? unpackPackages('podman', PACKAGES) : { missing };
}

export class Podman {
  /** As the root folder of a machine: the storage is where podman has it. */
  readonly root = mkdtempSync(path.join(tmpdir(), 'oom-witness-podman-'));
  readonly cgroup = `/oom-witness-test-${process.pid}-podman`;
  readonly #options: readonly string[];
  readonly #environment: Readonly<Record<string, string>>;

  /** @param packages the root folder of `podmanPackages` */
  constructor(packages: string) {
    const at = (name: string) => path.join(this.root, name);
    const home = at('home');
    mkdirSync(path.join(home, '.config/containers'), { recursive: true });
    const policy = '{ "default": [{ "type": "insecureAcceptAnything" }] }';
    writeFileSync(path.join(home, '.config/containers/policy.json'), policy);
    const storage = at('var/lib/containers/storage');
    writeFileSync(
      at('storage.conf'),
      `[storage]\ndriver="vfs"\ngraphroot="${storage}"\nrunroot="${at('run')}"\n`,
    );
    this.#options = [
      ...['--root', storage, '--runroot', at('run'), '--tmpdir', at('tmp'), '--storage-driver', 'vfs'],
      ...['--cgroup-manager', 'cgroupfs', '--events-backend', 'file'],
      ...[
        '--conmon',
        path.join(packages, 'usr/bin/conmon'),
        '--runtime',
        path.join(packages, 'usr/sbin/runc'),
      ],
    ];
    this.#environment = {
      PATH: `${path.join(packages, 'usr/bin')}:${process.env.PATH}`,
      LD_LIBRARY_PATH: libraryPath(packages),
      HOME: home,
      XDG_CONFIG_HOME: path.join(home, '.config'),
      CONTAINERS_STORAGE_CONF: at('storage.conf'),
    };
  }

  /** @returns what it printed, without the last newline */
  async command(...args: readonly string[]): Promise<string> {
    // Where it stands, conmon leaves a file called `oom` after a kill.
    const options = { env: this.#environment, cwd: this.root, timeout: COMMAND_MS };
    const { stdout } = await run('podman', [...this.#options, ...args], options);
    return stdout.trimEnd();
  }

  /** A container in the background; what its limits on itself are does not matter here, and some machines allow few. */
  run(...args: readonly string[]): Promise<string> {
    const limits = ['--ulimit', 'nofile=1024:1024', '--ulimit', 'nproc=1000:1000'];
    return this.command(
      'run',
      '--detach',
      '--network=none',
      '--cgroup-parent',
      this.cgroup,
      ...limits,
      ...args,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.command('rm', '--force', '--all').catch(() => '');
    const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .filter((line) => / - cgroup2? /.test(line));
    for (const mount of mounts) removeTree(path.join(mount.split(' ')[4] as string, this.cgroup));
    rmSync(this.root, { recursive: true, force: true, maxRetries: 5 });
  }
}

function removeTree(cgroup: string): void {
  try {
    const below = readdirSync(cgroup, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    for (const { name } of below) removeTree(path.join(cgroup, name));
    rmdirSync(cgroup);
  } catch {
    // This hierarchy never had it.
  }
}
