/** Kills inside containers of a real podman: named from its own files, because it has no daemon. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFileSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { PodmanFinder } from '../../src/enrich/podman.ts';
import { AgentProcess } from '../agent-process.ts';
import { containerKill } from '../incidents.ts';
import { victimProgram, waitsForSigterm } from '../kills/kills.ts';
import { Podman, podman5Packages, podmanPackages } from '../servers/podman.ts';
import { until } from '../sinks/contract.ts';
import { toldOf } from './victim-image.ts';

const packages5 = await podman5Packages();
const packages = await podmanPackages();
const skip = 'missing' in packages && packages.missing;
const NEVER = new AbortController().signal;

describe('podman', { skip }, () => {
  let podman: Podman;
  before(async () => {
    assert.ok('root' in packages);
    podman = new Podman(packages.root);
    const image = path.join(podman.root, 'image');
    mkdirSync(image);
    copyFileSync(victimProgram(), path.join(image, 'victim'));
    const archive = path.join(podman.root, 'image.tar');
    await promisify(execFile)('tar', ['-C', image, '-cf', archive, '.']);
    await podman.command('import', archive, 'localhost/victim:7');
  });
  after(() => podman?.[Symbol.asyncDispose]());

  for (const [name, options] of Object.entries({ stays: [], 'goes-at-its-end': ['--rm'] }))
    it(`a kill in a container that ${name} has its name and image`, async (t) => {
      const agent = await AgentProcess.start(t);
      const container = ['--memory', '16m', '--name', name, 'localhost/victim:7'];
      const id = await podman.run(...options, ...container, '/victim', 'hog', 'SIGTERM');
      const pids = await podman.command('inspect', '--format', '{{.State.Pid}} {{.State.ConmonPid}}', id);
      const [victim, conmon] = pids.split(' ').map(Number) as [number, number];
      await until(() => waitsForSigterm(victim), 'the victim');
      // It has the container removed, which must be there until this test has asked for it, too.
      process.kill(conmon, 'SIGSTOP');
      t.after(() => process.kill(conmon, 'SIGCONT'));
      process.kill(victim, 'SIGTERM');
      await agent.until(() => toldOf(agent, id).length > 0, 'the kill');
      const incident = toldOf(agent, id)[0] ?? assert.fail();
      assert.equal(incident.process.cgroup, `${podman.cgroup}/libpod-${id}`);
      assert.deepEqual(incident.container, { id, runtime: 'podman' });
      const finder = new PodmanFinder(['/nonexistent', podman.root], new Set());
      assert.equal(finder.concerns(incident), true);
      const { identity } = (await finder.find(incident, NEVER)) ?? assert.fail('not found');
      const { image, ...rest } = identity.container ?? {};
      assert.deepEqual(rest, { id, name, runtime: 'podman' });
      assert.equal(image?.name, 'localhost/victim:7');
      assert.match(image?.id ?? '', /^sha256:[\da-f]{64}$/);
    });
});

it('the labels of a container of podman 5 stand in its database', {
  skip: 'missing' in packages5 && packages5.missing,
}, async (t) => {
  assert.ok('root' in packages5);
  const podman = new Podman(packages5.root);
  t.after(() => podman[Symbol.asyncDispose]());
  const rootfs = path.join(podman.root, 'rootfs');
  mkdirSync(rootfs);
  const labels = ['team=fruit', 'secret=x', 'com.docker.compose.project=shop'];
  const options = ['--network=none', '--name', 'shop', ...labels.flatMap((label) => ['--label', label])];
  const id = await podman.command('create', ...options, '--rootfs', rootfs, '/sleep');
  const { k8s: _, ...incident } = containerKill();
  const finder = new PodmanFinder([podman.root], new Set(['team']));
  const finding = await finder.find({ ...incident, container: { id, runtime: 'podman' } }, NEVER);
  const { name, labels: found } = finding?.identity.container ?? {};
  assert.equal(name, 'shop');
  assert.deepEqual(found, { team: 'fruit', 'com.docker.compose.project': 'shop' });
});
