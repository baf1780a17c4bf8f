import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/** What Kubernetes' own go.mod asks for. */
const NEEDED = [1, 24];

export interface Go {
  readonly path: string;
  /** As `go env GOVERSION` says it. */
  readonly version: string;
  readonly environment: Readonly<Record<string, string>>;
}

/** @throws with the way to get one */
export async function findGo(): Promise<Go> {
  for (const path of ['go', '/usr/local/go/bin/go', '/usr/lib/go-1.24/bin/go']) {
    try {
      const env = { ...process.env, GOTOOLCHAIN: 'local' };
      const { stdout } = await promisify(execFile)(path, ['env', 'GOVERSION'], { env, cwd: '/' });
      const version = stdout.trim();
      if (isEnough(version)) return { path, version, environment: {} };
    } catch {
      // Not there: the next one.
    }
  }
  throw new Error(`Kubernetes needs Go ${NEEDED.join('.')} or newer to be built`);
}

function isEnough(version: string): boolean {
  const [major = 0, minor = 0] = version.replace(/^go/, '').split('.').map(Number.parseFloat);
  return major > (NEEDED[0] ?? 0) || (major === NEEDED[0] && minor >= (NEEDED[1] ?? 0));
}
