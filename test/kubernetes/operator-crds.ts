/** The definitions of PodMonitor and PrometheusRule as the Prometheus operator publishes them in its Go module. */
import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { findGo } from './go.ts';

const MODULE = 'github.com/prometheus-operator/prometheus-operator@v0.93.1';
const FOLDER = 'example/prometheus-operator-crd';
const LIMIT_MS = 120_000;

/**
 * Paths of YAML files, in Go's module cache, or why there are none: the reason that a skipped test gives.
 *
 * @param kinds plural, lower case
 */
export async function operatorCrds(
  ...kinds: readonly string[]
): Promise<{ readonly files: readonly string[] } | { readonly missing: string }> {
  try {
    const go = await findGo();
    const { stdout } = await promisify(execFile)(go.path, ['mod', 'download', '-json', MODULE], {
      env: { ...process.env, ...go.environment, GOTOOLCHAIN: 'local', GOFLAGS: '-mod=mod' },
      // Outside of any module.
      cwd: '/',
      timeout: LIMIT_MS,
    });
    const { Dir } = JSON.parse(stdout) as { Dir: string };
    return { files: kinds.map((kind) => path.join(Dir, FOLDER, `monitoring.coreos.com_${kind}.yaml`)) };
  } catch (error) {
    const { stdout, message } = error as Error & { stdout?: string };
    // With -json the reason is there.
    const said = /"Error": "(.*)"/.exec(stdout ?? '')?.[1] ?? message;
    return { missing: `the Prometheus operator's definitions cannot be downloaded: ${said}` };
  }
}
