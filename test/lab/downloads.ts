/**
 * What the laboratory needs and the machine lacks, each by its package's name, unpacked into the tests' cache: QEMU,
 * busybox, kernels of Debian's releases and, for guests of another architecture, a compiler and Node.js. Nothing is installed.
 */
import { execFile } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { FIND_MIRROR, unpackPackages } from '../servers/apt.ts';
import { cacheFolder } from '../servers/cache.ts';
import type { Architecture, Kernel } from './architectures.ts';

const ROOT = join(import.meta.dirname, '../..');
const run = promisify(execFile);

/** What QEMU 7.2 of bookworm needs, with the libraries that a machine without a screen lacks. */
const EMULATOR = [
  'ipxe-qemu',
  'libaio1',
  'libbrlapi0.8',
  'libcacard0',
  'libcapstone4',
  'libdaxctl1',
  'libepoxy0',
  'libexecs0',
  'libfdt1',
  'libfuse3-3',
  'libgstreamer-plugins-base1.0-0',
  'libibverbs1',
  'libndctl6',
  'libnl-3-200',
  'libnl-route-3-200',
  'libopus0',
  'liborc-0.4-0',
  'libpmem1',
  'librdmacm1',
  'libslirp0',
  'libsndio7.0',
  'libspice-server1',
  'liburing2',
  'libusb-1.0-0',
  'libusbredirparser1',
  'libvdeplug2',
  'qemu-system-common',
  'qemu-system-data',
];

/** A compiler for another architecture, and what it links. */
function crossCompiler({ debian, gnu }: Architecture): string[] {
  const target = `${gnu.replace('_', '-')}-linux-gnu`;
  return [
    ...[`binutils-${target}`, `cpp-12-${target}`, `gcc-${target}`, `gcc-12-${target}`, 'gcc-12-cross-base'],
    ...[`libc6-dev-${debian}-cross`, `libgcc-12-dev-${debian}-cross`, `linux-libc-dev-${debian}-cross`],
  ];
}

/** Where QEMU 7.2 and the compilers are from, and what the guest has beside its kernel. */
const RELEASE = 'bookworm';
const GUEST = ['busybox-static', 'libatomic1', 'libc6', 'libgcc-s1', 'libstdc++6'];

// The metapackage names the newest kernel of the release; since Debian 14 its image is in a package of its own. Sources,
// lists and cache are our own: the machine's apt configuration is neither used nor changed.
const UNPACK_KERNEL = `
folder=$1 suite=$2 metapackage=$3 architecture=$4
test -d "$folder" && exit 0
rm -rf "$folder.part" && mkdir -p "$folder.part/apt/parts" "$folder.part/apt/lists/partial" "$folder.part/debs" || exit 1
cd "$folder.part/apt" || exit 1
${FIND_MIRROR}
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" > sources.list
set -- -q -o Dir::Etc::SourceList="$PWD/sources.list" -o Dir::Etc::SourceParts="$PWD/parts" \
  -o Dir::State::Lists="$PWD/lists" -o Dir::Cache="$PWD/cache" \
  -o APT::Architecture="$architecture" -o APT::Architectures="$architecture"
apt-get "$@" update >/dev/null || exit 1
depends() { apt-cache "$@" | sed -n 's/^ *Depends: \\(linux-\\(image\\|binary\\)-[0-9].*\\)/\\1/p'; }
image=$(depends "$@" depends "$metapackage" | head -1)
test -n "$image" || { echo "no kernel in $suite" >&2; exit 1; }
cd ../debs
apt-get "$@" download $image $(depends "$@" depends "$image") >/dev/null || exit 1
for deb in *.deb; do
  dpkg-deb --fsys-tarfile "$deb" | tar -x -C .. --wildcards --transform 's,.*/vmlinuz.*,vmlinuz,' '*/vmlinuz*' 2>/dev/null
done
cd .. && rm -rf apt debs && test -s vmlinuz && mv "$folder.part" "$folder"`;

/** @returns the root folder with the files of the programs that run here */
export function unpackTools(architecture: Architecture): Promise<string> {
  const compiler = architecture.node === process.arch ? [] : crossCompiler(architecture);
  return unpacked('lab', [...EMULATOR, ...architecture.emulator, ...compiler]);
}

/** @returns the root folder with what Debian has for the guest */
export function unpackGuest({ debian }: Architecture): Promise<string> {
  return unpacked('lab-guest', GUEST, RELEASE, debian);
}

/** @returns the path of the kernel's image */
export async function unpackKernel({ debian, kernels }: Architecture, name: string): Promise<string> {
  const { suite, metapackage } = kernels[name] as Kernel;
  const cache = join(cacheFolder(), 'kernels');
  const folder = join(cache, `${debian}-${name}`);
  if (!existsSync(folder)) {
    mkdirSync(cache, { recursive: true });
    await run('sh', ['-c', UNPACK_KERNEL, 'sh', folder, suite, metapackage, debian]);
  }
  return join(folder, 'vmlinuz');
}

/** @returns the path of the Node.js that the lock file pins for this architecture */
export async function installNode({ node }: Architecture): Promise<string> {
  if (node === process.arch) return process.execPath;
  const name = `node_modules/node-linux-${node}`;
  const { packages } = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8'));
  const folder = join(cacheFolder(), `node-${node}-${packages[name].version}`);
  if (!existsSync(folder)) {
    const part = `${folder}.${process.pid}`;
    mkdirSync(part, { recursive: true });
    for (const file of ['package.json', 'package-lock.json', '.npmrc'])
      copyFileSync(join(ROOT, file), join(part, file));
    await run('npm', ['ci', '--omit=dev', '--cpu', node], { cwd: part });
    renameSync(join(part, name), folder);
    rmSync(part, { recursive: true });
  }
  return join(folder, 'bin/node');
}

async function unpacked(...what: Parameters<typeof unpackPackages>): Promise<string> {
  const packages = await unpackPackages(...what);
  if ('missing' in packages) throw new Error(packages.missing);
  return packages.root;
}
