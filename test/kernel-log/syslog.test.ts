import assert from 'node:assert/strict';
import { test } from 'node:test';
import { syslogDecoder } from '../../src/kernel-log/syslog.ts';

/** The records of these lines, in order. */
function decode(...lines: readonly string[]) {
  const decoder = syslogDecoder(() => Date.parse('2026-11-22T00:00:00Z'));
  return [...lines.map((line, at) => decoder.line(line, at)), decoder.flush()].filter(
    (record) => record !== undefined,
  );
}

test('each line is told with its own time, host and level, also between lines with the head of an earlier one', () => {
  const records = decode(
    '<4>1 2026-11-21T03:14:15.5Z node-7 kernel - - - a',
    '<4>1 2026-11-21T03:14:15.5Z node-7 kernel - - - b',
    '<3>1 2026-11-21T03:14:15.5Z node-7 kernel - - - c',
    '<4>1 2026-11-21T03:14:15.5Z node-70 kernel - - - d',
    '<4>1 2026-11-21T03:14:16.5Z node-7 kernel - - - e',
    '<4>1 2026-11-21T03:14:15.5Z node-7 kernel - - - f',
  );
  assert.deepEqual(
    records.map(({ text, level, host, wallTime, sequence }) => [
      text,
      level,
      host,
      new Date(wallTime as number).toISOString().slice(17),
      sequence,
    ]),
    [
      ['a', 4, 'node-7', '15.500Z', 0],
      ['b', 4, 'node-7', '15.500Z', 1],
      ['c', 3, 'node-7', '15.500Z', 2],
      ['d', 4, 'node-70', '15.500Z', 3],
      ['e', 4, 'node-7', '16.500Z', 4],
      ['f', 4, 'node-7', '15.500Z', 5],
    ],
  );
});

test("a byte order mark is no part of the kernel's words, whether or not the line before had one", () => {
  const head = '<4>1 2026-11-21T03:14:15.5Z node-7 kernel - - [timeQuality tzKnown="1"] ';
  const texts = decode(`${head}a`, `${head}\ufeffb`, `${head}c`, `${head}\ufeffd`).map(({ text }) => text);
  assert.deepEqual(texts, ['a', 'b', 'c', 'd']);
});

test("the kernel's clock is taken from the line, or where there is none from its head", () => {
  const stamped = 'Nov 21 03:14:15 node-7 kernel: [ 1234.000567] a';
  const caller = 'Nov 21 03:14:15 node-7 kernel: [ 1234.000568][ T4242] b';
  const plain = 'Nov 21 03:14:15 node-7 kernel: c';
  const monotonic = ['[ 1234.000569] node-7 kernel: d', '[ 1234.000570] node-7 kernel: e'];
  assert.deepEqual(
    decode(stamped, caller, plain, ...monotonic).map(({ text, timestampUs }) => [text, timestampUs]),
    [
      ['a', 1_234_000_567],
      ['b', 1_234_000_568],
      ['c', undefined],
      ['d', 1_234_000_569],
      ['e', 1_234_000_570],
    ],
  );
});

test('what is no stamp of the kernel stays in its words', () => {
  const head = 'Nov 21 03:14:15 node-7 kernel: ';
  const texts = [
    '[12.34567] a',
    '[.123456] b',
    '[ 1.1234567] c',
    '[1 2.123456] d',
    '[    1] e',
    '[x',
    '[',
    '',
  ];
  const records = decode(...texts.map((text) => head + text));
  assert.deepEqual(
    records.map(({ text, timestampUs }) => [text, timestampUs]),
    texts.map((text) => [text, undefined]),
  );
  const [vast, tight] = decode(`${head}[9999999999999999.000000] f`, `${head}[ 1.000000][T1] g`);
  assert.deepEqual([vast?.text, vast?.timestampUs], ['f', undefined], 'too large to be exact');
  assert.deepEqual([tight?.text, tight?.timestampUs], ['g', 1_000_000]);
});

test('a host that is named like a facility is a host', () => {
  const heads = [
    'Nov 21 03:14:15 mail.corp kernel: ',
    'Nov  1 03:14:15 mail.corp kern.info kernel: ',
    'Nov 1 03:14:15 mail.corp ERR kernel: ',
  ];
  for (const head of heads)
    assert.partialDeepStrictEqual(decode(`${head}a`), [{ host: 'mail.corp', facility: 0, text: 'a' }]);
  assert.partialDeepStrictEqual(decode('Nov 21 03:14:15 kern.err kernel: a'), [
    { host: undefined, facility: 0, level: 3 },
  ]);
  assert.partialDeepStrictEqual(decode('Nov 21 03:14:15 node-7 user.notice kernel: a'), [{ facility: 1 }]);
});
