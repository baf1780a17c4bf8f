import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  cpSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { AgentProcess } from './agent-process.ts';
import { MARK, tellJanitor } from './janitor.ts';
import { ApiDouble } from './kubernetes/api-double.ts';
import { until } from './sinks/contract.ts';
import { temporaryFolder } from './temporary-folder.ts';

const ROOT = join(import.meta.dirname, '..');
const PARTS = ['src', 'sinks', 'build.ts', 'package.json', 'package-lock.json'];

/** A sink that asks Kubernetes for a node when it is loaded. */
const PROBE = `
    export const options = [];
  export const settings = () => undefined;
  export const open = () => {};
  const { connect } = await import('../src/kubernetes/connection.ts');
  const api: KubernetesApi = await connect({ kubeconfig: process.env.KUBECONFIG });
  const { metadata } = await api.get<{ metadata: { name: string } }>('/api/v1/nodes/a');
  console.log('node', metadata.name);
  console.log('dear', process.moduleLoadList.filter((name) => /child_process|comparisons/.test(name)));
  api.close();
`;

/** A copy of the checkout without `dist`. */
function checkout(t: TestContext): string {
  const folder = temporaryFolder(t, 'oom-witness-build');
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

const scripts = (dist: string) =>
  readdirSync(dist, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.js'));

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
  run(folder, 'build.ts');
  const bundled = await import(join(folder, 'dist', 'packages', 'kafkajs.js'));
  const { Kafka, logLevel } = await import('kafkajs');
  assert.equal(typeof bundled.Kafka, typeof Kafka);
  assert.deepEqual(bundled.logLevel, logLevel);
  assert.equal(bundled.default.Kafka, bundled.Kafka);
});

test('the bundle has what says who we are to Kubernetes, and nothing else of its client', async (t) => {
  const folder = checkout(t);
  writeFileSync(join(folder, 'sinks', 'probe.ts'), PROBE);
  assert.equal(run(folder, 'build.ts'), '');
  const double = await ApiDouble.start(t);
  double.put('/api/v1/nodes/a', {});
  const { stdout } = await promisify(execFile)(process.execPath, ['dist/src/main.js', '--version'], {
    cwd: folder,
    env: { KUBECONFIG: double.kubeconfig() },
  });
  const [node, dear] = stdout.split('\n');
  assert.equal(node, 'node a');
  // For plugins, and node:util's comparison of objects: 0.3 MB.
  assert.equal(dear, 'dear []');
  // 25 KB; with the classes of all kinds of objects it is megabytes.
  const { size } = statSync(join(folder, 'dist', 'packages', 'kubernetes-client-node-dist-config-js.js'));
  assert.ok(size < 60_000, `${size}`);
});

test('the agent starts from three files: the entry, the capture thread, and the program with all sinks', async (t) => {
  const folder = checkout(t);
  run(folder, 'build.ts');
  const dist = join(folder, 'dist');
  rmSync(join(dist, 'packages'), { recursive: true });
  assert.deepEqual(scripts(dist).sort(), ['src/capture/thread.js', 'src/main.js', 'src/program.js']);
  // A log file needs no rights.
  writeFileSync(join(folder, 'kern.log'), '');
  const agent = await AgentProcess.start(t, {
    main: join(dist, 'src', 'main.js'),
    args: ['--log-file', join(folder, 'kern.log')],
  });
  await agent.terminate();
  assert.deepEqual(agent.stderr, []);
});

test('what V8 makes of the bundle is there when it is built: a start compiles nothing anew', async (t) => {
  const folder = checkout(t);
  run(folder, 'build.ts');
  const dist = join(folder, 'dist');
  const compiled = () =>
    readdirSync(join(dist, 'compiled'), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ name }) => name)
      .sort();
  const built = compiled();
  assert.ok(built.length > readdirSync(join(dist, 'packages')).length);
  writeFileSync(join(folder, 'kern.log'), '');
  const agent = await AgentProcess.start(t, {
    main: join(dist, 'src', 'main.js'),
    args: ['--log-file', join(folder, 'kern.log')],
  });
  await agent.terminate();
  // What it had not found there, Node.js would have put there at its end.
  assert.deepEqual(compiled(), built);
  rmSync(join(dist, 'compiled'), { recursive: true });
  assert.match(run(folder, 'dist/src/main.js', '--version'), /^oom-witness /);
  assert.ok(!existsSync(join(dist, 'compiled')), 'nothing is written beside a bundle that has none');
});

test('who ends `npm start` ends the agent, and waits until it has drained', async (t) => {
  const folder = checkout(t);
  run(folder, 'build.ts');
  writeFileSync(join(folder, 'kern.log'), '');
  const args = ['--stdout', 'off', '--listen', 'off', '--state-dir', folder, '--log-file', 'kern.log'];
  tellJanitor();
  const npm = spawn('npm', ['start', '--silent', '--', ...args], {
    cwd: folder,
    env: { PATH: process.env.PATH, ...MARK },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  t.after(() => npm.kill('SIGKILL'));
  let log = '';
  npm.stderr.setEncoding('utf8').on('data', (text) => {
    log += text;
  });
  await until(() => log.includes('"armed"'), 'it to be armed');
  npm.kill('SIGTERM');
  const [code] = await once(npm, 'close');
  assert.equal(code, 0);
  assert.match(log, /"drained: /);
});

test('V8 keeps the text of the bundle in one byte a character: none is beyond Latin-1', (t) => {
  const folder = checkout(t);
  run(folder, 'build.ts');
  const dist = join(folder, 'dist');
  const files = scripts(dist);
  assert.ok(files.includes('src/program.js'));
  // One character costs as much again as the whole text. esbuild writes escapes for it, but not in a regular expression.
  for (const file of files) assert.doesNotMatch(readFileSync(join(dist, file), 'utf8'), /[^\0-\xff]/, file);
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

  const slack = join(folder, 'dist', 'packages', 'slack-webhook.js');
  assert.ok(existsSync(slack));
  rmSync(join(folder, 'sinks', 'slack.ts'));
  run(folder, 'build.ts');
  assert.ok(statSync(main).mtimeMs > mtimeMs);
  assert.ok(!existsSync(slack));
  assert.doesNotMatch(run(folder, 'dist/src/main.js', '--help'), /^Delivery to slack:/m);
});

test('a build that a full disk has interrupted is done again', (t) => {
  const folder = checkout(t);
  writeFileSync(
    join(folder, 'full-disk.cjs'),
    `const fs = require('node:fs');
     const { writeFileSync } = fs;
     fs.writeFileSync = (file, ...rest) => {
       if (file.endsWith('program.js')) throw new Error('ENOSPC');
       writeFileSync(file, ...rest);
     };
     require('node:module').syncBuiltinESMExports();`,
  );
  assert.throws(() => run(folder, '--require', './full-disk.cjs', 'build.ts'), /ENOSPC/);
  run(folder, 'build.ts');
  assert.match(run(folder, 'dist/src/main.js', '--version'), /^oom-witness /);
});
