import assert from 'node:assert/strict';
import { test } from 'node:test';
import { timeOfKill } from '../../src/watch/log-time.ts';

const ARRIVED = Date.parse('2026-11-21T03:14:15.926Z');
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/** How many minutes before its arrival a line without a time zone, that is stamped so much before it, is told to be. */
function told(stampedBefore: number): { minutes: number; isAnotherZone: boolean } {
  const stamp = {
    facility: 0,
    level: 6,
    sequence: 0,
    text: '',
    wallTime: ARRIVED - stampedBefore,
    doubt: 'zone',
  };
  const { wall = 0, doubt } = timeOfKill(stamp, ARRIVED);
  return { minutes: (ARRIVED - wall) / MINUTE, isAnotherZone: doubt !== 'zone' };
}

test('a line that was held up is of the time that it says, and never of one to come', () => {
  for (const minutes of [0, 1, 8, 13])
    assert.deepEqual(told(minutes * MINUTE), { minutes, isAnotherZone: false }, `${minutes} min`);
});

test('a line of another time zone is of the last quarter of an hour', () => {
  for (const zone of [-12, -5.5, -1, 1, 5.75, 14])
    for (const minutes of [0, 8, 13])
      assert.deepEqual(told(zone * HOUR + minutes * MINUTE), { minutes, isAnotherZone: true }, `${zone} h`);
});

test('the clock of another machine may be ahead', () => {
  assert.deepEqual(told(-0.5 * MINUTE), { minutes: -0.5, isAnotherZone: false });
});
