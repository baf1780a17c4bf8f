/**
 * What the guest boots into: busybox, Node.js with its libraries, the agent's bundle, the victims and the guest's own
 * program. In two archives, because the first one (130 MB) is always the same.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, renameSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import { cacheFolder } from '../servers/cache.ts';
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
stty -F /dev/ttyS1 raw -echo
node --disable-warning=ExperimentalWarning /lab/guest.js $(sed 's/.*lab.scenario=\\([a-z0-9-]*\\).*/\\1/' /proc/cmdline) >/dev/ttyS0 2>&1
echo "guest program: $?" >/dev/ttyS0
gzip -c /tmp/evidence.json >/dev/ttyS1
reboot -f
`;

/** @returns the path of the archive that never changes, made once for each Node.js */
export function baseImage(tools: string): string {
  const node = process.execPath;
  const { size, mtimeMs } = statSync(node);
  const key = createHash('sha256').update(`${node} ${size} ${mtimeMs} ${INIT}`).digest('hex').slice(0, 12);
  const path = join(cacheFolder(), `lab-base-${key}.cpio`);
  if (existsSync(path)) return path;
  mkdirSync(cacheFolder(), { recursive: true });
  const stripped = `${path}.node`;
  execFileSync('strip', ['-o', stripped, node]);
  const cpio = new CpioWriter(`${path}.part`);
  for (const library of librariesOf(node)) cpio.copy(library, library);
  cpio.copy(stripped, '/bin/node');
  cpio.copy(join(tools, 'bin/busybox'), '/busybox');
  cpio.file('/init', INIT);
  cpio.close();
  execFileSync('rm', [stripped]);
  renameSync(`${path}.part`, path);
  return path;
}

/** Writes the archive with what is under test: the bundle, the victims, the guest's program. */
export async function testImage(path: string): Promise<void> {
  execFileSync(process.execPath, [join(ROOT, 'build.ts')], { stdio: 'inherit' });
  const cpio = new CpioWriter(path);
  cpio.file('/lab/package.json', '{"type":"module"}');
  for (const file of filesBelow(join(ROOT, 'dist'))) cpio.copy(join(ROOT, 'dist', file), `/lab/dist/${file}`);
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
    execFileSync('cc', ['-O1', '-static', '-pthread', '-o', program, source]);
    cpio.copy(program, `/lab/${source.replace(/.*\/(.*)\.c$/, '$1')}`);
    execFileSync('rm', [program]);
  }
  cpio.close();
}

/** As the dynamic loader finds them here, the loader among them. */
function librariesOf(program: string): string[] {
  const listed = execFileSync('ldd', [program], { encoding: 'utf8' });
  return [...listed.matchAll(/(\/\S+) \(0x/g)].map(([, path]) => path as string);
}

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) =>
    statSync(join(folder, file)).isFile(),
  );
}
