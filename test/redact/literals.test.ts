import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Literals } from '../../src/redact/literals.ts';

function all(literals: readonly string[], text: string): string[] {
  const cursor = new Literals(literals.map((literal) => [literal, literal] as const)).in(text);
  const found: string[] = [];
  for (let literal = cursor.next(); literal !== undefined; literal = cursor.next())
    found.push(`${literal} ${cursor.start}-${cursor.end}`);
  return found;
}

test('literals that overlap are found, in upper and lower case', () => {
  assert.deepEqual(all(['pass', 'asset', '://'], 'xPAsset pass://'), [
    'pass 1-5',
    'asset 2-7',
    'pass 8-12',
    ':// 12-15',
  ]);
});

test('of those that end at one place the longest is found', () => {
  assert.deepEqual(all(['key', 'tskey', 's'], 'tskey'), ['s 1-2', 'tskey 0-5']);
});

test('what the cursor skips is not found, nor is what begins in it', () => {
  const cursor = new Literals([['abc', 1]]).in('abcabc');
  cursor.skipTo(1);
  assert.equal(cursor.next(), 1);
  assert.equal(cursor.start, 3);
  assert.equal(cursor.next(), undefined);
});

test('every text of up to 7 of 3 characters has what a search for each literal finds', () => {
  const literals = ['a', 'ab', 'bab', 'bc', 'bca', 'caa', 'cab', 'abcab'];
  for (let number = 1; number < 3 ** 7; number++) {
    const text = number.toString(3).replace(/\d/g, (digit) => 'abc'[Number(digit)]!);
    const expected: string[] = [];
    for (let end = 1; end <= text.length; end++) {
      const longest = literals
        .filter((literal) => text.slice(0, end).endsWith(literal))
        .toSorted((a, b) => b.length - a.length)[0];
      if (longest !== undefined) expected.push(`${longest} ${end - longest.length}-${end}`);
    }
    assert.deepEqual(all(literals, text), expected, text);
  }
});
