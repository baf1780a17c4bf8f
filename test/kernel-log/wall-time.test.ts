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

test('so is what crash(8) writes', () => {
  assert.deepEqual(parseWallTime('Sat Jan 10 03:00:05 UTC 2026', NOW), {
    ms: Date.parse('2026-01-10T03:00:05Z'),
    wholeSeconds: true,
  });
  assert.match(parseWallTime('Sat Jan 10 03:00:05 CET 2026', NOW)?.doubt ?? '', /zone/);
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

test('and in the languages of most machines, as the C library abbreviates them', () => {
  for (const [names, month] of [
    ['janv. ene gen sty янв. Oca ian', 0],
    ['févr. Feb fev feb. luty лют', 1],
    ['Mär mar mrt marzo мар', 2],
    ['Mai mag mei maj мая май', 4],
    ['juin giu jun. Haz iun', 5],
    ['juil. lug júl lip', 6],
    ['Okt oct. ott paź окт. Eki', 9],
    ['Dez déc. dic grudzień Ara', 11],
  ] as const)
    for (const name of names.split(' ')) {
      const read = parseWallTime(`${name} 10 03:00:05`, NOW)?.ms;
      if (name === 'lip') assert.equal(read, undefined, 'June in Croatian, July in Polish');
      else assert.equal(new Date(read ?? 0).getMonth(), month, name);
    }
  for (const text of [
    'sam. janv. 10 03:00:05 2026',
    'sam. 10 janv. 03:00:05 2026',
    'Sa Jan 10 03:00:05 2026',
  ])
    assert.equal(at(text), at('Jan 10 03:00:05'), text);
});

test('what is no time is none', () => {
  for (const text of [
    '',
    'Foo 10 03:00:05',
    '13月 10 03:00:05',
    '0月 10 03:00:05',
    'ი 10 03:00:05',
    'იან 10 03:00:05',
    'j 10 03:00:05',
    // October in Croatian, November in Polish.
    'lis 10 03:00:05',
    '2026-13-40T99:00:00Z',
    'Jan 10',
    '2026-01-10',
  ])
    assert.equal(parseWallTime(text, NOW), undefined, text);
});
