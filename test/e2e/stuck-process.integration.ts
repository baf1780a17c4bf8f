import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { createInterface } from 'node:readline';
import { describe, it, type TestContext } from 'node:test';
import { AgentProcess } from '../agent-process.ts';
import { launch, makeCgroup, testProgram, whyNoKills } from '../kills/kills.ts';
import { temporaryFolder } from '../temporary-folder.ts';

const LIMIT = 16 << 20;

function whyNotStuck(): string | undefined {
  if (process.getBuiltinModule('node:ffi') === undefined) return 'no node:ffi';
  try {
    accessSync('/dev/fuse', constants.W_OK);
  } catch {
    return 'needs /dev/fuse';
  }
  return whyNoKills();
}

/** A process that keeps everybody waiting who wants to read its command line. */
async function startStuck(t: TestContext): Promise<void> {
  const server = spawn(testProgram('stuck'), [temporaryFolder(t, 'oom-witness-stuck')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(() => server.kill('SIGKILL'));
  for await (const pid of createInterface({ input: server.stdout })) {
    assert.match(pid, /^\d+$/);
    return;
  }
  assert.fail('there is no stuck process');
}

async function assertKillTold(t: TestContext, agent: AgentProcess): Promise<void> {
  const group = makeCgroup(LIMIT);
  t.after(() => group.remove());
  const [victim] = await launch(group, { count: 1, liveMs: 3_000 });
  assert.ok(victim);
  await agent.until(() => agent.of([victim.pid]).length === 1, 'telling the kill');
  assert.deepEqual(agent.of([victim.pid])[0]?.process.command_args, victim.args);
}

// Here and not among those that run side by side: ps(1) waits for it, too, and every agent for a moment.
describe('a process whose command line cannot be read', {
  skip: whyNotStuck() ?? false,
  timeout: 120_000,
}, () => {
  it('does not keep an agent from starting, from telling kills, and from ending', async (t) => {
    await startStuck(t);
    const agent = await AgentProcess.start(t);
    await assertKillTold(t, agent);
    assert.equal(await agent.terminate(), 0);
    assert.deepEqual(agent.stderr, []);
  });

  it('does not stop an agent that reads it again', async (t) => {
    const agent = await AgentProcess.start(t);
    await startStuck(t);
    await assertKillTold(t, agent);
    assert.equal(await agent.terminate(), 0);
    assert.deepEqual(agent.stderr, []);
  });
});
