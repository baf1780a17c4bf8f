import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Incident } from '../../src/incident.ts';
import { rfc5424 } from '../../src/syslog/rfc5424.ts';
import {
  containerKill,
  delivery,
  groupKill,
  hostileKills,
  killWithoutCommandLine,
  nodeKill,
  THIRD,
  unitKill,
} from '../incidents.ts';
import { parseRfc5424 } from './rfc5424-message.ts';

const DAEMON = 3;

function encoded(incident: Incident, maxBytes = 8096, facility = DAEMON): Buffer {
  return rfc5424(delivery(incident), facility, '32473', maxBytes).bytes;
}

function withCommandLine(command_line: string): Incident {
  const whole = containerKill();
  const process = { ...whole.process, command_line };
  return { ...whole, process, victims: [{ ...whole.victims[0]!, process }] };
}

test('one message, byte for byte', () => {
  assert.equal(
    rfc5424(delivery(containerKill(), THIRD), 16, '50000', 8096).bytes.toString(),
    [
      `<131>1 2026-11-21T03:14:15.926Z node-7 oom-witness ${process.pid} OOMKILL `,
      '[process@50000 pid="4243" name="java" parent_pid="4100" executable="/usr/bin/java" user="1000" ',
      'command_line="java -Xmx2g -XX:+UseG1GC -Dshop.database.pool.size=64 -Dshop.cache.directory=/var/cache/shop ',
      '-jar /app/shop.jar --spring.profiles.active=prod"]',
      '[k8s@50000 namespace="web" pod="shop-5d8f7c-x2x" container="shop" deployment="shop" node="node-7"]',
      '[container@50000 id="4bf1c3d5e7a9b0c2d4f6a8b0c2d4e6f8a0b2c4d6e8f0a2b4c6d8e0f2a4b6c8d0" name="shop" ',
      'runtime="containerd" image="registry.example/shop:1.4"]',
      '[oom@50000 scope="cgroup" limit_owner="container" limit="2147483648" usage="2126008812"]',
      '[incident@50000 id="6b0c7e8a-0d8f-4c1e-9d6b-2f1a54c0a7de:48213" kind="oom_kill"] ',
      'OOM kill: java in web/shop, container limit 2.00 GiB (3rd in 2 h), on node-7: java -Xmx2g -XX:+UseG1GC ',
      '-Dshop.database.pool.size=64 -Dshop.cache.directory=/var/cache/shop -jar /app/shop.jar ',
      '--spring.profiles.active=prod',
    ].join(''),
  );
});

test('severity: critical where the node itself ran out, warning before a kill, error else', () => {
  const severity = (incident: Incident) => parseRfc5424(encoded(incident)).severity;
  assert.equal(severity(nodeKill()), 2);
  assert.equal(severity(containerKill()), 3);
  assert.equal(severity({ ...containerKill(), kind: 'oom_unseen' }), 3);
  assert.equal(severity({ ...containerKill(), kind: 'oom_warning' }), 4);
});

test('facility 0 is facility 0', () => {
  assert.ok(encoded(containerKill(), 8096, 0).toString().startsWith('<3>1 '));
});

test('a group kill names the others, a unit its unit', () => {
  const group = parseRfc5424(encoded(groupKill())).structuredData['oom@32473'];
  const others = groupKill().victims.slice(1);
  assert.equal(group!.group_kill, 'true');
  assert.equal(group!.victims, String(others.length + 1));
  assert.equal(group!.other_pids, others.map((victim) => victim.process.pid).join(' '));
  const unit = parseRfc5424(encoded(unitKill())).structuredData;
  assert.equal(unit['systemd@32473']!.unit, 'nginx.service');
  assert.equal(unit['k8s@32473'], undefined);
});

test('an unknown command line is said, not left out', () => {
  const { structuredData, message } = parseRfc5424(encoded(killWithoutCommandLine()));
  assert.equal(structuredData['process@32473']!.command_line, undefined);
  assert.match(message, /full command line unknown: it started and died while the agent was down$/);
});

for (const { what, incident } of hostileKills())
  test(`hostile: ${what}`, () => {
    for (const limit of [2048, 8096, 65_507]) {
      const bytes = encoded(incident, limit);
      assert.ok(bytes.length <= limit, `${bytes.length} bytes`);
      assert.doesNotMatch(bytes.toString(), /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u);
      const { structuredData } = parseRfc5424(bytes);
      assert.equal(structuredData['incident@32473']!.id, incident.id);
      assert.equal(structuredData['process@32473']!.pid, '4243');
    }
  });

test('quote, backslash and bracket are escaped and come back; control characters are shown', () => {
  const { structuredData } = parseRfc5424(encoded(withCommandLine('a "b" \\ [c] \u0007é')));
  assert.equal(structuredData['process@32473']!.command_line, 'a "b" \\ [c] \\x07é');
});

test('the command line is whole where it fits to the byte, else cut in the middle', () => {
  const command = `java ${'x'.repeat(3000)} end`;
  const incident = withCommandLine(command);
  const longest = encoded(incident, 65_507).length + ' command_line_cut="true"'.length;
  const whole = parseRfc5424(encoded(incident, longest)).structuredData['process@32473']!;
  assert.equal(whole.command_line, command);
  assert.equal(whole.command_line_cut, undefined);
  const cut = parseRfc5424(encoded(incident, longest - 1)).structuredData['process@32473']!;
  assert.match(cut.command_line!, /^java x+ … x+ end$/);
  assert.equal(cut.command_line_cut, 'true');
});

test('names that are hostile in every field at once leave room for what matters', () => {
  const long = '\u0007"]\\'.repeat(20_000);
  const whole = withCommandLine(long);
  const incident: Incident = {
    ...whole,
    k8s: {
      namespace: { name: long },
      pod: { name: long },
      container: { name: long },
      node: { name: long },
      deployment: { name: long },
    },
    container: { id: long, name: long, runtime: long, image: { name: long } },
    systemd: { unit: long, slice: long },
  };
  const bytes = encoded(incident, 2048);
  assert.ok(bytes.length <= 2048);
  assert.equal(parseRfc5424(bytes).structuredData['incident@32473']!.id, incident.id);
});

test('a host name becomes a header field: ASCII without blanks, at most 255 characters, or the nil value', () => {
  const hostname = (name: string) =>
    parseRfc5424(encoded({ ...containerKill(), host: { name }, k8s: undefined })).hostname;
  assert.equal(hostname('nöde 7\n'), 'nde7');
  assert.equal(hostname('ü'), '-');
  assert.equal(hostname('a'.repeat(300)).length, 255);
});
