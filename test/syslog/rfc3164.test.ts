import assert from 'node:assert/strict';
import { test } from 'node:test';
import { oomNotifierMessages, rfc3164, timestamp } from '../../src/syslog/rfc3164.ts';
import {
  containerKill,
  delivery,
  groupKill,
  hostileKills,
  KERNEL_VERSION_LINE,
  THIRD,
} from '../incidents.ts';

const USER = 1;

test('one message, byte for byte', () => {
  const incident = containerKill();
  assert.equal(
    rfc3164(delivery(incident, THIRD), 3, 8096).bytes.toString(),
    [
      `<27>${timestamp(new Date(incident.time))} node-7 oom-witness[${process.pid}]: `,
      'OOM kill: java in web/shop, container limit 2.00 GiB (3rd in 2 h), on node-7 ',
      '(incident 6b0c7e8a-0d8f-4c1e-9d6b-2f1a54c0a7de:48213): ',
      incident.process.command_line,
    ].join(''),
  );
});

test('the time is local, without a year, the day padded with a blank', () => {
  assert.equal(timestamp(new Date(2026, 0, 2, 3, 4, 5)), 'Jan  2 03:04:05');
  assert.equal(timestamp(new Date(2026, 11, 31, 23, 59, 59)), 'Dec 31 23:59:59');
});

for (const { what, incident } of hostileKills())
  test(`hostile: ${what}: one line, within the limit`, () => {
    for (const limit of [2048, 8096]) {
      const { bytes } = rfc3164(delivery(incident), 0, limit);
      assert.ok(bytes.length <= limit, `${bytes.length} bytes`);
      assert.match(
        bytes.toString(),
        /^<3>[ -~]{15} node-7 oom-witness\[\d+\]: [^\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+$/u,
      );
      assert.ok(bytes.includes(incident.id));
    }
  });

test('oom-notifier: a message for each victim, its exact keys in their order', () => {
  const incident = groupKill();
  const messages = oomNotifierMessages(incident, KERNEL_VERSION_LINE, USER, 65_507);
  assert.equal(messages.length, incident.victims.length);
  const head = `<11>${timestamp(new Date(incident.time))} oom-notifier[${process.pid}]: `;
  const first = messages[0]!.bytes.toString();
  assert.ok(first.startsWith(head));
  assert.equal(
    first.slice(head.length),
    `{"cmdline":${JSON.stringify(incident.process.command_line)},"hostname":"node-7",` +
      `"kernel":${JSON.stringify(KERNEL_VERSION_LINE)},"pid":"${incident.process.pid}","time":"${Date.parse(incident.time)}"}`,
  );
  assert.ok(
    messages.every(({ plain }) => plain === undefined),
    'it has no host name, so nobody else can write it',
  );
});

for (const { what, incident } of hostileKills())
  test(`oom-notifier, hostile: ${what}: whole JSON within the limit`, () => {
    for (const limit of [2048, 65_507]) {
      const [message] = oomNotifierMessages(incident, KERNEL_VERSION_LINE, USER, limit);
      assert.ok(message!.bytes.length <= limit);
      assert.doesNotMatch(message!.bytes.toString(), /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/);
      const { cmdline } = JSON.parse(message!.bytes.toString().replace(/^.*?\]: /, ''));
      const whole = incident.process.command_line!;
      assert.ok(cmdline === whole.toWellFormed() || cmdline === whole || cmdline.includes(' … '));
    }
  });
