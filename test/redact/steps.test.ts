import assert from 'node:assert/strict';
import { type Profiler, Session } from 'node:inspector';
import { test } from 'node:test';
import { ADVERSARIES } from './adversaries.ts';

const LENGTH = 8192;
/** For a character, as one argument, as several and as a text. The most that any of these takes is 101. */
const MOST_STEPS = 200;

/** Counts each block of the code that is run from now on: within a tenth the same on every machine, however busy. */
const session = new Session();
session.connect();
session.post('Profiler.enable');
session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
// Not before: a function that is compiled already is not counted.
const { Redactor } = await import('../../src/redact.ts');

/** Since it was asked last. */
function steps(): number {
  let total = 0;
  session.post('Profiler.takePreciseCoverage', (error, coverage: Profiler.TakePreciseCoverageReturnType) => {
    assert.equal(error, null);
    for (const { url, functions } of coverage.result)
      if (/\/src\/redact[./]/.test(url))
        for (const { ranges } of functions) for (const { count } of ranges) total += count;
  });
  return total;
}

const redactor = new Redactor();

for (const piece of ADVERSARIES)
  test(`a character of a repeated ${JSON.stringify(piece)} takes few steps`, () => {
    const text = piece.repeat(Math.ceil(LENGTH / piece.length));
    steps();
    redactor.args(['x', text]);
    redactor.args(text.split(' '));
    redactor.text(text);
    const perCharacter = steps() / text.length;
    assert.ok(perCharacter > 0, 'nothing was counted');
    assert.ok(perCharacter < MOST_STEPS, `${perCharacter.toFixed(0)} steps`);
  });
