import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Recurrences } from '../../src/analyze/recurrences.ts';
import { containerKill, unitKill } from '../incidents.ts';

const at = (time: string) => ({ ...containerKill(), time: `2026-11-${time}:00.000Z` });

test('each workload is counted by itself, in the order of time and not of reading', () => {
  const recurrences = new Recurrences();
  assert.deepEqual(recurrences.of(at('21T03:00')), { nth: 1 });
  assert.deepEqual(recurrences.of(unitKill()), { nth: 1 });
  assert.deepEqual(recurrences.of(at('21T01:00')), { nth: 1 });
  assert.deepEqual(recurrences.of(at('21T02:00')), {
    nth: 2,
    firstTime: '2026-11-21T01:00:00.000Z',
    lastTime: '2026-11-21T01:00:00.000Z',
  });
  assert.deepEqual(recurrences.of(at('21T04:00')), {
    nth: 4,
    firstTime: '2026-11-21T01:00:00.000Z',
    lastTime: '2026-11-21T03:00:00.000Z',
  });
});

test('those of the last day', () => {
  const recurrences = new Recurrences();
  for (const time of ['20T03:00', '20T23:00']) recurrences.of(at(time));
  assert.equal(recurrences.of(at('21T03:00')).nth, 2);
});

test('without a clock they are counted, and no span is made up', () => {
  const recurrences = new Recurrences();
  const untimed = { ...containerKill(), time: '1970-01-01T00:00:00.000Z' };
  recurrences.of(untimed);
  assert.deepEqual(recurrences.of(untimed), { nth: 2 });
});
