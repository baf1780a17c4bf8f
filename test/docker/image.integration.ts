/** The image that users build: what is in it, and that it works as the README starts it. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { hostname } from 'node:os';
import path from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import packageJson from '../../package.json' with { type: 'json' };
import type { Incident } from '../../src/incident.ts';
import { type Launched, launch, makeCgroup } from '../kills/kills.ts';
import { Docker, dockerPackages } from '../servers/docker.ts';
import { until } from '../sinks/contract.ts';
import { AGENT_IMAGE, buildAgentImage } from './agent-image.ts';
import { LIMIT } from './victim-image.ts';

const ROOT = path.join(import.meta.dirname, '../..');
const run = promisify(execFile);
const packages = await dockerPackages();
const skip = 'missing' in packages && packages.missing;

interface ImageConfig {
  readonly Entrypoint: readonly string[];
  readonly Labels: Readonly<Record<string, string>>;
  readonly User: string;
}

/** `docker run ARGS...` in the README. */
function documentedRun(): string[] {
  const readme = readFileSync(path.join(ROOT, 'README.md'), 'utf8').replaceAll('\\\n', ' ');
  const command = /^docker run (.*)$/m.exec(readme)?.[1];
  assert.ok(command);
  return command.trim().split(/\s+/);
}

/** Kills of one process and what is told of it. */
async function killOne(t: TestContext): Promise<Launched> {
  const group = makeCgroup(LIMIT);
  t.after(() => group.remove());
  const [victim] = await launch(group, { count: 1, liveMs: 250, text: ['two words', ''] });
  return victim as Launched;
}

describe('the image', { skip }, () => {
  let docker: Docker;
  let archive: string;
  before(async () => {
    assert.ok('root' in packages);
    docker = await Docker.start(packages.root);
    archive = await buildAgentImage();
    await docker.command('load', '--input', archive);
  });
  after(() => docker?.[Symbol.asyncDispose]());

  const inspect = async <T>(field: string): Promise<T> =>
    JSON.parse(await docker.command('image', 'inspect', '--format', `{{json .${field}}}`, AGENT_IMAGE));
  const once = (...args: string[]) => docker.command('run', '--rm', '--network=none', '--read-only', ...args);

  it('holds Node.js, the libraries that it loads and the bundle', async (t) => {
    const folder = mkdtempSync(path.join(docker.folder, 'layers-'));
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    await run('tar', ['-C', folder, '-xf', archive]);
    const [{ Layers }] = JSON.parse(readFileSync(path.join(folder, 'manifest.json'), 'utf8'));
    const names = await Promise.all(
      (Layers as string[]).map(async (layer) => (await run('tar', ['-tf', path.join(folder, layer)])).stdout),
    );
    const files = names.flatMap((text) => text.split('\n')).filter((name) => name && !name.endsWith('/'));
    const rest = files.filter((name) => !/^(usr\/)?lib(64)?\/\S+\.so\.\d+$/.test(name));
    assert.ok(files.some((name) => name.endsWith('/libatomic.so.1')));
    assert.deepEqual(rest.filter((name) => !/^opt\/oom-witness\/dist\/\S+\.js$/.test(name)).sort(), [
      'opt/oom-witness/package.json',
      'opt/oom-witness/schema/incident-1.json',
      'usr/bin/node',
    ]);

    const gzip = run('sh', ['-c', 'gzip -c "$0" | wc -c', archive]);
    const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;
    t.diagnostic(
      `${megabytes(await inspect<number>('Size'))}, ${megabytes(Number((await gzip).stdout))} after gzip`,
    );
  });

  it('starts the agent as package.json does, and says what it is', async () => {
    const { Entrypoint, Labels, User } = await inspect<ImageConfig>('Config');
    const flags = packageJson.scripts.start.split(' ').filter((word) => word.startsWith('--'));
    assert.deepEqual(Entrypoint.slice(1, -1), flags);
    assert.equal(User, '');
    assert.equal(Labels['org.opencontainers.image.version'], packageJson.version);
  });

  it('answers without a shell, without a file that it may write and without any right', async () => {
    const powerless = ['--user=65532', '--cap-drop=ALL', '--security-opt=no-new-privileges', AGENT_IMAGE];
    assert.equal(await once(...powerless, '--version'), `oom-witness ${packageJson.version}`);
    assert.match(await once(...powerless, '--help'), /^Usage: oom-witness/);
    for (const program of ['sh', '/bin/sh', 'npm', 'busybox'])
      await assert.rejects(once('--entrypoint', program, AGENT_IMAGE), /(not found|no such file)/);
  });

  it('has all that the packages of the sinks, name resolution, TLS, time zones and SQLite need of a system', async () => {
    const script = `(async () => {
      const packages = '/opt/oom-witness/dist/packages/';
      for (const file of require('node:fs').readdirSync(packages)) await import(packages + file);
      new (require('node:sqlite').DatabaseSync)(':memory:').close();
      const { address } = await require('node:dns/promises').lookup('sink.example');
      console.log(address, require('node:tls').rootCertificates.length > 100, new Date(0).getHours());
    })()`;
    const options = [
      '--add-host=sink.example:192.0.2.1',
      '--env=TZ=Asia/Tokyo',
      '--entrypoint=/usr/bin/node',
    ];
    const printed = await once(
      ...options,
      AGENT_IMAGE,
      '--disable-warning=ExperimentalWarning',
      '-e',
      script,
    );
    assert.equal(printed, '192.0.2.1 true 9');
  });

  it('sees a kill when started as the README says', async (t) => {
    const args = documentedRun();
    const name = args[args.indexOf('--name') + 1] as string;
    await docker.command('tag', AGENT_IMAGE, args.at(-1) as string);
    await docker.command('run', ...args, '--listen', 'off');
    t.after(() => docker.command('rm', '--force', '--volumes', name));
    const printed = async () => {
      const [command, ...logs] = docker.commandLine('logs', name);
      return run(command as string, logs);
    };
    await until(async () => (await printed()).stderr.includes('"armed"'), 'armed');

    const victim = await killOne(t);
    const told = async () =>
      (await printed()).stdout
        .split('\n')
        // What is behind the last line feed is not whole yet.
        .slice(0, -1)
        .map((line): Incident => JSON.parse(line))
        .find(({ process }) => process.pid === victim.pid);
    await until(async () => (await told()) !== undefined, 'told');
    const incident = await told();
    assert.deepEqual(incident?.process.command_args, victim.args);
    assert.equal(incident?.victims[0]?.capture.source, 'exec');
    assert.equal(incident?.host.name, hostname());

    await docker.command('stop', '--time', '20', name);
    assert.equal((await docker.inspect(name)).ExitCode, 0);
  });
});
