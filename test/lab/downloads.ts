/**
 * What the laboratory needs and the machine lacks, each by its Debian package name, unpacked into the tests' cache: QEMU,
 * busybox, and the kernels of four Debian releases. Nothing is installed.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { FIND_MIRROR, unpackPackages } from '../servers/apt.ts';
import { cacheFolder } from '../servers/cache.ts';

/**
 * The kernels that the cloud images of Debian's releases boot, and on how many processors: 5.10 and 6.1 hang while they
 * start a second one in a guest whose clock counts instructions (QEMU 7.2).
 */
export const KERNELS = {
  '5.10': { suite: 'bullseye', processors: 1 },
  '6.1': { suite: 'bookworm', processors: 1 },
  '6.12': { suite: 'trixie', processors: 2 },
  '7.2': { suite: 'sid', processors: 2 },
} as const;
export type KernelName = keyof typeof KERNELS;

/** QEMU 7.2 of bookworm with the libraries that a machine without a screen lacks, and busybox. */
const TOOLS = [
  'busybox-static',
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
  'qemu-system-x86',
  'seabios',
];

// The metapackage names the newest kernel of the release; since Debian 14 its image is in a package of its own. Sources,
// lists and cache are our own: the machine's apt configuration is neither used nor changed.
const UNPACK_KERNEL = `
folder=$1 suite=$2
test -d "$folder" && exit 0
rm -rf "$folder.part" && mkdir -p "$folder.part/apt/parts" "$folder.part/apt/lists/partial" "$folder.part/debs" || exit 1
cd "$folder.part/apt" || exit 1
${FIND_MIRROR}
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" > sources.list
set -- -q -o Dir::Etc::SourceList="$PWD/sources.list" -o Dir::Etc::SourceParts="$PWD/parts" \
  -o Dir::State::Lists="$PWD/lists" -o Dir::Cache="$PWD/cache" -o APT::Architecture=amd64
apt-get "$@" update >/dev/null || exit 1
depends() { apt-cache "$@" | sed -n 's/^ *Depends: \\(linux-\\(image\\|binary\\)-[0-9].*\\)/\\1/p'; }
image=$(depends "$@" depends linux-image-cloud-amd64 | head -1)
test -n "$image" || { echo "no kernel in $suite" >&2; exit 1; }
cd ../debs
apt-get "$@" download $image $(depends "$@" depends "$image") >/dev/null || exit 1
for deb in *.deb; do
  dpkg-deb --fsys-tarfile "$deb" | tar -x -C .. --wildcards --transform 's,.*/vmlinuz.*,vmlinuz,' '*/vmlinuz*' 2>/dev/null
done
cd .. && rm -rf apt debs && test -s vmlinuz && mv "$folder.part" "$folder"`;

/** @returns the root folder with the tools' files */
export async function unpackTools(): Promise<string> {
  const unpacked = await unpackPackages('lab', TOOLS);
  if ('missing' in unpacked) throw new Error(unpacked.missing);
  return unpacked.root;
}

/** @returns the path of the kernel's image (bzImage) */
export async function unpackKernel(kernel: KernelName): Promise<string> {
  const cache = join(cacheFolder(), 'kernels');
  const folder = join(cache, kernel);
  if (!existsSync(folder)) {
    await mkdir(cache, { recursive: true });
    await promisify(execFile)('sh', ['-c', UNPACK_KERNEL, 'sh', folder, KERNELS[kernel].suite]);
  }
  return join(folder, 'vmlinuz');
}
