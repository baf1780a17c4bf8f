import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Chronology } from '../../src/kernel-log/chronology.ts';
import type { LogRecord } from '../../src/kernel-log/decoder.ts';

const MiB = 1 << 20;
const record = (sequence: number, text: string, timestampUs?: number): LogRecord => ({
  facility: 0,
  level: 6,
  sequence,
  text,
  timestampUs,
});

test('what is held is bounded, also before it is known how to read it', () => {
  const chronology = new Chronology();
  let held = 0;
  for (let sequence = 0; sequence < 100; sequence++) {
    held += 1 - chronology.push(record(sequence, 'x'.repeat(MiB))).length;
    assert.ok(held <= 16, `${held} MiB`);
  }
  assert.equal(held - chronology.end().length, 0);
});

test('what waits for its header counts from the first record on', () => {
  const chronology = new Chronology();
  let held = 0;
  // The newest first: eight times that are each before the last.
  for (let sequence = 0; sequence < 40; sequence++) {
    held += 1 - chronology.push(record(sequence, 'x'.repeat(MiB), 1_000_000 - sequence)).length;
    assert.ok(held <= 17, `${held} MiB`);
  }
});
