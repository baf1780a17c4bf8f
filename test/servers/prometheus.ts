/** A real Prometheus and its promtool from Debian's package. */
import { execFile } from 'node:child_process';
import { rmSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { PATIENCE_MS } from '../patience.ts';
import { freshFolder } from '../temporary-folder.ts';
import { type UnpackedPackages, unpackPackages } from './apt.ts';
import { freePort } from './free-ports.ts';
import { startServer } from './process.ts';

export function prometheusPackages(): Promise<UnpackedPackages> {
  return unpackPackages('prometheus', ['prometheus']);
}

/**
 * Runs `promtool ARGS...`.
 *
 * @param root of `prometheusPackages`
 * @returns what it printed
 * @throws with what it printed: promtool says on stdout, too, what is wrong
 */
export async function promtool(root: string, ...args: readonly string[]): Promise<string> {
  const file = path.join(root, 'usr/bin/promtool');
  try {
    const { stdout, stderr } = await promisify(execFile)(file, args, { timeout: PATIENCE_MS });
    return stdout + stderr;
  } catch (error) {
    const { stdout = '', stderr = '', message } = error as Error & { stdout?: string; stderr?: string };
    throw new Error(`${message}\n${stdout}${stderr}`);
  }
}

export interface Prometheus {
  /** `GET /api/v1/PATH`, its `data`. */
  api<T>(path: string): Promise<T>;
  /** What it has logged lately: belongs into the message of a failed test. */
  log(): string;
}

/** @param configuration path of its prometheus.yml */
export async function startPrometheus(
  t: { after(clean: () => Promise<void>): void },
  root: string,
  configuration: string,
): Promise<Prometheus> {
  const folder = freshFolder('oom-witness-prometheus');
  const address = `127.0.0.1:${await freePort()}`;
  const server = await startServer({
    command: path.join(root, 'usr/bin/prometheus'),
    args: [
      `--config.file=${configuration}`,
      `--storage.tsdb.path=${path.join(folder, 'data')}`,
      `--web.listen-address=${address}`,
    ],
    cwd: folder,
    probe: async () => (await fetch(`http://${address}/-/ready`)).ok,
  });
  t.after(async () => {
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  });
  return {
    async api<T>(path: string): Promise<T> {
      const answer = await fetch(`http://${address}/api/v1/${path}`);
      const { status, data, error } = (await answer.json()) as { status: string; data: T; error?: string };
      if (status !== 'success') throw new Error(`${path}: ${error}`);
      return data;
    },
    log: server.log,
  };
}
