import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LineScanner } from '../../src/kernel-log/line-scanner.ts';

/** What is taken of these chunks where only lines with `Killed` matter. */
function taken(...chunks: readonly string[]): string[] {
  const lines: string[] = [];
  const taker = {
    take: (line: string) => void lines.push(line),
    complete: () => {},
    skipped: () => {},
    idle: true,
  };
  const scanner = new LineScanner({ needles: ['Killed'], linesBefore: 0, linesAfter: 0 }, taker);
  for (const chunk of chunks) scanner.push(Buffer.from(chunk));
  scanner.end();
  return lines;
}

const OVERLONG = 'x'.repeat(600 << 10);

test('a line that is too long is not taken, however it comes in', () => {
  assert.deepEqual(taken(`${OVERLONG} Killed\na Killed line\n`), ['a Killed line']);
  assert.deepEqual(taken(OVERLONG, ' Killed\na Killed line\n'), ['a Killed line']);
});

test('the line that matters after one that is too long is taken, also where others stand between', () => {
  assert.deepEqual(taken(OVERLONG, 'the end\nanother line\na Killed line\n'), ['a Killed line']);
  assert.deepEqual(taken(OVERLONG, 'the end\n', 'a Killed line\n'), ['a Killed line']);
});
