import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';

const SINKS = new URL('../../sinks/', import.meta.url);

test('every sink has a test that runs the contract', () => {
  const tested = readdirSync(import.meta.dirname)
    .filter((file) => /\.(test|integration)\.ts$/.test(file))
    .filter((file) => /^\s*testSinkContract\(/m.test(readFileSync(`${import.meta.dirname}/${file}`, 'utf8')))
    .map((file) => file.split('.')[0]);
  const sinks = readdirSync(SINKS).map((file) => file.replace(/\.ts$/, ''));

  assert.ok(sinks.length > 0, 'no sink found');
  assert.deepEqual(
    sinks.filter((sink) => !tested.includes(sink)),
    [],
  );
});
