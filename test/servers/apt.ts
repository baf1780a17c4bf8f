/** Servers that Debian packages: unpacked into a cache outside the checkout, never installed. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { cacheFolder } from './cache.ts';

const LIMIT_SECONDS = 300;

/** A line of shell that sets `mirror` to where the machine's own sources have Debian from. */
export const FIND_MIRROR =
  "mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -v security | head -n 1)";

// One at a time: two test files may want the same folder. The kernel ends the lock with its owner. The folder appears
// under its name only when it is complete. The package lists of a fresh machine are empty, so a failure asks for them.
// Another release has sources and lists of its own: the machine's are neither used nor changed.
const UNPACK = `
folder=$1 release=$2 architecture=$3; shift 3
test -d "$folder" && exit 0
rm -rf "$folder.part" && mkdir -p "$folder.part/debs" && cd "$folder.part/debs"
if [ -n "$release" ]; then
  ${FIND_MIRROR}
  mkdir -p apt/parts apt/lists/partial apt/cache
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $release main" >apt/sources.list
  printf 'Dir::%s "%s";\\n' Etc::SourceList "$PWD/apt/sources.list" Etc::SourceParts "$PWD/apt/parts" \\
    State::Lists "$PWD/apt/lists" Cache "$PWD/apt/cache" >apt/apt.conf
  [ -z "$architecture" ] ||
    printf 'APT::%s "%s";\\n' Architecture "$architecture" Architectures "$architecture" >>apt/apt.conf
  export APT_CONFIG="$PWD/apt/apt.conf"
fi
timeout ${LIMIT_SECONDS} apt-get download "$@" >/dev/null 2>&1 ||
  { apt-get update >/dev/null 2>&1; timeout ${LIMIT_SECONDS} apt-get download "$@" >/dev/null || exit 1; }
for deb in *.deb; do dpkg-deb -x "$deb" "$folder.part" || exit 1; done
rm -rf "$folder.part/debs" && mv "$folder.part" "$folder"`;

/** The root folder with the packages' files, or why there is none: the reason that a skipped test gives. */
export type UnpackedPackages = { readonly root: string } | { readonly missing: string };

/**
 * @param packages every package that the machine may lack, libraries too: dependencies are not followed
 * @param release Debian's, by name; default: what the machine's own sources have
 * @param architecture Debian's, by name, of the release's packages; default: the machine's own
 */
export async function unpackPackages(
  name: string,
  packages: readonly string[],
  release = '',
  architecture = '',
): Promise<UnpackedPackages> {
  const cache = cacheFolder();
  const hash = createHash('sha256')
    .update(packages.join('\n'))
    .update(release + architecture)
    .digest('hex');
  const root = join(cache, 'apt', `${name}-${hash.slice(0, 12)}`);
  if (existsSync(root)) return { root };
  await mkdir(join(cache, 'apt'), { recursive: true });
  try {
    await promisify(execFile)('flock', [
      join(cache, 'apt', 'lock'),
      'sh',
      '-c',
      UNPACK,
      'sh',
      root,
      release,
      architecture,
      ...packages,
    ]);
    return { root };
  } catch (error) {
    const said = (error as { stderr?: string }).stderr?.trim().split('\n').at(-1);
    return { missing: `apt-get cannot download ${name}: ${said || (error as Error).message}` };
  }
}

/** LD_LIBRARY_PATH of programs below `root`. */
export function libraryPath(root: string, ...more: readonly string[]): string {
  const { arch } = process;
  const triplet = arch === 'arm64' ? 'aarch64-linux-gnu' : arch === 'x64' ? 'x86_64-linux-gnu' : arch;
  return [`usr/lib/${triplet}`, `lib/${triplet}`, ...more].map((folder) => join(root, folder)).join(':');
}
