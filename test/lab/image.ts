/**
 * What the guest boots into: busybox, Node.js with its libraries, the agent's bundle, the victims and the guest's own
 * program. In two archives, because the first one (130 MB) is always the same.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, renameSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { build } from 'esbuild';
import { libraryPath } from '../servers/apt.ts';
import { cacheFolder } from '../servers/cache.ts';
import type { Architecture } from './architectures.ts';
import { CpioWriter } from './cpio.ts';

const ROOT = join(import.meta.dirname, '../..');

// `$?` of the guest's program is told on the console; the evidence is complete when gzip can read it whole.
const INIT = `#!/busybox sh
/busybox mkdir -p /bin /proc /sys /dev /tmp /cgroup
/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t cgroup2 cgroup2 /sys/fs/cgroup
stty -F /dev/$RESULTS raw -echo
node --disable-warning=ExperimentalWarning /lab/guest.js $SCENARIO >/dev/console 2>&1
echo "guest program: $?" >/dev/console
gzip -c /tmp/evidence.json >/dev/$RESULTS
reboot -f
`;

/**
 * @param tools where the compiler for another architecture is
 * @param root where the guest's busybox and libraries are
 * @returns the path of the archive that never changes, made once for each Node.js
 */
export function baseImage(architecture: Architecture, tools: string, root: string, node: string): string {
  const { size, mtimeMs } = statSync(node);
  const key = createHash('sha256')
    .update(`${root} ${node} ${size} ${mtimeMs} ${INIT}`)
    .digest('hex')
    .slice(0, 12);
  const path = join(cacheFolder(), `lab-base-${key}.cpio`);
  if (existsSync(path)) return path;
  mkdirSync(cacheFolder(), { recursive: true });
  const stripped = `${path}.node`;
  buildTool(architecture, tools, 'strip', ['-o', stripped, node]);
  const cpio = new CpioWriter(`${path}.part`);
  for (const [path, library] of librariesOf(node, root, architecture)) cpio.copy(library, path);
  cpio.copy(stripped, '/bin/node');
  cpio.copy(join(root, 'bin/busybox'), '/busybox');
  cpio.file('/init', INIT);
  cpio.close();
  execFileSync('rm', [stripped]);
  renameSync(`${path}.part`, path);
  return path;
}

/** Writes the archive with what is under test: the bundle, the victims, the guest's program. */
export async function testImage(architecture: Architecture, tools: string, path: string): Promise<void> {
  execFileSync(process.execPath, [join(ROOT, 'build.ts')], { stdio: 'inherit' });
  const cpio = new CpioWriter(path);
  cpio.file('/lab/package.json', '{"type":"module"}');
  for (const file of filesBelow(join(ROOT, 'dist')))
    if (file.endsWith('.js')) cpio.copy(join(ROOT, 'dist', file), `/lab/dist/${file}`);
  const { outputFiles } = await build({
    entryPoints: [join(import.meta.dirname, 'guest.ts')],
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'node',
  });
  cpio.file('/lab/guest.js', Buffer.from(outputFiles[0]?.contents ?? []));
  for (const source of [join(ROOT, 'test/kills/victim.c'), join(import.meta.dirname, 'named.c')]) {
    const program = `${path}.program`;
    buildTool(architecture, tools, 'gcc', ['-O1', '-static', '-pthread', '-o', program, source]);
    cpio.copy(program, `/lab/${source.replace(/.*\/(.*)\.c$/, '$1')}`);
    execFileSync('rm', [program]);
  }
  cpio.close();
}

/** The machine's own compiler and what belongs to it, or that for another architecture. */
function buildTool({ node, gnu }: Architecture, tools: string, name: string, args: readonly string[]): void {
  if (node === process.arch) execFileSync(name, args);
  else
    execFileSync(join(tools, `usr/bin/${gnu}-linux-gnu-${name}`), args, {
      env: { ...process.env, LD_LIBRARY_PATH: libraryPath(tools) },
    });
}

/**
 * Node.js names all that it loads, also for its libraries.
 *
 * @returns path in the guest -> file
 */
function librariesOf(program: string, root: string, { gnu }: Architecture): Map<string, string> {
  const headers = execFileSync('readelf', ['--wide', '--dynamic', '--program-headers', program], {
    encoding: 'utf8',
  });
  const folders = [`lib/${gnu}-linux-gnu`, `usr/lib/${gnu}-linux-gnu`];
  const find = (name: string) =>
    folders.map((folder) => join(root, folder, name)).find((path) => existsSync(path)) ??
    fail(`${program} needs ${name}, which ${root} has not`);
  const loader = /program interpreter: (\S+)\]/.exec(headers)?.[1] as string;
  const libraries = new Map([[loader, find(basename(loader))]]);
  for (const [, name = ''] of headers.matchAll(/\(NEEDED\).*\[(.*)\]/g))
    libraries.set(`/lib/${gnu}-linux-gnu/${name}`, find(name));
  return libraries;
}

function fail(reason: string): never {
  throw new Error(reason);
}

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) =>
    statSync(join(folder, file)).isFile(),
  );
}
