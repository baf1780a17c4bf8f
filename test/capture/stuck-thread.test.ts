import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { THREAD_NAME } from '../../src/capture/stuck-thread.ts';
import { AgentProcess } from '../agent-process.ts';
import { PATIENCE_MS } from '../patience.ts';
import { temporaryFolder } from '../temporary-folder.ts';

const BLOCKED_THREAD = path.join(import.meta.dirname, 'blocked-thread.ts');
const SAYS = 'oom-witness: the capture thread is stuck in the kernel: ending without it';

async function startStuck(t: TestContext, nodeOptions: readonly string[] = []): Promise<AgentProcess> {
  const pipe = path.join(temporaryFolder(t, 'oom-witness-stuck'), 'pipe');
  execFileSync('mkfifo', [pipe]);
  const agent = AgentProcess.launch(t, {
    nodeOptions: ['--import', BLOCKED_THREAD, ...nodeOptions],
    env: { PIPE: pipe },
  });
  await agent.until(() => says(agent, 'started'), 'started');
  while (!isStuck(agent)) await sleep(1);
  return agent;
}

/** Its capture thread waits in openat(2) for a path that is not relative to a descriptor (AT_FDCWD is -100). */
function isStuck({ pid }: AgentProcess): boolean {
  const folder = `/proc/${pid}/task`;
  return readdirSync(folder).some((thread) => {
    try {
      const [name, call] = ['comm', 'syscall'].map((file) =>
        readFileSync(`${folder}/${thread}/${file}`, 'utf8'),
      );
      return name === `${THREAD_NAME}\n` && /^\d+ 0xf+9c /.test(call ?? '');
    } catch {
      return false; // It has ended meanwhile.
    }
  });
}

function says({ log }: AgentProcess, message: string): boolean {
  return log.some(({ msg }) => msg === message);
}

describe('an agent whose capture thread is stuck in the kernel', { timeout: PATIENCE_MS }, () => {
  it('ends when everything is delivered', async (t) => {
    const agent = await startStuck(t);
    assert.equal(await agent.terminate(), 0);
    assert.ok(says(agent, 'drained: every sink has everything'));
    assert.deepEqual(agent.stderr, [SAYS]);
  });

  it('ends at the second signal', async (t) => {
    const agent = await startStuck(t);
    agent.signal('SIGINT');
    // Again and again: what comes within half a second is the same wish, and in three it has left.
    const again = setInterval(() => agent.signal('SIGTERM'), 100);
    t.after(() => clearInterval(again));
    assert.equal(await agent.exited(), 143);
    assert.deepEqual(agent.stderr, [SAYS]);
  });

  it('is killed by itself without node:ffi', async (t) => {
    const agent = await startStuck(t, ['--no-experimental-ffi']);
    assert.equal(await agent.terminate(), null);
    assert.ok(says(agent, 'drained: every sink has everything'));
    assert.deepEqual(agent.stderr, [SAYS]);
  });
});
