import assert from 'node:assert/strict';
import { test } from 'node:test';
import { objectsInLines } from '../../src/analyze/one-line-json.ts';

const objects = Array.from({ length: 3_000 }, (_, index) => ({
  index,
  message: `\\"},{[${index}]\\`,
  list: [{ a: [1, { b: ']' }] }, {}],
  long: 'x'.repeat(200),
}));

async function linesOf(text: string, size: number): Promise<string[]> {
  const bytes = Buffer.from(text);
  async function* chunks() {
    for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
  }
  const parts: Buffer[] = [];
  for await (const part of objectsInLines(chunks())) parts.push(part);
  return Buffer.concat(parts).toString().split('\n');
}

test('a line that is too long to be looked at becomes a line for each object of its list', async () => {
  for (const document of [objects, { dmesg: objects }, { took: 1, tags: ['a'], hits: { hits: objects } }])
    for (const space of ['', ' '])
      for (const size of [9_973, 1 << 20]) {
        const text = JSON.stringify(document).replaceAll(/(?<=[{[]|},)(?=\{"index")/g, space);
        const lines = (await linesOf(text, size)).filter((line) => line.includes('"index"'));
        assert.deepEqual(
          lines.map((line) => JSON.parse(line)),
          objects,
        );
      }
});

test('what is looked at anyway comes as it is', async () => {
  for (const text of [
    '',
    ' \n ',
    `Nov 21 03:14:15 node-7 kernel: ${'[{'.repeat(400_000)}`,
    objects.map((object) => JSON.stringify(object)).join('\n'),
    JSON.stringify(objects, null, 2),
    JSON.stringify(objects.slice(0, 9)),
  ])
    assert.equal((await linesOf(text, 65_536)).join('\n'), text);
});
