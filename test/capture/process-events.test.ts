import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { it } from 'node:test';
import { openProcessEvents } from '../../src/capture/process-events.ts';
import { type Libc, loadLibc } from '../../src/kernel/libc.ts';
import { EXIT, event, FakeKernel } from '../kernel/fake-kernel.ts';

const loaded = loadLibc();
const missing = process.geteuid?.() !== 0 ? 'needs root' : 'missing' in loaded && loaded.missing;
const NOBODY = { fork() {}, thread() {}, exec() {}, exit() {} };

/** One that has been executed before anybody listens, in the place of a probe. */
async function probedWith(libc: Libc): Promise<Libc> {
  const child = spawn('cat');
  child.stdin.write('.');
  await once(child.stdout, 'data');
  // Who proves with it takes its end, which Node.js would wait for in vain.
  for (const handle of [child, child.stdin as Socket, child.stdout as Socket]) handle.unref();
  return {
    ...libc,
    posix_spawn(pid: Buffer) {
      pid.writeInt32LE(child.pid as number);
      return 0;
    },
  };
}

it('a probe that dies before its exec is told proves process events by its end', {
  skip: missing,
}, async () => {
  assert.ok('libc' in loaded);
  const libc = await probedWith(loaded.libc);
  openProcessEvents(libc, '/proc', NOBODY, () => performance.now()).close();
});

it('a probe whose end is told while this thread stands still, for longer than it is waited for, proves them', () => {
  const PROBE = 4711;
  const kernel = new FakeKernel();
  const clock = { now: 0 };
  const libc = {
    ...kernel.libc,
    addressOf: () => 0n,
    posix_spawn: (pid: Buffer) => {
      pid.writeInt32LE(PROBE);
      return 0;
    },
    kill: () => 0,
    waitpid: () => PROBE,
    eventfd: () => 7,
    poll: () => {
      clock.now = 60_000;
      kernel.receive(event(EXIT, 0n, PROBE, PROBE, 9, 17, 1, 1));
      return 1;
    },
  } as Partial<Libc> as Libc;
  openProcessEvents(libc, '/nonexistent', NOBODY, () => clock.now).close();
});
