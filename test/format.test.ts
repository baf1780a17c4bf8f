import assert from 'node:assert/strict';
import { test } from 'node:test';
import { clockTime, duration, ordinal, printable, shown, size } from '../src/format.ts';

const MiB = 1024 ** 2;
const GiB = 1024 ** 3;

test('sizes are in MiB and up, with at most three digits', () => {
  const expected: [bytes: number, text: string][] = [
    [0, '0 MiB'],
    [4096, 'under 0.1 MiB'],
    [MiB / 2, '0.5 MiB'],
    [9.5 * MiB, '9.5 MiB'],
    [9.97 * MiB, '10 MiB'],
    [64 * MiB, '64 MiB'],
    [999 * MiB, '999 MiB'],
    [999.6 * MiB, '0.98 GiB'],
    [1.98 * GiB, '1.98 GiB'],
    [2 * GiB, '2.00 GiB'],
    [9.996 * GiB, '10.0 GiB'],
    [15.6 * GiB, '15.6 GiB'],
    [99.96 * GiB, '100 GiB'],
    [1.5 * 1024 * GiB, '1.50 TiB'],
    [Number.MAX_SAFE_INTEGER, '8.00 PiB'],
  ];
  for (const [bytes, text] of expected) assert.equal(size(bytes), text);
});

test('durations have the two largest units, or one', () => {
  const expected: [ms: number, two: string, one: string][] = [
    [0, 'under 1 s', 'under 1 s'],
    [12_000, '12 s', '12 s'],
    [60_000, '1 min', '1 min'],
    [7_805_000, '2 h 10 min', '2 h'],
    [7_205_000, '2 h', '2 h'],
    [90_000_000, '1 d 1 h', '1 d'],
  ];
  for (const [ms, two, one] of expected) assert.deepEqual([duration(ms), duration(ms, 1)], [two, one]);
});

test('ordinals', () => {
  assert.deepEqual([1, 2, 3, 4, 10, 11, 12, 13, 21, 22, 103, 111, 113].map(ordinal), [
    ...[
      '1st',
      '2nd',
      '3rd',
      '4th',
      '10th',
      '11th',
      '12th',
      '13th',
      '21st',
      '22nd',
      '103rd',
      '111th',
      '113th',
    ],
  ]);
});

test('a time of another day has its date', () => {
  const time = Date.parse('2026-11-20T23:58:30.900Z');
  assert.equal(clockTime(time, Date.parse('2026-11-20T23:59:00Z'), 'utc'), '23:58:30 UTC');
  assert.equal(clockTime(time, Date.parse('2026-11-21T00:01:00Z'), 'utc'), '2026-11-20 23:58:30 UTC');
  assert.equal(clockTime(time, time, 'utc', 'minute'), '23:58 UTC');
});

test('local time is that of the machine', (t) => {
  const before = process.env.TZ;
  t.after(() => {
    if (before === undefined) delete process.env.TZ;
    else process.env.TZ = before;
  });
  process.env.TZ = 'Asia/Kolkata';
  const time = Date.parse('2026-11-20T23:58:30Z');
  assert.equal(clockTime(time, time, 'local'), '05:28:30');
});

test('what acts instead of being seen is shown as the bytes it is made of', () => {
  assert.equal(printable('a\u001b[2Jb\u0000c\nd'), 'a\\x1b[2Jb\\x00c\\x0ad');
  assert.equal(printable('\u009b1m \u202egnp \u2028'), '\\xc2\\x9b1m \\xe2\\x80\\xaegnp \\xe2\\x80\\xa8');
  assert.equal(printable('lone \ud800'), 'lone \ufffd');
  assert.equal(printable('naïve 🔥 日本'), 'naïve 🔥 日本');
});

test('a long text is cut in the middle, and neither an escape nor a character is cut in two', () => {
  assert.equal(shown('short', 20), 'short');
  assert.equal(shown('java -jar shop.jar --profile=prod', 23), 'java -jar … ofile=prod');
  for (const text of ['\u001b'.repeat(99), '🔥'.repeat(99), `${'\n🔥'.repeat(40)}x`])
    for (let limit = 13; limit < 60; limit++) {
      const cut = shown(text, limit);
      assert.ok(cut.length <= limit, `${cut.length} > ${limit}`);
      assert.match(cut, /^(\\x[0-9a-f]{2}|🔥)+ … (\\x[0-9a-f]{2}|🔥|x)+$/u);
    }
});
