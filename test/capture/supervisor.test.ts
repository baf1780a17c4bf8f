import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import type { CaptureMessage } from '../../src/capture/protocol.ts';
import { CaptureSupervisor, type CaptureThread } from '../../src/capture/supervisor.ts';

const ARMED: CaptureMessage = {
  type: 'armed',
  status: {
    kernelLog: { works: true },
    processEvents: { works: true },
    processes: 3,
    restored: 0,
  },
};

/** Supervises threads that say and do what the test decides, in a process that is a second old. */
function setup(t: TestContext) {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const clock = { now: 1_000, silent: 0 };
  const stopped = { resolve: () => {} };
  const threads: { say: (message: CaptureMessage) => void; fail: () => void; after: number | undefined }[] =
    [];
  const heard: string[] = [];
  let sequence = 0;
  const supervisor = new CaptureSupervisor(
    {
      open: (received, failed) => {
        const thread = {
          say: received,
          fail: () => failed(new Error('recv: EBADF')),
          after: undefined as number | undefined,
        };
        threads.push(thread);
        return {
          resume: ({ after }) => {
            thread.after = after !== undefined && 'sequence' in after ? after.sequence : undefined;
          },
          silentMs: () => clock.silent,
          stop: () => new Promise<void>((resolve) => (stopped.resolve = resolve)),
        } as Partial<CaptureThread> as CaptureThread;
      },
      resumption: () => ({ after: { sequence: ++sequence }, keepsJournal: true }),
      received: ({ type }) => heard.push(type),
      failed: (problem) => heard.push(problem),
      now: () => clock.now,
    },
    undefined,
  );
  const pass = (ms: number) => {
    clock.now += ms;
    t.mock.timers.tick(ms);
  };
  const last = () => threads.at(-1) as (typeof threads)[number];
  return { supervisor, threads, last, heard, clock, pass, stopped };
}

describe('a capture thread that fails', () => {
  it('is followed by another one, half a second later, from where it stopped', (t) => {
    const { supervisor, threads, last, heard, pass } = setup(t);
    supervisor.resume();
    last().say(ARMED);
    last().fail();
    assert.equal(supervisor.problem, 'recv: EBADF');
    pass(499);
    assert.equal(threads.length, 1);
    pass(1);
    assert.deepEqual(
      threads.map(({ after }) => after),
      [1, 2],
    );
    assert.equal(supervisor.status, undefined, 'what was said of the one before does not hold for it');
    assert.equal(supervisor.problem, 'recv: EBADF', 'until it is armed');
    pass(20);
    assert.equal(supervisor.age, 20);
    last().say(ARMED);
    assert.equal(supervisor.problem, undefined);
    assert.deepEqual(heard, ['armed', 'recv: EBADF', 'armed']);
  });

  it('before it may tell kills is followed by one that may not either', (t) => {
    const { supervisor, threads, last, pass } = setup(t);
    last().fail();
    pass(500);
    assert.equal(threads.length, 2);
    assert.equal(last().after, undefined);
    supervisor.resume();
    assert.equal(last().after, 1);
  });

  it('soon after its start is followed later each time, and after five nobody believes in the next', (t) => {
    const { supervisor, threads, last, pass } = setup(t);
    for (const [failures, wait] of [
      500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000,
    ].entries()) {
      assert.equal(supervisor.isAlive, failures < 5, `after ${failures} failures`);
      last().fail();
      pass(wait - 1);
      assert.equal(threads.length, failures + 1, `${wait} ms`);
      pass(1);
      assert.equal(threads.length, failures + 2, `${wait} ms`);
    }
  });

  it('after it has run for more than a minute is followed at once again', (t) => {
    const { threads, last, pass } = setup(t);
    for (const wait of [500, 1_000, 2_000]) {
      last().fail();
      pass(wait);
    }
    last().say(ARMED);
    pass(60_001);
    last().fail();
    pass(500);
    assert.equal(threads.length, 5);
  });

  it('is not followed when all is to end', async (t) => {
    const { supervisor, threads, last, pass, stopped } = setup(t);
    last().fail();
    const end = supervisor.stop();
    stopped.resolve();
    await end;
    pass(60_000);
    assert.equal(threads.length, 1);
  });
});

describe('a capture thread that runs for a minute after many failures', () => {
  it('is believed in again', (t) => {
    const { supervisor, last, pass } = setup(t);
    for (const wait of [500, 1_000, 2_000, 4_000, 8_000]) {
      last().fail();
      pass(wait);
    }
    last().say(ARMED);
    pass(60_000);
    assert.equal(supervisor.isAlive, false);
    pass(1);
    assert.equal(supervisor.isAlive, true);
    last().fail();
    assert.equal(supervisor.isAlive, true, 'and its failure is the first in a row');
  });
});

describe('a capture thread that stands still', () => {
  for (const when of ['before it is armed', 'when it is armed'])
    it(`${when} is a problem that only a new process solves, and none when it moves again`, (t) => {
      const { supervisor, last, clock } = setup(t);
      if (when === 'when it is armed') last().say(ARMED);
      clock.silent = 15_001;
      assert.equal(supervisor.problem, 'capture stands still');
      assert.equal(supervisor.isAlive, false);
      clock.silent = 15_000;
      assert.equal(supervisor.problem, undefined);
      assert.equal(supervisor.isAlive, true);
    });

  it('is not one that takes long to start and gives signs of life', (t) => {
    const { supervisor, clock, pass } = setup(t);
    clock.silent = 1_000;
    pass(600_000);
    assert.equal(supervisor.problem, undefined);
    assert.equal(supervisor.isAlive, true);
  });

  it('is waited for at the end for three seconds', async (t) => {
    const { supervisor, pass } = setup(t);
    let ended = false;
    const end = supervisor.stop().then(() => {
      ended = true;
    });
    pass(2_999);
    await Promise.resolve();
    assert.equal(ended, false);
    pass(1);
    await end;
  });
});

it('what a thread has said last of the kernel’s log is its status', (t) => {
  const { supervisor, last } = setup(t);
  const works = () => supervisor.status?.kernelLog.works;
  const blind: CaptureMessage = { type: 'kernel-log', reader: { works: false, problem: 'EACCES' } };
  last().say(blind);
  assert.equal(works(), undefined, 'it has not been armed');
  last().say(ARMED);
  assert.equal(works(), true);
  last().say(blind);
  assert.equal(works(), false);
});
