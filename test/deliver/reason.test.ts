import assert from 'node:assert/strict';
import { test } from 'node:test';
import { reasonOf } from '../../src/deliver/reason.ts';

const refused = Object.assign(new Error('connect ECONNREFUSED 127.0.0.1:443'), { code: 'ECONNREFUSED' });
const both = Object.assign(new AggregateError([refused], ''), { code: 'ECONNREFUSED' });

const cases: readonly (readonly [string, unknown, string])[] = [
  ['a message', new Error('no'), 'no'],
  [
    'what a client hides in the cause',
    new TypeError('fetch failed', { cause: refused }),
    `fetch failed: ${refused.message}`,
  ],
  [
    'an error without a message',
    new TypeError('fetch failed', { cause: both }),
    'fetch failed: ECONNREFUSED',
  ],
  ['a cause that says the same', new Error('it failed: no', { cause: new Error('no') }), 'it failed: no'],
  ['several lines', new Error('a\n  b\r\n\tc'), 'a b c'],
  ['no error at all', 'text', 'text'],
  ['nothing', undefined, 'no reason given'],
];

for (const [what, error, reason] of cases)
  test(`${what}: ${reason}`, () => assert.equal(reasonOf(error), reason));

test('a page of HTML is cut', () => assert.equal(reasonOf(new Error('x'.repeat(100_000))).length, 500));

test('an error that is its own cause ends', () => {
  const error = new Error('round');
  error.cause = error;
  assert.equal(reasonOf(error), 'round');
});
