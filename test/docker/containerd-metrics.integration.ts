/** The metrics of missing-container-metrics, and names, for real kills in containerd's own containers. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { copyFileSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { ContainerdFinder } from '../../src/enrich/containerd.ts';
import { AgentProcess } from '../agent-process.ts';
import { oomKills, victimProgram } from '../kills/kills.ts';
import { cgroupMounts, removeCgroup } from '../servers/cgroups.ts';
import { Docker, dockerPackages } from '../servers/docker.ts';
import { until } from '../sinks/contract.ts';
import { LIMIT, toldOf } from './victim-image.ts';

const packages = await dockerPackages();
const skip = 'missing' in packages && packages.missing;
/** Of containerd: its containers are in cgroups `/NAMESPACE/ID`. */
const NAMESPACE = `oom-witness-test-${process.pid}`;

describe('containerd without Kubernetes', { skip }, () => {
  let docker: Docker;
  let rootfs: string;
  before(async () => {
    assert.ok('root' in packages);
    docker = await Docker.start(packages.root);
    rootfs = path.join(docker.folder, 'rootfs');
    mkdirSync(rootfs);
    copyFileSync(victimProgram(), path.join(rootfs, 'victim'));
  });
  after(async () => {
    await docker?.[Symbol.asyncDispose]();
    for (const mount of cgroupMounts()) removeCgroup(path.join(mount, NAMESPACE));
  });

  const ctr = (...args: readonly string[]) => docker.ctr('-n', NAMESPACE, ...args);

  async function run(t: TestContext, id: string, ...command: readonly string[]): Promise<void> {
    const options = [
      '--detach',
      '--null-io',
      '--rootfs',
      '--memory-limit',
      String(LIMIT),
      ...docker.ctrRunOptions,
    ];
    const labels = ['--label', `nerdctl/name=name-of-${id}`];
    t.after(async () => {
      await ctr('task', 'rm', '--force', id).catch(() => '');
      await ctr('container', 'rm', id).catch(() => '');
    });
    await ctr('run', ...options, ...labels, rootfs, id, ...command);
  }

  it('children killed beside a first process that lives: counted as the kernel counts, under an id of two letters', async (t) => {
    const replace = ['--replace', 'missing-container-metrics', '--bind-address', '127.0.0.1:0'];
    const sockets = ['--docker-socket', 'off', '--containerd-socket', docker.containerdSocket];
    const agent = await AgentProcess.start(t, { args: [...replace, ...sockets] });
    const url = () => agent.log.find(({ program }) => program === 'missing-container-metrics')?.url;
    await agent.until(() => url() !== undefined, 'its port');
    await agent.until(
      () => agent.log.some(({ msg }) => msg === 'following the containers'),
      'following containerd',
    );
    const of = async (id: string) => {
      const text = await (await fetch(new URL('/metrics', String(url())))).text();
      const lines = text.split('\n').filter((line) => line.includes(`container_id="containerd://${id}"`));
      return Object.fromEntries(
        lines.map((line) => [line.slice(0, line.indexOf('{')), Number(line.split(' ').at(-1))]),
      );
    };

    await run(t, 'c1', '/victim', 'launch', '/dev/null', '1', '1', 'exec', '1000000');
    const many = ['/victim', 'launch', '/dev/null', '5', '5', 'exec', '100'];
    await ctr('task', 'exec', '--exec-id', 'second', 'c1', ...many);
    const kernel = () => oomKills(`/${NAMESPACE}/c1`);
    assert.equal(kernel(), 5);
    await until(async () => (await of('c1')).container_ooms === 5, 'five kills');
    assert.deepEqual(await of('c1'), {
      container_restarts: 0,
      container_ooms: 5,
      container_last_exit_code: 0,
    });
    const told = () => agent.incidents.filter(({ container }) => container?.name === 'name-of-c1');
    await agent.until(() => told().length >= 5, 'telling five kills');
    assert.deepEqual(
      told().map(({ container }) => container),
      Array(5).fill({
        id: 'c1',
        name: 'name-of-c1',
        runtime: 'containerd',
        labels: { 'nerdctl/name': 'name-of-c1' },
      }),
    );

    await ctr('task', 'rm', '--force', 'c1');
    await ctr('task', 'start', '--detach', '--null-io', 'c1');
    await until(async () => (await of('c1')).container_restarts === 1, 'the second start');
    assert.equal((await of('c1')).container_last_exit_code, 137);
  });

  it('not followed, it is asked for the name when a kill needs one', async (t) => {
    const agent = await AgentProcess.start(t, { args: ['--docker-socket', 'off'] });
    const id = randomBytes(32).toString('hex');
    await run(t, id, '/victim', 'hog', '300');
    await agent.until(() => toldOf(agent, id).length > 0, 'the kill');
    const incident = toldOf(agent, id)[0] ?? assert.fail();
    assert.deepEqual(incident.container, { id });
    const finder = new ContainerdFinder(() => docker.containerdSocket, new Set());
    assert.equal(finder.concerns(incident), true);
    assert.deepEqual(await finder.find(incident, new AbortController().signal), {
      identity: {
        container: {
          id,
          name: `name-of-${id}`,
          runtime: 'containerd',
          labels: { 'nerdctl/name': `name-of-${id}` },
        },
      },
      isPartial: false,
    });
    const nowhere = new ContainerdFinder(() => undefined, new Set());
    assert.equal(nowhere.concerns(incident), false);
    const broken = new ContainerdFinder(() => '/nonexistent/containerd.sock', new Set());
    await assert.rejects(broken.find(incident, new AbortController().signal), /ENOENT/);
  });
});
