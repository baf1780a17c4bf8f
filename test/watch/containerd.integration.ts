/** The watch of containerd on a real one: its own containers, without Docker and without Kubernetes. */
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ContainerTable, type KnownContainer } from '../../src/inventory/container-table.ts';
import { ContainerdWatch } from '../../src/watch/containerd.ts';
import { victimProgram } from '../kills/kills.ts';
import { cgroupMounts, removeCgroup } from '../servers/cgroups.ts';
import { Docker, dockerPackages } from '../servers/docker.ts';
import { until } from '../sinks/contract.ts';
import { FeedDiary } from './feed-diary.ts';

const packages = await dockerPackages();
const skip = 'missing' in packages && packages.missing;
/** What the victim ends with when it does not know what is asked of it. */
const WRONG = 2;
const LIVES = ['/victim', 'hog', '1000000'] as const;
/** By themselves containers are in one of the name of their namespace, which stays. */
const CGROUP = `/oom-witness-test-${process.pid}`;

describe('the watch of a real containerd', { skip }, () => {
  let docker: Docker;
  let rootfs: string;
  let count = 0;
  before(async () => {
    assert.ok('root' in packages);
    docker = await Docker.start(packages.root);
    rootfs = path.join(docker.folder, 'rootfs');
    mkdirSync(rootfs);
    copyFileSync(victimProgram(), path.join(rootfs, 'victim'));
  });
  after(async () => {
    await docker?.[Symbol.asyncDispose]();
    for (const mount of cgroupMounts()) removeCgroup(path.join(mount, CGROUP));
  });

  async function watched(t: TestContext, without: readonly string[] = []) {
    const table = new ContainerTable({ now: Date.now, kernelSees: () => false });
    const diary = new FeedDiary();
    const watch = new ContainerdWatch({
      socket: docker.containerdSocket,
      table,
      without,
      observer: diary,
      chosenLabels: new Set(['team']),
      now: Date.now,
      sleep: (ms, signal) => sleep(ms, undefined, { signal }),
      random: Math.random,
    });
    watch.start();
    t.after(() => watch.stop());
    await until(
      () => diary.follows.length > 0,
      () => `the first stock-taking: ${diary.lost}`,
    );
    return { table, diary, watch };
  }

  /** `ctr run` in a namespace; returns the id, which is as short as containerd allows. */
  async function run(
    t: TestContext,
    namespace: string,
    labels: readonly string[],
    ...command: readonly string[]
  ): Promise<string> {
    const id = `c${++count}`;
    const own = ['--detach', '--null-io', '--rootfs', '--cgroup', `${CGROUP}/${id}`];
    const options = [...own, ...docker.ctrRunOptions];
    await docker.ctr(
      '-n',
      namespace,
      'run',
      ...options,
      ...labels.flatMap((each) => ['--label', each]),
      rootfs,
      id,
      ...command,
    );
    t.after(async () => {
      await docker.ctr('-n', namespace, 'task', 'rm', '--force', id).catch(() => '');
      await docker.ctr('-n', namespace, 'container', 'rm', id).catch(() => '');
    });
    return id;
  }

  function state({ starts, restarts, running, exitCode }: KnownContainer) {
    return { starts, restarts, running, exitCode };
  }

  const KUBELETS = [
    'io.kubernetes.pod.namespace=prod',
    'io.kubernetes.pod.name=shop-1',
    'io.kubernetes.pod.uid=f3a1',
    'io.kubernetes.container.name=cart',
    'secret=tr0ub4dor',
  ];

  it('knows those that were there before it, in every namespace', async (t) => {
    const lives = await run(t, 'k8s.io', KUBELETS, ...LIVES);
    const ended = await run(t, 'default', ['nerdctl/name=job'], '/victim', 'no-such-thing');
    await until(async () => /STOPPED/.test(await docker.ctr('task', 'ls')), 'its end');
    const { table } = await watched(t);
    const known = table.get(lives)!;
    assert.deepEqual(state(known), { starts: 0, restarts: 0, running: true, exitCode: undefined });
    const { name, namespace, podName, podUid, runtime, labels } = known;
    assert.deepEqual(
      { name, namespace, podName, podUid, runtime },
      { name: 'cart', namespace: 'prod', podName: 'shop-1', podUid: 'f3a1', runtime: 'containerd' },
    );
    assert.ok(!JSON.stringify(labels).includes('tr0ub4dor'));
    const job = table.get(ended)!;
    assert.equal(job.name, 'job');
    assert.deepEqual(state(job), { starts: 0, restarts: 0, running: false, exitCode: job.exitCode });
    assert.notEqual(job.exitCode ?? 0, 0);
  });

  it('counts starts of the same container, and takes the exit code of its first process only', async (t) => {
    const { table, diary } = await watched(t);
    const id = await run(t, 'default', ['nerdctl/name=again'], ...LIVES);
    await until(() => table.get(id)?.starts === 1 && table.get(id)?.name === 'again', 'its start');
    /** Another process in it, which ends with a code of its own. */
    const second = (name: string) =>
      assert.rejects(docker.ctr('task', 'exec', '--exec-id', name, id, '/victim', 'no-such-thing'), {
        code: WRONG,
      });
    await second('second');
    await docker.ctr('task', 'kill', '--signal', 'SIGKILL', id);
    await until(() => table.get(id)?.exitCode !== undefined, 'its end');
    assert.deepEqual(state(table.get(id)!), { starts: 1, restarts: 0, running: false, exitCode: 137 });

    await docker.ctr('task', 'rm', id);
    await docker.ctr('task', 'start', '--detach', '--null-io', id);
    await until(() => table.get(id)?.starts === 2, 'its second start');
    await second('third');
    assert.deepEqual(state(table.get(id)!), { starts: 2, restarts: 1, running: true, exitCode: 137 });

    await docker.ctr('task', 'rm', '--force', id);
    await docker.ctr('container', 'rm', id);
    await until(() => table.get(id)?.goneAt !== undefined, 'its removal');
    assert.deepEqual(diary.skipped, []);
  });

  it('makes up for what happened while containerd was down, and counts nothing twice', async (t) => {
    const { table, diary } = await watched(t);
    const [dies, stays] = [await run(t, 'default', [], ...LIVES), await run(t, 'default', [], ...LIVES)];
    await until(() => [dies, stays].every((id) => table.get(id)?.starts === 1), 'two starts');
    const tasks = await docker.ctr('task', 'ls');
    const pid = Number(new RegExp(`^${dies}\\s+(\\d+)`, 'm').exec(tasks)?.[1]);
    await docker.killContainerd();
    process.kill(pid, 'SIGKILL');
    await docker.startContainerdAgain();
    await until(
      () => diary.follows.length >= 2,
      () => `the second stock-taking: ${diary.lost}`,
    );
    await until(() => table.get(dies)?.exitCode === 137, 'the exit code');
    assert.deepEqual(state(table.get(dies)!), { starts: 1, restarts: 0, running: false, exitCode: 137 });
    assert.deepEqual(state(table.get(stays)!), {
      starts: 1,
      restarts: 0,
      running: true,
      exitCode: undefined,
    });
    assert.match(diary.lost[0] ?? '', /UNAVAILABLE|ended the stream/);
  });

  it("leaves Docker's containers to Docker's own watch", async (t) => {
    const { table } = await watched(t, ['moby']);
    await docker.importImage('victim', rootfs);
    const id = await docker.command('run', '--detach', '--network=none', 'victim', ...LIVES);
    t.after(() => docker.command('rm', '--force', id));
    const own = await run(t, 'default', [], ...LIVES);
    await until(() => table.get(own) !== undefined, 'a container of containerd');
    assert.equal(table.get(id), undefined);
    const { table: all } = await watched(t);
    assert.equal(all.get(id)?.runtime, 'docker');
  });

  it('says that there is no socket', async (t) => {
    const diary = new FeedDiary();
    const watch = new ContainerdWatch({
      socket: '/nonexistent/containerd.sock',
      table: new ContainerTable({ now: Date.now, kernelSees: () => false }),
      without: [],
      observer: diary,
      chosenLabels: new Set(['team']),
      now: Date.now,
      sleep: (_ms, signal) => new Promise((resolve) => signal.addEventListener('abort', () => resolve())),
      random: Math.random,
    });
    watch.start();
    t.after(() => watch.stop());
    await until(() => diary.lost.length === 1, 'the loss');
    assert.match(diary.lost[0] ?? '', /ENOENT/);
  });
});
