import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import type { Incident } from '../../src/incident.ts';
import { AgentProcess, freshStateDir } from '../agent-process.ts';
import { KernelLog } from '../kills/kernel-log.ts';
import { type Launched, launch, makeCgroup, whyNoKills } from '../kills/kills.ts';
import { PATIENCE_MS } from '../patience.ts';

const skip = whyNoKills() ?? false;
const LIMIT = 16 << 20;

function cgroup(t: TestContext) {
  const group = makeCgroup(LIMIT);
  t.after(() => group.remove());
  return group;
}

/** Waits until each of these has an incident, then compares every argument of every one. */
async function assertAllTold(agent: AgentProcess, victims: readonly Launched[]): Promise<void> {
  const pids = victims.map(({ pid }) => pid);
  await agent.until(() => agent.of(pids).length >= victims.length, `telling ${victims.length} kills`);
  const told = new Map(agent.of(pids).map((incident) => [incident.process.pid, incident]));
  for (const { pid, args } of victims) {
    const incident = told.get(pid);
    assert.deepEqual(incident?.process.command_args, args, `unknown: ${JSON.stringify(incident?.unknown)}`);
  }
  assert.equal(agent.of(pids).length, victims.length, 'nothing twice');
}

/** Whether the agent says that it could not read the record: what the ring loses while no agent runs is lost. */
function isLost({ log }: AgentProcess, sequence: number | undefined): boolean {
  return log.some(({ msg, sequence: end, times = 1 }) => {
    if (msg !== 'kmsg: records were overwritten before they were read' || sequence === undefined)
      return false;
    return sequence < Number(end) && sequence >= Number(end) - Number(times);
  });
}

