import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseKmsgRecord } from '../../src/kernel/kmsg-record.ts';

test('a record is its level, facility, sequence number, time and text', () => {
  assert.deepEqual(parseKmsgRecord(Buffer.from('3,755,18479756,-;Out of memory: Killed process 1 (x)\n')), {
    level: 3,
    facility: 0,
    sequence: 755,
    timestampUs: 18479756,
    text: 'Out of memory: Killed process 1 (x)',
  });
  assert.equal(parseKmsgRecord('30,1,2,-;from a daemon')?.facility, 3);
  assert.equal(parseKmsgRecord('14,1,2,-;from user space')?.facility, 1);
});

test('further header fields are skipped, and dictionary lines are no text', () => {
  const record = parseKmsgRecord(
    '6,339,5140900,-,caller=T1;a; b, c\n SUBSYSTEM=acpi\n DEVICE=+acpi:PNP0A03:00\n',
  );
  assert.equal(record?.text, 'a; b, c');
});

test('escapes are undone to UTF-8, newlines and backslashes included', () => {
  assert.equal(parseKmsgRecord('4,1,2,-;nl\\x0ax\\x5cy \\xc3\\xbc\\xe2\\x82\\xac')?.text, 'nl\nx\\y ü€');
  assert.equal(parseKmsgRecord('4,1,2,-;\\x5cx41 stays an escaped A')?.text, '\\x41 stays an escaped A');
});

test('bytes that are not UTF-8 stay visible', () => {
  assert.equal(
    parseKmsgRecord('4,1,2,-;a\\xffb\\xc3 \\xed\\xa0\\x80.')?.text,
    'a\\xffb\\xc3 \\xed\\xa0\\x80.',
  );
});

test('sequence numbers may be as large as a number holds exactly', () => {
  assert.equal(parseKmsgRecord('4,9007199254740991,2,-;x')?.sequence, 2 ** 53 - 1);
  assert.equal(parseKmsgRecord('4,9007199254740993,2,-;x'), undefined);
});

test('an empty text is a record; what has no header is none', () => {
  assert.equal(parseKmsgRecord('4,1,2,-;')?.text, '');
  for (const text of [
    '',
    'x',
    '4',
    '4,',
    '4,5',
    '4,5,6',
    '4,5,6,-',
    ',,,;',
    '4,a,6,-;x',
    '-4,5,6,-;x',
    '4,5,6,-\n;x',
    ' K=v',
  ])
    assert.equal(parseKmsgRecord(text), undefined, JSON.stringify(text));
});
