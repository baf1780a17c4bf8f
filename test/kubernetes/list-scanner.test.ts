import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ListScanner } from '../../src/kubernetes/list-scanner.ts';
import { threadCpuClock } from '../thread-cpu-time.ts';

/** All at once, byte by byte, and in pieces of 7. */
const SIZES = [1_000_000, 1, 7];

function scanned(text: string, size: number, itemLimit = 1000): { items: unknown[]; frame: unknown } {
  const scanner = new ListScanner(itemLimit);
  const bytes = Buffer.from(text);
  const items: unknown[] = [];
  for (let at = 0; at < bytes.length; at += size) items.push(...scanner.push(bytes.subarray(at, at + size)));
  return { items, frame: scanner.end() };
}

const ITEMS = [
  {},
  { a: '}{][,"', b: ['"', '\\', '\\"', 'ä\u2028😀', { c: [[], [{}]] }] },
  { metadata: { name: 'x', labels: { items: '[' } }, items: [1, 2], d: -1.5e3, e: null, f: true },
  'a string, with [ and ]',
  7,
  null,
  [1, [2]],
];
const FRAME = { kind: 'PodList', metadata: { resourceVersion: '7', note: '"items":[' } };

describe('ListScanner', () => {
  for (const indent of [undefined, 2])
    it(`gives what JSON.parse gives (indent ${indent})`, () => {
      for (const size of SIZES)
        for (const list of [
          { ...FRAME, items: ITEMS },
          { items: ITEMS, ...FRAME },
          { ...FRAME, items: [], other: [1, { items: [2] }], 'a"items': [3] },
          { ...FRAME, items: ITEMS.slice(0, 1) },
        ]) {
          const { items, frame } = scanned(JSON.stringify(list, undefined, indent), size);
          assert.deepEqual(items, list.items);
          assert.deepEqual(frame, { ...list, items: [] });
        }
    });

  it('leaves items that are no list to who reads them', () => {
    for (const items of [null, 'all', {}, 7]) {
      const list = { ...FRAME, items };
      assert.deepEqual(scanned(JSON.stringify(list), 5), { items: [], frame: list });
    }
  });

  it('knows the head of the list when its items begin', () => {
    const scanner = new ListScanner(1000);
    assert.equal(scanner.head, undefined);
    scanner.push(Buffer.from(JSON.stringify({ ...FRAME, items: [{ a: 1 }] }).slice(0, -8)));
    assert.deepEqual(scanner.head, { ...FRAME, items: [] });
  });

  const text = JSON.stringify({ ...FRAME, items: ITEMS });
  it('refuses a list without an end, wherever it was cut', () => {
    for (let length = 0; length < text.length; length++)
      assert.throws(() => scanned(text.slice(0, length), 11), SyntaxError, text.slice(0, length));
  });

  for (const broken of [
    '{"items":[{}}]}',
    '{"items":[{"a":1} {"b":2}]}',
    '{"items":[}{]}',
    '{"items":[{]}]}',
    '{"items":[{}]]}',
    '{"items":[{}]}}',
    '}',
    '<html>',
    '{"items":[nil]}',
    '{"items":[],"items":[]}',
  ])
    it(`refuses ${broken}`, () => {
      for (const size of SIZES) assert.throws(() => scanned(broken, size), SyntaxError);
    });

  it('does not stand still over a frame of nothing but brackets', () => {
    const clock = threadCpuClock();
    const before = clock();
    assert.throws(() => scanned(`{${'['.repeat(6000)}`, 1000), SyntaxError);
    const ms = clock() - before;
    // It grew with the square: 400 ms, and minutes of the main thread for the 64 KiB that a frame may have.
    assert.ok(ms < 200, `${ms} ms`);
  });

  it('keeps no more than it is allowed to', () => {
    const long = 'x'.repeat(1000);
    assert.throws(() => scanned(`{"items":["${long}"]}`, 10), RangeError);
    assert.throws(() => scanned(`{"metadata":"${long.repeat(100)}"}`, 100), RangeError);
    assert.equal(scanned(`{"items":[${Array(100).fill(`"${long.slice(10)}"`)}]}`, 100).items.length, 100);
  });
});
