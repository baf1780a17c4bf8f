/** The watch of Docker on a real dockerd: what it knows of containers that start, end, are renamed, and what it misses. */
import assert from 'node:assert/strict';
import { after, before, describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { DockerEngine } from '../../src/docker/engine-api.ts';
import { ContainerTable, type KnownContainer } from '../../src/inventory/container-table.ts';
import { DockerWatch } from '../../src/watch/docker.ts';
import { importVictim } from '../docker/victim-image.ts';
import { Docker, dockerPackages } from '../servers/docker.ts';
import { until } from '../sinks/contract.ts';
import { FeedDiary } from './feed-diary.ts';

const packages = await dockerPackages();
const skip = 'missing' in packages && packages.missing;

describe('the watch of a real Docker', { skip }, () => {
  let docker: Docker;
  before(async () => {
    assert.ok('root' in packages);
    docker = await Docker.start(packages.root);
    await importVictim(docker);
  });
  after(() => docker?.[Symbol.asyncDispose]());

  async function watched(t: TestContext): Promise<{ table: ContainerTable; diary: FeedDiary }> {
    const table = new ContainerTable({ now: Date.now, kernelSees: () => true });
    const diary = new FeedDiary();
    const watch = new DockerWatch({
      engine: new DockerEngine(docker.socket),
      table,
      observer: diary,
      chosenLabels: new Set(['team']),
      now: Date.now,
      sleep: (ms, signal) => sleep(ms, undefined, { signal }),
      random: Math.random,
    });
    watch.start();
    t.after(() => watch.stop());
    await until(() => diary.follows.length > 0, 'the first stock-taking');
    return { table, diary };
  }

  /** A container that ends with the given code at once, or as `docker run` is told. */
  async function run(t: TestContext, ...args: readonly string[]): Promise<string> {
    const id = await docker.command('run', '--detach', '--network=none', ...args);
    t.after(() => docker.command('rm', '--force', id).catch(() => ''));
    return id;
  }

  const LIVES = ['--interactive', 'victim', '/victim', 'parent', '/dev/null', '1000000'] as const;

  function state({ starts, restarts, running, exitCode }: KnownContainer) {
    return { starts, restarts, running, exitCode };
  }

  it('knows those that were there before it: running, ended, never started', async (t) => {
    const labels = [
      '--label',
      'com.docker.compose.service=cart',
      '--label',
      'team=shop',
      '--label',
      'secret=tr0ub4dor',
    ];
    const lives = await run(t, '--name=lives', ...labels, ...LIVES);
    const ended = await run(t, '--name=ended', 'victim', '/victim', 'no-such-thing');
    const created = await docker.command('create', '--name=created', 'victim', '/victim');
    t.after(() => docker.command('rm', created));
    await until(async () => !(await docker.inspect(ended)).Running, 'its end');

    const { table } = await watched(t);
    const known = table.get(lives)!;
    assert.deepEqual(state(known), { starts: 0, restarts: 0, running: true, exitCode: undefined });
    assert.equal(known.name, 'lives');
    assert.equal(known.image?.name, 'victim');
    assert.match(known.image?.id ?? '', /^sha256:[0-9a-f]{64}$/);
    assert.deepEqual(known.labels, { 'com.docker.compose.service': 'cart', team: 'shop' });
    const { ExitCode } = await docker.inspect(ended);
    assert.notEqual(ExitCode, 0);
    assert.deepEqual(state(table.get(ended)!), {
      starts: 0,
      restarts: 0,
      running: false,
      exitCode: ExitCode,
    });
    assert.deepEqual(state(table.get(created)!), {
      starts: 0,
      restarts: 0,
      running: false,
      exitCode: undefined,
    });

    await docker.command('start', ended);
    await until(() => table.get(ended)?.starts === 1, 'its start');
    assert.equal(table.get(ended)?.restarts, 1);
  });

  it('counts the starts of a restart policy, and knows name, image and exit code', async (t) => {
    const { table, diary } = await watched(t);
    const id = await run(t, '--name=crashes', '--restart=on-failure:3', 'victim', '/victim', 'no-such-thing');
    await until(() => table.get(id)?.starts === 4 && !table.get(id)?.running, '4 starts');
    const { ExitCode } = await docker.inspect(id);
    assert.deepEqual(state(table.get(id)!), { starts: 4, restarts: 3, running: false, exitCode: ExitCode });
    await until(() => table.get(id)?.image?.id !== undefined, 'the digest of its image');
    await docker.command('rename', id, 'crashed');
    await until(() => table.get(id)?.name === 'crashed', 'the new name');
    await docker.command('rm', id);
    await until(() => table.get(id)?.goneAt !== undefined, 'the removal');
    assert.deepEqual(diary.skipped, []);
  });

  it('believes no label that has the name of an attribute', async (t) => {
    const { table } = await watched(t);
    const liars = ['exitCode=0', 'name=innocent', 'image=nothing', 'execID=7'].flatMap((label) => [
      '--label',
      label,
    ]);
    const id = await run(t, '--name=liar', ...liars, 'victim', '/victim', 'no-such-thing');
    await until(() => table.get(id)?.exitCode !== undefined, 'its end');
    const { ExitCode } = await docker.inspect(id);
    const { exitCode, name, image } = table.get(id)!;
    assert.deepEqual(
      { exitCode, name, image: image?.name },
      { exitCode: ExitCode, name: 'liar', image: 'victim' },
    );
  });

  it('makes up for what happened while dockerd was down, and counts nothing twice', async (t) => {
    const { table, diary } = await watched(t);
    const dies = await run(t, '--name=dies', ...LIVES);
    const stays = await run(t, '--name=stays', ...LIVES);
    const again = await run(t, '--name=again', '--restart=always', ...LIVES);
    await until(() => [dies, stays, again].every((id) => table.get(id)?.starts === 1), 'three starts');
    const { Pid } = await docker.inspect(dies);
    const { Pid: restarted } = await docker.inspect(again);
    await docker.stopDaemon();
    await until(() => diary.lost.length > 0, 'the loss');
    process.kill(Pid, 'SIGKILL');
    process.kill(restarted, 'SIGKILL');
    await docker.startDaemon();
    await until(() => diary.follows.length >= 2, 'the second stock-taking');
    await until(() => table.get(again)?.starts === 2, 'the start that its policy asks for');
    await until(() => table.get(dies)?.exitCode === 137, 'the exit code');
    assert.deepEqual(state(table.get(dies)!), { starts: 1, restarts: 0, running: false, exitCode: 137 });
    assert.deepEqual(state(table.get(stays)!), {
      starts: 1,
      restarts: 0,
      running: true,
      exitCode: undefined,
    });
    // While it runs, Docker itself no longer says how the run before has ended.
    assert.deepEqual(state(table.get(again)!), {
      starts: 2,
      restarts: 1,
      running: true,
      exitCode: undefined,
    });
  });
});
