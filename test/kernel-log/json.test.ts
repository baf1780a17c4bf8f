import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DecodeLine } from '../../src/kernel-log/decoder.ts';
import { parsedEntry } from '../../src/kernel-log/json.ts';

const plain: DecodeLine = (text, sequence) => ({ facility: 0, level: 6, sequence, text });

/** What a shipper's object says of the time of its line. */
function timeOf(time: string): string | undefined {
  const wallTime = parsedEntry(`{"message":"x","time":${time}}`, 0, plain)?.wallTime;
  return wallTime === undefined ? undefined : new Date(wallTime).toISOString();
}

test('a number is a time in seconds, milliseconds, microseconds or nanoseconds', () => {
  for (const time of ['1795230855.926', '1795230855926', '1795230855926123', '"1795230855926123456"'])
    assert.equal(timeOf(time), '2026-11-21T03:14:15.926Z', time);
  assert.equal(timeOf('1795230855'), '2026-11-21T03:14:15.000Z');
});

test('a number that is no time is none', () => {
  for (const time of ['0', '-1', '17', '1e30', '1e306', '1e400', `"${'9'.repeat(400)}"`, 'true', '{}'])
    assert.equal(timeOf(time), undefined, time);
});
