import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { givenAway } from '../../src/kernel/given-pids.ts';
import { ProcFiles } from '../../src/kernel/proc-files.ts';
import { FakeProc } from '../fake-proc.ts';

const LIMITS = { most: 32_768, taken: 100 };
/** Numbers that are skipped: 100 that are taken, 300 that are reserved. */
const SKIPPED = 400;

describe('a process number', () => {
  it('is given away when the kernel has come past it', () => {
    const { to, all } = givenAway({ count: 1_000, last: 5_000 }, { count: 1_050, last: 5_060 }, LIMITS);
    assert.equal(all, false);
    assert.deepEqual([to(5_001), to(5_060), to(5_060 + SKIPPED)], [true, true, true]);
    assert.deepEqual([to(5_061 + SKIPPED), to(5_000), to(4_999), to(1)], [false, false, false, false]);
  });

  it('is given away when the kernel has begun again', () => {
    const { to } = givenAway({ count: 1_000, last: 32_700 }, { count: 1_300, last: 600 }, LIMITS);
    assert.deepEqual([to(32_701), to(0), to(600 + SKIPPED)], [true, true, true]);
    assert.deepEqual([to(601 + SKIPPED), to(32_700), to(20_000)], [false, false, false]);
  });

  it('is any when the kernel has been all the way round, whatever number it gave last', () => {
    const { to, all } = givenAway({ count: 1_000, last: 5_000 }, { count: 34_000, last: 5_010 }, LIMITS);
    assert.deepEqual([all, to(5_000), to(4_999)], [true, true, true]);
  });

  it('is given away to forks that failed, too', () => {
    const { to } = givenAway({ count: 1_000, last: 5_000 }, { count: 1_000, last: 9_000 }, LIMITS);
    assert.equal(to(8_000), true);
  });
});

describe('how many process numbers are given away', () => {
  it('is read from /proc', (t) => {
    const proc = new FakeProc(t);
    const files = new ProcFiles(proc.root);
    assert.deepEqual([files.givenPids(), files.pidLimits()], [undefined, undefined]);
    proc.givenPids({ count: 123_456, last: 789, ...LIMITS });
    assert.deepEqual(files.givenPids(), { count: 123_456, last: 789 });
    assert.deepEqual(files.pidLimits(), LIMITS);
  });

  it('is known of a real kernel', () => {
    const files = new ProcFiles('/proc');
    const given = files.givenPids();
    const limits = files.pidLimits();
    assert.ok(given !== undefined && given.count > 0 && given.last > 0);
    assert.ok(limits !== undefined && limits.most > given.last && limits.taken > 0);
  });
});
