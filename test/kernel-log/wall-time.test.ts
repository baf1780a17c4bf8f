import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseWallTime } from '../../src/kernel-log/wall-time.ts';

const NOW = Date.parse('2026-01-15T12:00:00Z');
const at = (text: string) => {
  const time = parseWallTime(text, NOW);
  return time && new Date(time.ms).toISOString();
};

test('ISO 8601 with its zone is exact', () => {
  for (const text of [
    '2026-01-10T04:00:05.25+01:00',
    '2026-01-10T03:00:05,250Z',
    '2026-01-10T04:00:05.250999+0100',
  ])
    assert.equal(at(text), '2026-01-10T03:00:05.250Z', text);
  assert.equal(parseWallTime('2026-01-10T03:00:05Z', NOW)?.doubt, undefined);
});

test('without a year, the latest that is not to come', () => {
  const year = (text: string) => new Date(parseWallTime(text, NOW)?.ms ?? 0).getFullYear();
  assert.equal(year('Jan 10 03:00:05'), 2026);
  assert.equal(year('Jan 16 03:00:05'), 2026, 'clocks and zones differ by up to a day');
  assert.equal(year('Dec 31 23:59:59'), 2025);
  assert.match(parseWallTime('Jan 10 03:00:05', NOW)?.doubt ?? '', /neither year nor time zone/);
});

test('months are read in English, and where they are numbers', () => {
  const short = at('Jan 10 03:00:05');
  for (const month of ['1月', '1월']) assert.equal(at(`${month} 10 03:00:05`), short);
  assert.equal(at('六 1月 10 03:00:05 2026'), short);
});

test('what is no time is none', () => {
  for (const text of [
    '',
    'Foo 10 03:00:05',
    '13月 10 03:00:05',
    '0月 10 03:00:05',
    'sam. 10 janv. 03:00:05 2026',
    '2026-13-40T99:00:00Z',
    'Jan 10',
    '2026-01-10',
  ])
    assert.equal(parseWallTime(text, NOW), undefined, text);
});
