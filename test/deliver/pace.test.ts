import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Pace, type Try, type Verdict } from '../../src/deliver/pace.ts';
import { DELIVERED, type Outcome } from '../../src/sink.ts';

const RETRY: Outcome = { kind: 'retry', reason: 'no' };
const one = (id: string, outcome: Outcome, attempts = 0, nextAt = 0): Try => ({
  id,
  attempts,
  nextAt,
  outcome,
});
const others = () => true;
/** Full jitter that says "all of it". */
const pace = (batchSize = 100) => new Pace(batchSize, () => 0.999_999_9);

function putOffUntil({ settlements: [first] }: Verdict): number {
  assert.ok(first?.kind === 'retry');
  return first.nextAt;
}

test('where the rest gets through, only the failed one waits, and the sink goes on at once', () => {
  const verdict = pace().judge([one('a', DELIVERED), one('b', RETRY), one('c', DELIVERED)], 5000, others);
  assert.equal(verdict.pauseMs, 0);
  assert.deepEqual(verdict.settlements, [
    { id: 'a', kind: 'done' },
    { id: 'b', kind: 'retry', nextAt: 6000, reason: 'no' },
    { id: 'c', kind: 'done' },
  ]);
});

test('where nothing gets through, everything keeps its place and the sink rests', () => {
  const verdict = pace().judge([one('a', RETRY), one('b', RETRY)], 5000, others);
  assert.equal(verdict.pauseMs, 1000);
  assert.deepEqual(
    verdict.settlements.map((settlement) => settlement.kind === 'retry' && settlement.nextAt),
    [0, 0],
  );
});

test('a partly refused batch with Retry-After rests too', () => {
  const busy: Outcome = { kind: 'retry', reason: '429', afterMs: 30_000 };
  const it = new Pace(100, () => 0);
  assert.equal(it.judge([one('a', DELIVERED), one('b', busy)], 5000, others).pauseMs, 30_000);
  assert.equal(it.aloneMs(20_000), 15_000);
  assert.equal(it.aloneMs(35_000), 0);
});

test('the agents of a cluster, who are all told the same by a receiver that is overrun, do not return together', () => {
  const busy: Outcome = { kind: 'retry', reason: '429', afterMs: 30_000 };
  const pauses = (first: Outcome) =>
    [0, 0.5, 1].map((random) => {
      const it = new Pace(100, () => random);
      return it.judge([one('a', first), one('b', busy)], 5000, others).pauseMs;
    });
  assert.deepEqual(pauses(DELIVERED), [30_000, 45_000, 60_000]);
  assert.deepEqual(pauses(busy), [30_000, 45_000, 60_000]);
});

test('a wall clock that is set back does not make a wish endless', () => {
  const it = pace();
  it.judge([one('a', { kind: 'retry', reason: '429', afterMs: 30_000 })], 1e12, others);
  assert.equal(it.aloneMs(0), 0);
});

test('a suspect travels alone: neither with those before it nor with those behind it', () => {
  const fresh = { attempts: 0, nextAt: 0 };
  const suspect = { attempts: 4, nextAt: 99 };
  assert.equal(pace().together([fresh, fresh, suspect, fresh]), 2);
  assert.equal(pace().together([suspect, fresh]), 1);
  assert.equal(pace().together([fresh, { attempts: 9, nextAt: 0 }]), 2);
});

test('a suspect that fails says nothing about the sink', () => {
  const it = pace();
  for (let n = 0; n < 20; n++) assert.equal(it.judge([one('a', RETRY, 4 + n, 99)], 5000, others).pauseMs, 0);
  assert.equal(it.judge([one('b', RETRY)], 5000, others).pauseMs, 1000);
});

test('a day of outage passes by a dozen incidents at the most, and gives them their places back', () => {
  const it = pace(1);
  let passedBy = 0;
  for (let n = 0; n < 24 * 60; n++) {
    if (putOffUntil(it.judge([one(`i${passedBy}`, RETRY, 10)], 5000, others)) > 0) passedBy += 1;
  }
  assert.ok(passedBy >= 2 && passedBy <= 12, String(passedBy));
  assert.equal(it.judge([one('z', DELIVERED)], 5000, others).release.length, passedBy);
});

test('two poisonous incidents side by side get their places back once, not for ever', () => {
  const it = pace(1);
  const released: number[] = [];
  for (let round = 0; round < 3; round++) {
    for (let n = 0; n < 6; n++) it.judge([one(n < 3 ? 'a' : 'b', RETRY, 10)], 5000, others);
    released.push(it.judge([one(`good ${round}`, DELIVERED)], 5000, others).release.length);
  }
  assert.deepEqual(released, [2, 0, 0]);
});

test('an incident that nobody could pass keeps its place', () => {
  const it = pace(1);
  for (let n = 0; n < 10; n++) {
    assert.equal(putOffUntil(it.judge([one('a', RETRY, n)], 5000, () => false)), 0);
  }
});

test('who failed before waits by his own count, alone or among others', () => {
  const among = pace().judge([one('a', DELIVERED), one('b', RETRY, 3)], 5000, others).settlements[1];
  assert.deepEqual(among, { id: 'b', kind: 'retry', nextAt: 5000 + 8000, reason: 'no' });
  const suspect = pace().judge([one('a', RETRY, 4, 99)], 5000, others);
  assert.equal(putOffUntil(suspect), 5000 + 16_000);
  assert.equal(suspect.delayMs, 16_000);
});

test('only the third failure of an incident lets others pass it, and then it waits longer than the sink', () => {
  for (const [attempts, nextAt] of [
    [1, 0],
    // The sink rests for 4 s after its third failure, the incident for as long after its own third.
    [2, 5000 + 4000 + 4000],
  ] as const) {
    const it = pace(1);
    it.afterFailure();
    it.afterFailure();
    assert.equal(putOffUntil(it.judge([one('a', RETRY, attempts)], 5000, others)), nextAt);
  }
});
