/** A real podman from packages of Debian, the machine's release or another, with a storage of its own; it has no daemon. */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { whyNoKills } from '../kills/kills.ts';
import { PATIENCE_MS } from '../patience.ts';
import { freshFolder } from '../temporary-folder.ts';
import { libraryPath, type UnpackedPackages, unpackPackages } from './apt.ts';

const run = promisify(execFile);

const PACKAGES = [
  ...['podman', 'conmon', 'golang-github-containers-common', 'runc', 'libseccomp2'],
  ...['libgpgme11', 'libassuan0', 'libdevmapper1.02.1', 'libsubid4', 'libyajl2'],
];

/** With the C library of that release: the machine's may be older. */
const PACKAGES_5 = [
  ...['podman', 'conmon', 'golang-github-containers-common', 'netavark', 'runc', 'libseccomp2', 'libc6'],
  ...['libgpgme11t64', 'libassuan9', 'libgpg-error0', 'libsubid5', 'libsqlite3-0', 'libsystemd0', 'libcap2'],
  ...['libglib2.0-0t64', 'libpcre2-8-0', 'libgcc-s1', 'libselinux1', 'libaudit1', 'libcap-ng0', 'libacl1'],
  ...['libattr1', 'libbsd0', 'libmd0', 'libcrypt1'],
];

/** The root folder of the packages, or why podman cannot run here: the reason that a skipped test gives. */
export async function podmanPackages(): Promise<UnpackedPackages> {
  const missing = whyNoKills();
  return missing === undefined ? unpackPackages('podman', PACKAGES) : { missing };
}

/** The same of podman 5, which keeps what it knows in SQLite. */
export async function podman5Packages(): Promise<UnpackedPackages> {
  const missing = whyNoKills();
  return missing === undefined ? unpackPackages('podman-5', PACKAGES_5, 'trixie') : { missing };
}

export class Podman {
  /** As the root folder of a machine: the storage is where podman has it. */
  readonly root = freshFolder('oom-witness-podman');
  readonly cgroup = `/oom-witness-test-${process.pid}-podman`;
  readonly #podman: string;
  readonly #options: readonly string[];
  readonly #environment: Readonly<Record<string, string>>;

  /** @param packages the root folder of `podmanPackages` or `podman5Packages` */
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
    const settings = at('containers.conf');
    const helpers = path.join(packages, 'usr/lib/podman');
    writeFileSync(settings, `[engine]\nhelper_binaries_dir = ["${helpers}"]\n`);
    const program = (name: string) => runnable(packages, name, this.root);
    this.#podman = program('podman');
    this.#options = [
      ...['--root', storage, '--runroot', at('run'), '--tmpdir', at('tmp'), '--storage-driver', 'vfs'],
      ...['--cgroup-manager', 'cgroupfs', '--events-backend', 'file'],
      ...['--conmon', program('conmon'), '--runtime', program('runc')],
    ];
    this.#environment = {
      PATH: `${path.join(packages, 'usr/bin')}:${process.env.PATH}`,
      ...(loaderIn(packages) === undefined && { LD_LIBRARY_PATH: libraryPath(packages) }),
      HOME: home,
      XDG_CONFIG_HOME: path.join(home, '.config'),
      CONTAINERS_CONF: settings,
      CONTAINERS_STORAGE_CONF: at('storage.conf'),
    };
  }

  /** @returns what it printed, without the last newline */
  async command(...args: readonly string[]): Promise<string> {
    // Where it stands, conmon leaves a file called `oom` after a kill.
    const options = { env: this.#environment, cwd: this.root, timeout: PATIENCE_MS };
    const { stdout } = await run(this.#podman, [...this.#options, ...args], options);
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

/** The dynamic loader that came with the packages. */
function loaderIn(packages: string): string | undefined {
  const folders = ['usr/lib64', 'usr/lib'].map((name) => path.join(packages, name));
  return folders
    .filter((folder) => existsSync(folder))
    .flatMap((folder) => readdirSync(folder).map((name) => path.join(folder, name)))
    .find((file) => path.basename(file).startsWith('ld-linux-'));
}

/** @returns the program itself, or a script in `folder` that starts it with the loader and libraries of its release */
function runnable(packages: string, name: string, folder: string): string {
  const files = ['usr/bin', 'usr/sbin'].map((bin) => path.join(packages, bin, name));
  const file = files.find((each) => existsSync(each)) ?? name;
  const loader = loaderIn(packages);
  if (loader === undefined) return file;
  const script = path.join(folder, name);
  const text = `#!/bin/sh\nexec '${loader}' --library-path '${libraryPath(packages)}' '${file}' "$@"\n`;
  writeFileSync(script, text, { mode: 0o755 });
  return script;
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
