import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TokenBucket } from '../../src/kubernetes/token-bucket.ts';

const RATE = { burst: 3, everyMs: 1000 };

test('a burst at once, then one in so much time', () => {
  const bucket = new TokenBucket(RATE, 0);
  assert.equal(bucket.available(0), 3);
  assert.deepEqual(
    [0, 0, 0, 0, 0].map((now) => bucket.take(now)),
    [0, 0, 0, 1000, 2000],
  );
  assert.equal(bucket.available(2000), 0);
  assert.equal(bucket.take(2500), 500);
});

test('after a rest the burst is there again, and no more than that', () => {
  const bucket = new TokenBucket(RATE, 0);
  for (let taken = 0; taken < 3; taken++) bucket.take(0);
  assert.equal(bucket.available(999), 0);
  assert.equal(bucket.available(1000), 1);
  assert.equal(bucket.isFull(2999), false);
  assert.equal(bucket.isFull(3000), true);
  assert.equal(bucket.available(3_600_000), 3);
});

test('a clock that is set back gives and takes nothing', () => {
  const bucket = new TokenBucket(RATE, 86_400_000);
  for (let taken = 0; taken < 4; taken++) bucket.take(86_400_000);
  assert.equal(bucket.available(0), 0);
  assert.equal(bucket.take(0), 2000);
  assert.equal(bucket.available(3000), 1);
});
