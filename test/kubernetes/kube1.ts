/** Kubernetes and etcd from their Go modules, as one program. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { cacheFolder } from '../servers/cache.ts';
import { findGo } from './go.ts';

const MODULE = path.join(import.meta.dirname, 'kube1');
/** Cold, on 2 cores at load 10, the build took 26 min. */
const LIMIT_SECONDS = 45 * 60;

// One at a time; the program appears under its name only when it is complete.
const BUILD = `
program=$1 go=$2 flags=$3; shift 3
test -x "$program" && exit 0
nice timeout ${LIMIT_SECONDS} "$go" build -trimpath -tags providerless,dockerless -ldflags "$flags" -o "$program.part" . &&
  mv "$program.part" "$program"`;

/** What one folder of the cache is named after. */
export const KUBERNETES_VERSION =
  /^\tk8s\.io\/kubernetes v(\S+)$/m.exec(readFileSync(path.join(MODULE, 'go.mod'), 'utf8'))?.[1] ?? '';

/**
 * The program, built when the cache has none for these sources: 870 CPU seconds, 2.3 GB of memory and 90 MB of modules;
 * with a warm Go cache 30 s.
 *
 * @throws with the reason when there is no Go or the build fails
 */
export async function buildKube1(say: (line: string) => void): Promise<string> {
  const hash = createHash('sha256');
  for (const file of ['go.mod', 'go.sum', 'main.go']) hash.update(readFileSync(path.join(MODULE, file)));
  const folder = path.join(cacheFolder(), 'kubernetes');
  const program = path.join(folder, `kube1-${KUBERNETES_VERSION}-${hash.digest('hex').slice(0, 12)}`);
  if (existsSync(program)) return program;

  await mkdir(folder, { recursive: true });
  const go = await findGo();
  say(
    `building Kubernetes ${KUBERNETES_VERSION} with ${go.version} (once; 15 CPU minutes with a cold Go cache)`,
  );
  try {
    await promisify(execFile)(
      'flock',
      [path.join(folder, 'lock'), 'sh', '-c', BUILD, 'sh', program, go.path, linkerFlags()],
      {
        cwd: MODULE,
        env: {
          ...process.env,
          ...go.environment,
          CGO_ENABLED: '0',
          GOFLAGS: '-mod=readonly -buildvcs=false',
        },
        maxBuffer: 16 << 20,
      },
    );
  } catch (error) {
    const said = (error as { stderr?: string }).stderr?.trim().split('\n').slice(-20).join('\n');
    throw new Error(`Kubernetes cannot be built: ${said || String(error)}`);
  }
  return program;
}

/** Kubernetes asks its version when it starts, and refuses nodes of another one. */
function linkerFlags(): string {
  const [major, minor] = KUBERNETES_VERSION.split('.');
  const values = {
    gitVersion: `v${KUBERNETES_VERSION}`,
    gitMajor: major,
    gitMinor: minor,
    gitCommit: '0'.repeat(40),
    gitTreeState: 'archive',
    buildDate: '1970-01-01T00:00:00Z',
  };
  const flags = ['k8s.io/component-base/version', 'k8s.io/client-go/pkg/version'].flatMap((name) =>
    Object.entries(values).map(([key, value]) => `-X ${name}.${key}=${value}`),
  );
  return ['-s', '-w', ...flags].join(' ');
}
