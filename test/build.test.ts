import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { KubernetesApi } from '../src/kubernetes/api.ts';
import { ApiDouble } from './kubernetes/api-double.ts';
import type { ApiObject } from './kubernetes/object-store.ts';

const ROOT = join(import.meta.dirname, '..');
const PARTS = ['src', 'sinks', 'build.ts', 'package.json', 'package-lock.json'];

/** A copy of the checkout without `dist`. */
function checkout(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'oom-witness-build-'));
  t.after(() => rmSync(folder, { recursive: true }));
  for (const part of PARTS) cpSync(join(ROOT, part), join(folder, part), { recursive: true });
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  return folder;
}

const run = (folder: string, ...args: string[]) =>
  execFileSync(process.execPath, ['--disable-warning=ExperimentalWarning', ...args], {
    cwd: folder,
    env: {},
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });

test('the bundle does what the sources do, without them and without node_modules', (t) => {
  const folder = checkout(t);
  assert.equal(run(folder, 'build.ts'), '');
  writeFileSync(join(folder, 'config.yaml'), 'kafka: { brokers: [a:9092], topic: oom }\n');
  const commands = [
    ['--version'],
    ['--help'],
    ['config', 'print', '--config', 'config.yaml'],
    ['config', 'print', '--json', '--slack-webhook', 'https://example.com/'],
  ];
  const fromSources = commands.map((args) => run(folder, 'src/main.ts', ...args));
  for (const part of [...PARTS, 'node_modules']) rmSync(join(folder, part), { recursive: true });
  assert.deepEqual(
    commands.map((args) => run(folder, 'dist/src/main.js', ...args)),
    fromSources,
  );
});

test('a package that is loaded on demand has the same names in the bundle', async (t) => {
  const folder = checkout(t);
  writeFileSync(join(folder, 'sinks', 'probe.ts'), "export const load = () => import('kafkajs');\n");
  run(folder, 'build.ts');
  const bundled = await (await import(join(folder, 'dist', 'sinks', 'probe.js'))).load();
  const { Kafka, logLevel } = await import('kafkajs');
  assert.equal(typeof bundled.Kafka, typeof Kafka);
  assert.deepEqual(bundled.logLevel, logLevel);
  assert.equal(bundled.default.Kafka, bundled.Kafka);
});

test('the bundle has what says who we are to Kubernetes, and nothing else of its client', async (t) => {
  const folder = checkout(t);
  const load = "export const load = () => import('../src/kubernetes/connection.ts');\n";
  writeFileSync(join(folder, 'sinks', 'probe.ts'), load);
  assert.equal(run(folder, 'build.ts'), '');
  const double = await ApiDouble.start(t);
  double.put('/api/v1/nodes/a', {});
  const { connect } = await (await import(join(folder, 'dist', 'sinks', 'probe.js'))).load();
  const api: KubernetesApi = await connect({ kubeconfig: double.kubeconfig() });
  t.after(() => api.close());
  assert.equal((await api.get<ApiObject>('/api/v1/nodes/a')).metadata.name, 'a');
  const chunks = readdirSync(join(folder, 'dist', 'src')).filter((name) => /^con(fig|nection)-/.test(name));
  const bytes = chunks.map((name) => statSync(join(folder, 'dist', 'src', name)).size);
  assert.equal(bytes.length, 2);
  // 41 KB; with the classes of all kinds of objects it is megabytes.
  assert.ok(
    bytes.every((size) => size < 60_000),
    `${bytes}`,
  );
});

test('what only some configurations need of Node.js is not loaded with the options', (t) => {
  const folder = checkout(t);
  run(folder, 'build.ts');
  writeFileSync(
    join(folder, 'tell.cjs'),
    "process.on('exit', () => console.log(process.moduleLoadList.join()));",
  );
  const printed = run(folder, '--require', './tell.cjs', 'dist/src/main.js', 'config', 'print');
  const loaded = new Set(printed.split(/[,\n]/));
  assert.ok(loaded.has('NativeModule fs'));
  // node:crypto alone is 1.4 MB of anonymous memory; what fetch needs is 7.
  const dear = ['crypto', 'http', 'http2', 'tls', 'internal/deps/undici/undici'];
  assert.deepEqual(
    dear.filter((name) => loaded.has(`NativeModule ${name}`)),
    [],
  );
});

test('it builds again only when something has changed, and leaves nothing of what is gone', (t) => {
  const folder = checkout(t);
  const main = join(folder, 'dist', 'src', 'main.js');
  run(folder, 'build.ts');
  const { mtimeMs } = statSync(main);
  run(folder, 'build.ts');
  assert.equal(statSync(main).mtimeMs, mtimeMs);

  rmSync(join(folder, 'sinks', 'webhook.ts'));
  run(folder, 'build.ts');
  assert.ok(statSync(main).mtimeMs > mtimeMs);
  assert.ok(!existsSync(join(folder, 'dist', 'sinks', 'webhook.js')));
});
