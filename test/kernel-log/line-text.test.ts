import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LineText } from '../../src/kernel-log/line-text.ts';

/** Each line of it, cut where its newlines are. */
function linesOf(bytes: Buffer): string[] {
  const text = new LineText(bytes);
  const lines: string[] = [];
  for (let at = 0, end = bytes.indexOf('\n'); end >= 0; at = end + 1, end = bytes.indexOf('\n', at))
    lines.push(text.slice(at, end));
  return lines;
}

test('whatever the lines hold and however long they are, each comes as it would by itself', () => {
  const long = 'x'.repeat(20_000);
  const lines = [
    'a',
    '',
    long,
    'ü €',
    'b',
    `${long}ü`,
    ...Array.from({ length: 3_000 }, (_, n) => `line ${n}`),
  ];
  assert.deepEqual(linesOf(Buffer.from(`${lines.join('\n')}\n`)), lines);
});

test('bytes that are no UTF-8 stay visible, and those of other lines change nothing', () => {
  assert.deepEqual(linesOf(Buffer.from('a\xffb\n\xc3\xbc\nc\n', 'latin1')), ['a\\xffb', 'ü', 'c']);
});
