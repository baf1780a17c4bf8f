/** The agent inside a real Docker container: privileged, with the host's processes, without the host's network. */
import assert from 'node:assert/strict';
import { hostname } from 'node:os';
import { after, before, describe, it, type TestContext } from 'node:test';
import type { AgentProcess } from '../agent-process.ts';
import { type Launched, launch, makeCgroup } from '../kills/kills.ts';
import { Docker, dockerPackages } from '../servers/docker.ts';
import { until } from '../sinks/contract.ts';
import { AgentContainer } from './agent-container.ts';
import { loadAgentImage } from './agent-image.ts';
import { firstOf, importVictim, LIMIT, runVictim, toldOf } from './victim-image.ts';

const packages = await dockerPackages();
const skip = 'missing' in packages && packages.missing;
const STORM = 30;

function cgroup(t: TestContext) {
  const group = makeCgroup(LIMIT);
  t.after(() => group.remove());
  return group;
}

/** Waits until each of these is told, then compares every argument of every one. */
async function assertAllTold(agent: AgentProcess, victims: readonly Launched[]): Promise<void> {
  const pids = victims.map(({ pid }) => pid);
  await agent.until(() => agent.of(pids).length >= victims.length, `telling ${victims.length} kills`);
  const told = new Map(agent.of(pids).map((incident) => [incident.process.pid, incident]));
  for (const victim of victims) assert.deepEqual(told.get(victim.pid)?.process.command_args, victim.args);
  assert.equal(agent.of(pids).length, victims.length, 'nothing twice');
}

describe('the agent in a container', { skip }, () => {
  let docker: Docker;
  before(async () => {
    assert.ok('root' in packages);
    docker = await Docker.start(packages.root);
    await importVictim(docker);
    await loadAgentImage(docker);
  });
  after(() => docker?.[Symbol.asyncDispose]());

  for (const cgroupNamespace of ['host', 'private'] as const)
    it(`sees the host and other containers (cgroup namespace: ${cgroupNamespace})`, async (t) => {
      const agent = await (await AgentContainer.create(t, docker, cgroupNamespace)).start();
      const group = cgroup(t);
      const onHost = await launch(group, { count: 1, liveMs: 250, text: ['--index=%d', 'two words', ''] });
      await assertAllTold(agent, onHost);
      const [incident] = agent.of(onHost.map(({ pid }) => pid));
      assert.equal(incident?.host.name, hostname());
      assert.equal(incident?.process.cgroup, group.path);
      assert.equal(incident?.victims[0]?.capture.source, 'exec');

      const container = await runVictim(t, docker, 'hog', '300', 'ü€\n');
      const { process, victims, container: told } = await firstOf(agent, container);
      assert.deepEqual(process.command_args, ['/victim', 'hog', '300', 'ü€\n']);
      assert.equal(victims[0]?.capture.source, 'exec');
      assert.equal(process.cgroup, `${docker.cgroup}/${container}`);
      assert.deepEqual(told, { id: container, runtime: 'docker' });

      // Of most of these the kernel does not print the cgroup: it comes from /proc, as the agent's namespace shows it.
      const stormed = await runVictim(
        t,
        docker,
        ...['launch', '/dev/null', String(STORM), '4', 'exec', '250', '--index=%d'],
      );
      await agent.until(() => toldOf(agent, stormed).length >= STORM, 'telling the storm');
      const storm = toldOf(agent, stormed);
      assert.deepEqual(
        new Set(storm.map(({ process }) => process.command_line)),
        new Set(Array.from({ length: STORM }, (_, index) => `victim hog 250 --index=${index}`)),
      );
      assert.equal(storm.length, STORM, 'nothing twice');
      t.diagnostic(`${storm.filter(({ oom }) => !oom.header_seen).length} of ${STORM} without a header`);
      for (const { process, victims, container } of storm) {
        assert.equal(process.cgroup, `${docker.cgroup}/${stormed}`);
        assert.deepEqual(container, { id: stormed, runtime: 'docker' });
        assert.equal(victims[0]?.capture.source, 'exec');
      }
      assert.ok(!agent.log.some(({ msg }) => String(msg).includes('blind')));
    });

  it('killed with -9 and started again on its volume: nothing lost, nothing twice', async (t) => {
    const container = await AgentContainer.create(t, docker, 'private');
    const first = await container.start();
    const group = cgroup(t);
    const before = await launch(group, { count: 1, liveMs: 250 });
    const inContainer = await runVictim(t, docker, 'hog', '250', '--first');
    await assertAllTold(first, before);
    await firstOf(first, inContainer);

    const isSeen = (index: number) => container.journal().includes(`"--seen=${index}"`);
    const theEndOfTheFirst = async () => {
      await until(() => [0, 1, 2].every(isSeen), 'the victims in the journal');
      await container.kill9();
      await first.exited();
    };
    const missed = await launch(group, {
      count: 3,
      parallel: 3,
      text: ['--seen=%d'],
      until: theEndOfTheFirst,
    });
    const unseen = await launch(group, { count: 1, liveMs: 10, text: ['--unseen'] });

    const second = await container.start();
    await assertAllTold(second, missed);
    const unseenPids = unseen.map(({ pid }) => pid);
    await second.until(() => second.of(unseenPids).length > 0, 'telling the kill that nobody saw');
    assert.equal(second.of(unseenPids)[0]?.process.command_line, undefined);
    const fresh = await launch(group, { count: 1, liveMs: 250 });
    await assertAllTold(second, fresh);
    assert.equal(second.of(before.map(({ pid }) => pid)).length, 0);
    assert.equal(toldOf(second, inContainer).length, 0);
    assert.equal(await second.terminate(), 0);
  });
});