describe('real kills', { skip }, () => {
  it('tells one with its full command line, its cgroup, its limit and what filled it', async (t) => {
    const group = cgroup(t);
    const agent = await AgentProcess.start(t);
    const text = ['--index=%d', 'two words', '', 'ü€\n', 'x'.repeat(5_000)];
    let incident: Incident | undefined;
    // The kernel prints ten headers in five seconds, and other tests may have used them up.
    const end = performance.now() + PATIENCE_MS;
    while (!incident?.oom.header_seen && performance.now() < end) {
      const victims = await launch(group, { count: 1, until: (pids) => agent.knows(pids), text });
      await assertAllTold(agent, victims);
      [incident] = agent.of(victims.map(({ pid }) => pid));
    }
    assert.ok(incident);
    assert.equal(incident.oom.scope, 'cgroup');
    assert.equal(incident.oom.limit_cgroup, group.path);
    assert.equal(incident.oom.limit, LIMIT);
    assert.equal(incident.process.cgroup, group.path);
    assert.equal(incident.process.name, 'victim');
    assert.match(incident.process.executable?.path ?? '', /victim$/);
    assert.equal(incident.victims[0]?.capture.source, 'exec');
    assert.ok((incident.victims[0]?.memory?.anon_rss ?? 0) > LIMIT / 2);
    assert.equal(await agent.terminate(), 0);
  });

  it('tells every one of a storm, most of them without a header', async (t) => {
    const group = cgroup(t);
    const agent = await AgentProcess.start(t);
    const victims: Launched[] = [];
    for (let round = 0; round < 5; round++) {
      const together = { count: 20, parallel: 20, until: (pids: readonly number[]) => agent.knows(pids) };
      victims.push(...(await launch(group, together)));
      await assertAllTold(agent, victims);
    }
    const headerless = agent.of(victims.map(({ pid }) => pid)).filter(({ oom }) => !oom.header_seen);
    // 20 at once, and the kernel prints ten headers in five seconds.
    assert.ok(headerless.length > 0);
    for (const { process } of headerless) assert.equal(process.cgroup, group.path);
  });

  it('gives a worker that never called exec the command line of its parent', async (t) => {
    const agent = await AgentProcess.start(t);
    const until = (pids: readonly number[]) => agent.knows(pids, 'launch');
    const victims = await launch(cgroup(t), { count: 5, mode: 'fork', until });
    await assertAllTold(agent, victims);
    // Half a second after its fork a child is read again: it is in another cgroup than its parent.
    for (const incident of agent.of(victims.map(({ pid }) => pid)))
      assert.match(`${incident.victims[0]?.capture.source}`, /^(inherited|scan)$/);
  });

  it('knows processes that were there before it', async (t) => {
    const started = Promise.withResolvers<AgentProcess>();
    const until = async () => started.resolve(await AgentProcess.start(t));
    const victims = await launch(cgroup(t), { count: 3, parallel: 3, until });
    await assertAllTold(await started.promise, victims);
  });

  it('works in another network namespace than the host’s', async (t) => {
    const agent = await AgentProcess.start(t, { wrapper: ['unshare', '-n'] });
    const victims = await launch(cgroup(t), { count: 5, until: (pids) => agent.knows(pids) });
    await assertAllTold(agent, victims);
    assert.equal(agent.of(victims.map(({ pid }) => pid))[0]?.victims[0]?.capture.source, 'exec');
  });

  it('tells after a restart what it missed, once, with what it had seen alive before', async (t) => {
    const stateDir = freshStateDir(t);
    const group = cgroup(t);
    const first = await AgentProcess.start(t, { stateDir });
    const before = await launch(group, { count: 1, until: (pids) => first.knows(pids) });
    await assertAllTold(first, before);
    const until = async (pids: readonly number[]) => {
      await first.knows(pids);
      await first.kill9();
    };
    const missed = await launch(group, { count: 3, parallel: 3, until, text: ['--seen=%d'] });
    const unseen = await launch(group, { count: 1, liveMs: 10, text: ['--unseen'] });

    const second = await AgentProcess.start(t, { stateDir });
    await assertAllTold(second, missed);
    const pids = [...before, ...unseen].map(({ pid }) => pid);
    await second.until(() => second.of(pids).length > 0, 'telling the kill that nobody saw');
    const [late] = second.of(pids);
    assert.equal(late?.process.pid, unseen[0]?.pid, 'the kill that was told before is not told again');
    assert.equal(late?.process.command_line, undefined);
    assert.match(late?.unknown?.['process.command_line'] ?? '', /while the agent was down/);
    await second.terminate();

    const third = await AgentProcess.start(t, { stateDir });
    const fresh = await launch(group, { count: 1, until: (pids) => third.knows(pids) });
    await assertAllTold(third, fresh);
    assert.equal(third.of([...pids, ...missed.map(({ pid }) => pid)]).length, 0);
  });

  it('reports no history on its first start', async (t) => {
    const group = cgroup(t);
    const history = await launch(group, { count: 1 });
    const agent = await AgentProcess.start(t);
    const news = await launch(group, { count: 1, until: (pids) => agent.knows(pids) });
    await assertAllTold(agent, news);
    assert.equal(agent.of(history.map(({ pid }) => pid)).length, 0);
  });

  it('without node:ffi reads the kernel log and scans /proc', async (t) => {
    const agent = await AgentProcess.start(t, { nodeOptions: ['--no-experimental-ffi'] });
    const victims = await launch(cgroup(t), { count: 3, until: (pids) => agent.knows(pids) });
    await assertAllTold(agent, victims);
    for (const incident of agent.of(victims.map(({ pid }) => pid)))
      assert.equal(incident.victims[0]?.capture.source, 'scan');
  });

  it('loses nothing when it is killed twenty times during a storm', async (t) => {
    const stateDir = freshStateDir(t);
    const kernel = KernelLog.follow(t);
    const group = cgroup(t);
    const runs: AgentProcess[] = [];
    /** Whom an agent had seen alive when it was killed. */
    const seen = new Set<number>();
    const storm: Promise<readonly Launched[]>[] = [];
    for (let kill = 0; kill < 20; kill++) {
      const agent = await AgentProcess.start(t, { stateDir });
      const from = Date.now();
      runs.push(agent);
      // It goes on while no agent runs, but not for as long as one takes to start on a busy machine: a ring of 128 KiB holds 150 kills.
      storm.push(launch(group, { count: 15, parallel: 4, liveMs: 250 }));
      // Not only what it has missed: others have been alive under its eyes, too, and some of them die when it is gone.
      await agent.until(
        () => agent.incidents.some(({ time }) => Date.parse(time) > from),
        'telling a new kill',
      );
      for (const [pid, args] of agent.journal()) if (args[1] === 'hog') seen.add(pid);
      await agent.kill9();
    }
    const last = await AgentProcess.start(t, { stateDir });
    runs.push(last);
    const victims = (await Promise.all(storm)).flat();
    const told = () =>
      new Map(runs.flatMap((run) => run.incidents).map((incident) => [incident.process.pid, incident]));
    const lost = (pid: number) => runs.some((run) => isLost(run, kernel.killed(pid)));
    await last.until(() => victims.every(({ pid }) => told().has(pid) || lost(pid)), 'telling every kill');
    const found = victims.filter(({ pid }) => told().has(pid));
    assert.ok(
      found.length > victims.length / 2,
      `only ${found.length} kills were still in the kernel's ring`,
    );
    for (const { pid, args, early } of found) {
      if (early) continue;
      const incident = told().get(pid);
      if (seen.has(pid) || incident?.process.command_args !== undefined)
        assert.deepEqual(
          incident?.process.command_args,
          args,
          `${pid}: ${JSON.stringify(incident?.unknown)}`,
        );
    }
    assert.ok(found.some(({ pid }) => seen.has(pid)));
  });
});
