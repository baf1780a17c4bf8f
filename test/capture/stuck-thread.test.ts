import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type AgentOptions, AgentProcess, freshStateDir } from '../agent-process.ts';

const SAYS = 'oom-witness: the capture thread is stuck in the kernel: ending without it';

/** Its capture thread waits in open(2), for ever: nobody writes to what it finds in the place of its journal. */
async function startStuck(t: TestContext, options: AgentOptions = {}): Promise<AgentProcess> {
  const stateDir = freshStateDir(t);
  execFileSync('mkfifo', [path.join(stateDir, 'processes.jsonl')]);
  const agent = AgentProcess.launch(t, { ...options, stateDir });
  await agent.until(() => says(agent, 'started'), 'started');
  while (!isStuck(agent)) await sleep(1);
  return agent;
}

/** A thread of it waits in openat(2) for a path that is not relative to a descriptor (AT_FDCWD is -100). */
function isStuck({ pid }: AgentProcess): boolean {
  const folder = `/proc/${pid}/task`;
  return readdirSync(folder).some((thread) =>
    /^\d+ 0xf+9c /.test(readFileSync(`${folder}/${thread}/syscall`, 'utf8')),
  );
}

function says({ log }: AgentProcess, message: string): boolean {
  return log.some(({ msg }) => msg === message);
}

describe('an agent whose capture thread is stuck in the kernel', { timeout: 60_000 }, () => {
  it('ends when everything is delivered', async (t) => {
    const agent = await startStuck(t);
    assert.equal(await agent.terminate(), 0);
    assert.ok(says(agent, 'drained: every sink has everything'));
    assert.deepEqual(agent.stderr, [SAYS]);
  });

  it('ends at the second signal', async (t) => {
    const agent = await startStuck(t);
    agent.signal('SIGTERM');
    await agent.until(() => says(agent, 'leaving'), 'leaving');
    assert.equal(await agent.terminate(), 143);
    assert.deepEqual(agent.stderr, [SAYS]);
  });

  it('is killed by itself without node:ffi', async (t) => {
    const agent = await startStuck(t, { nodeOptions: ['--no-experimental-ffi'] });
    assert.equal(await agent.terminate(), null);
    assert.ok(says(agent, 'drained: every sink has everything'));
    assert.deepEqual(agent.stderr, [SAYS]);
  });
});
