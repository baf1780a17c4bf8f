/**
 * The disk of node-b, made once: Debian with systemd, cgroup v2 and containerd, and our Kubernetes; and the kernel and
 * the first files that it boots with. Without what differs from cluster to cluster.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { CpioWriter } from '../lab/cpio.ts';
import { FIND_MIRROR, unpackPackages } from '../servers/apt.ts';
import { cacheFolder } from '../servers/cache.ts';
import type { Parts } from './parts.ts';

const SUITE = 'trixie';
const PACKAGES = [
  ...['systemd-sysv', 'dbus', 'kmod', 'iproute2', 'procps', 'linux-image-cloud-amd64'],
  ...['containerd', 'runc', 'containernetworking-plugins'],
];
/** Sparse. */
const DISK_SIZE = '4G';
const LIMIT_SECONDS = 1200;

/** What the kernel needs to mount the disk, in the order of their dependencies; those that it has built in are not found. */
const MODULES = [
  ...['virtio', 'virtio_ring', 'virtio_pci_legacy_dev', 'virtio_pci_modern_dev', 'virtio_pci', 'virtio_blk'],
  ...['crc16', 'crc32c_generic', 'libcrc32c', 'mbcache', 'jbd2', 'ext4'],
];

// /node holds what the cluster has added: it goes over the disk's files.
const INIT = `#!/bin/busybox sh
busybox() { /bin/busybox "$@"; }
busybox mount -t devtmpfs none /dev
for module in $(busybox ls /modules); do busybox insmod /modules/$module; done
until [ -b /dev/vda ]; do busybox sleep 0.1; done
busybox mount -t ext4 /dev/vda /disk
busybox cp -a /node/. /disk/
busybox umount /dev
exec /bin/busybox switch_root /disk /sbin/init
`;

// One at a time; the folder appears under its name only when it is complete.
const MAKE = `
folder=$1 debootstrap=$2 program=$3 packages=$4
test -d "$folder" && exit 0
rm -rf "$folder.part" && mkdir -p "$folder.part" || exit 1
root=$folder.part/root
${FIND_MIRROR}
DEBOOTSTRAP_DIR="$debootstrap/usr/share/debootstrap" timeout ${LIMIT_SECONDS} \\
  "$debootstrap/usr/sbin/debootstrap" --variant=minbase --include="$packages" ${SUITE} "$root" "$mirror" >"$folder.log" 2>&1 ||
  { tail -n 20 "$folder.log" >&2; exit 1; }
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/usr/share/doc "$root"/usr/share/locale
install -m 755 "$program" "$root/usr/local/bin/kube1" || exit 1
mkdir "$folder.part/modules" && cp "$root"/boot/vmlinuz-* "$folder.part/vmlinuz" || exit 1
number=10
for module in ${MODULES.join(' ')}; do
  file=$(find "$root/usr/lib/modules" -name "$module.ko*" | head -n 1)
  case $file in
    '') continue ;;
    *.xz) xz -dc "$file" >"$folder.part/modules/$number-$module.ko" || exit 1 ;;
    *.zst) zstd -dcq "$file" >"$folder.part/modules/$number-$module.ko" || exit 1 ;;
    *) cp "$file" "$folder.part/modules/$number-$module.ko" || exit 1 ;;
  esac
  number=$((number + 1))
done
mke2fs -q -t ext4 -O ^has_journal -E lazy_itable_init=1 -d "$root" "$folder.part/disk" ${DISK_SIZE} || exit 1
rm -rf "$root" "$folder.log" && mv "$folder.part" "$folder"`;

export interface GuestDisk {
  readonly disk: string;
  readonly kernel: string;
  /** Writes the archive that it boots into, without /node. */
  writeInitramfs(file: string): Promise<void>;
}

/** @throws with the reason when it cannot be made */
export async function guestDisk(parts: Parts, say: (line: string) => void): Promise<GuestDisk> {
  const key = createHash('sha256').update(`${parts.kube1} ${MAKE} ${PACKAGES}`).digest('hex').slice(0, 12);
  const cache = path.join(cacheFolder(), 'kubernetes');
  const folder = path.join(cache, `node-b-${key}`);
  const disk: GuestDisk = {
    disk: path.join(folder, 'disk'),
    kernel: path.join(folder, 'vmlinuz'),
    writeInitramfs: (file) => writeInitramfs(parts, path.join(folder, 'modules'), file),
  };
  if (existsSync(folder)) return disk;

  const unpacked = await unpackPackages('debootstrap', ['debootstrap']);
  if ('missing' in unpacked) throw new Error(unpacked.missing);
  await mkdir(cache, { recursive: true });
  say('making the disk of node-b (once; 1 to 3 minutes)');
  try {
    const args = [folder, unpacked.root, parts.kube1, PACKAGES.join(',')];
    await promisify(execFile)('flock', [path.join(cache, 'lock'), 'sh', '-c', MAKE, 'sh', ...args]);
  } catch (error) {
    const said = (error as { stderr?: string }).stderr?.trim() || String(error);
    throw new Error(`the disk of node-b cannot be made (it needs wget, xz-utils and e2fsprogs): ${said}`);
  }
  return disk;
}

async function writeInitramfs(parts: Parts, modules: string, file: string): Promise<void> {
  const cpio = new CpioWriter(file);
  for (const folder of ['dev', 'disk', 'node']) cpio.folder(folder);
  cpio.file('/bin/busybox', await readFile(path.join(parts.debian, 'bin/busybox')));
  for (const name of (await readdir(modules)).sort())
    cpio.file(`/modules/${name}`, await readFile(path.join(modules, name)));
  cpio.file('/init', INIT);
  cpio.close();
}
