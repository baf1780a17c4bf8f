/** A real Prometheus and its promtool from Debian's package. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { type UnpackedPackages, unpackPackages } from './apt.ts';
import { freePort } from './free-ports.ts';
import { startServer } from './process.ts';

const COMMAND_MS = 60_000;
const READY_MS = 20_000;

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
    const { stdout, stderr } = await promisify(execFile)(file, args, { timeout: COMMAND_MS });
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
  const folder = mkdtempSync(path.join(tmpdir(), 'oom-witness-prometheus-'));
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
    timeoutMs: READY_MS,
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
