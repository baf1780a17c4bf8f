import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setup } from './processes.ts';

describe('looking up a process', () => {
  it('has a last look at /proc for whoever it has never heard of, but not at a successor', (t) => {
    const { proc, clock, lookup } = setup(t);
    clock.now = 60_000;
    proc.set(7, { args: ['late'], startTicks: 5_000 });
    assert.deepEqual(lookup.capture(7, 59_000)?.args, ['late']);
    assert.equal(lookup.capture(7, 59_000)?.source, 'live');
    assert.equal(lookup.capture(7, 40_000), undefined);
    assert.equal(lookup.capture(8, 40_000), undefined);
  });
});
