import assert from 'node:assert/strict';
import { test } from 'node:test';
import { backoffMs, spreadWish } from '../../src/net/backoff.ts';

const all = () => 1;

test('from a second to a minute, doubled each time', () => {
  assert.deepEqual(
    [1, 2, 3, 6, 7, 8, 5000].map((failures) => backoffMs(failures, all)),
    [1000, 2000, 4000, 32_000, 60_000, 60_000, 60_000],
  );
});

test('full jitter: anything up to that, but never at once', () => {
  assert.equal(
    backoffMs(4, () => 0.25),
    2000,
  );
  assert.equal(
    backoffMs(4, () => 0),
    100,
  );
});

test("never shorter than the server's own wish, and that is believed up to an hour", () => {
  assert.equal(backoffMs(1, all, 30_000), 30_000);
  assert.equal(backoffMs(6, all, 5000), 32_000);
  assert.equal(backoffMs(1, all, 86_400_000), 3_600_000);
});

test('a wish that is no number of milliseconds is no wish', () => {
  for (const wish of [Number.NaN, -5, 0, undefined, Number.NEGATIVE_INFINITY])
    assert.equal(backoffMs(1, all, wish), 1000, String(wish));
  assert.equal(backoffMs(1, all, Number.POSITIVE_INFINITY), 3_600_000);
});

test('who is told the same returns at another time, later than it was told', () => {
  assert.deepEqual(
    [0, 0.5, 1].map((random) => spreadWish(30_000, () => random)),
    [30_000, 45_000, 60_000],
  );
  assert.equal(spreadWish(undefined, all), 0);
  assert.equal(spreadWish(86_400_000, all), 3_600_000);
});
