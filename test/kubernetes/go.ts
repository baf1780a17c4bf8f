import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { unpackPackages } from '../servers/apt.ts';

/** What Kubernetes' own go.mod asks for. */
const NEEDED = [1, 24] as const;
/** The release of Debian that has it; its compiler is linked statically and runs on every other. */
const RELEASE = 'trixie';

export interface Go {
  readonly path: string;
  /** `go1.24.4` */
  readonly version: string;
  readonly environment: Readonly<Record<string, string>>;
}

/**
 * The machine's Go if it is new enough, else Debian's (50 MB), unpacked into the tests' cache.
 *
 * @throws with the reason when neither can be had
 */
export async function findGo(): Promise<Go> {
  const installed = await goAt('go', {});
  if (installed !== undefined && isEnough(installed.version)) return installed;
  const name = `golang-${NEEDED.join('.')}`;
  const unpacked = await unpackPackages('go', [`${name}-go`, `${name}-src`], RELEASE);
  const why = 'missing' in unpacked ? unpacked.missing : 'it does not run';
  const root = 'missing' in unpacked ? undefined : join(unpacked.root, `usr/lib/go-${NEEDED.join('.')}`);
  const found = root && (await goAt(join(root, 'bin/go'), { GOROOT: root }));
  if (!found)
    throw new Error(`Kubernetes is built with Go ${NEEDED.join('.')} or newer; the machine has none: ${why}`);
  return found;
}

async function goAt(path: string, more: Readonly<Record<string, string>>): Promise<Go | undefined> {
  // `local`: what is asked for is what is there, not what Go would download instead.
  const environment = { ...more, GOTOOLCHAIN: 'local' };
  try {
    const env = { ...process.env, ...environment };
    const { stdout } = await promisify(execFile)(path, ['env', 'GOVERSION'], { env, cwd: '/' });
    return { path, version: stdout.trim(), environment };
  } catch {
    return undefined;
  }
}

function isEnough(version: string): boolean {
  const [major = 0, minor = 0] = version.replace(/^go/, '').split('.').map(Number.parseFloat);
  return major > NEEDED[0] || (major === NEEDED[0] && minor >= NEEDED[1]);
}
