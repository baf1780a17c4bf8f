import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EVENT_MESSAGE_BYTES, eventMessage } from '../../src/message/kubernetes-event.ts';
import {
  childKill,
  containerKill,
  FIRST,
  groupKill,
  headerlessKill,
  hostileKills,
  killWithoutCommandLine,
  nodeKill,
  podLimitKill,
  THIRD,
  unitKill,
} from '../incidents.ts';

test('on a pod: who in which container, whose limit, how much, the command line', () => {
  assert.equal(
    eventMessage(containerKill(), FIRST, 'Pod'),
    'java (pid 4243) in container shop was killed: container limit 2.00 GiB, used 1.98 GiB. Command: java -Xmx2g' +
      ' -XX:+UseG1GC -Dshop.database.pool.size=64 -Dshop.cache.directory=/var/cache/shop -jar /app/shop.jar' +
      ' --spring.profiles.active=prod',
  );
});

test('not for the first time', () => {
  assert.match(
    eventMessage(containerKill(), THIRD, 'Pod'),
    /GiB\. 3rd kill of web\/shop in 2 h 10 min \(last 02:58 UTC\)\. Command: /,
  );
});

test('what Kubernetes will not say by itself', () => {
  assert.match(
    eventMessage(childKill(), FIRST, 'Pod'),
    /^convert \(pid 977\) in container thumbs was killed: container limit 512 MiB, used 512 MiB\. The container lives on: its status in Kubernetes does not show this\. Command: convert -resize/,
  );
});

test('those that died together', () => {
  assert.match(
    eventMessage(groupKill(), FIRST, 'Pod'),
    /^java \(pid 4243\) and 3 more \(sh 4240, tail 4251, curl 4260\) in container shop were killed: container limit/,
  );
});

test("a limit that others shared: the victim's part of it, and who held more", () => {
  const java = containerKill().tasks![0]!;
  const tasks = [java, { ...java, pid: 4300, name: 'envoy', rss: 2 * 1024 ** 3 }];
  assert.match(
    eventMessage({ ...podLimitKill(), tasks }, FIRST, 'Pod'),
    /was killed: pod limit 4\.00 GiB, used 4\.00 GiB; java alone used 1\.97 GiB; biggest: envoy 2\.00, java 1\.97 GiB\. Command/,
  );
});

test('on a node: whose process it was, and what the machine had left', () => {
  assert.equal(
    eventMessage(nodeKill(), FIRST, 'Node'),
    'chrome (pid 5121) of user-1001.slice was killed: node-7 ran out of memory (61 MiB left of 15.6 GiB); it held 3.10 GiB;' +
      ' biggest: chrome 3.10, postgres 2.20, java 1.90 GiB. Command: /opt/chrome/chrome --type=renderer --lang=en',
  );
  const { memory, ...rest } = nodeKill();
  assert.match(
    eventMessage({ ...rest, memory: { ...memory, slab_unreclaimable: 9 * 1024 ** 3 } }, FIRST, 'Node'),
    /java 1\.90 GiB; the kernel itself holds 9\.00 GiB\. Command/,
  );
  assert.match(
    eventMessage(unitKill(), FIRST, 'Node'),
    /^nginx \(pid 2210\) of nginx\.service was killed: service limit 256 MiB/,
  );
});

test('memory far below its limit is told with what is in swap', () => {
  const { oom, ...rest } = containerKill();
  const swapped = { ...oom, usage: 1200 * 1024 ** 2, swap_usage: 1800 * 1024 ** 2 };
  assert.match(
    eventMessage({ ...rest, oom: swapped }, FIRST, 'Pod'),
    /: container limit 2\.00 GiB, used 1\.17 GiB, and 1\.76 GiB in swap\. /,
  );
});

test('a limit that was lowered', () => {
  const { oom, ...rest } = containerKill();
  const trigger = { pid: 99, name: 'runc' };
  assert.match(
    eventMessage({ ...rest, oom: { ...oom, limit: 1024 ** 3, trigger } }, FIRST, 'Pod'),
    /: container limit 1\.00 GiB, used 1\.98 GiB; the limit was lowered to less than it used, it seems by runc \(process or thread 99\)\. /,
  );
});

test('a kill by hand is said once', () => {
  const { oom, ...rest } = containerKill();
  const byHand = { ...oom, scope: 'sysrq', limit_owner: undefined, usage: undefined } as const;
  assert.match(
    eventMessage({ ...rest, oom: byHand }, FIRST, 'Pod'),
    /^java \(pid 4243\) in container shop was killed: by hand \(SysRq f\); it held 1\.97 GiB\. /,
  );
});

test('what is not known is said', () => {
  assert.equal(
    eventMessage(killWithoutCommandLine(), FIRST, 'Node'),
    'java (pid 4243) of container 4bf1c3d5e7a9 (pod unknown: API did not answer within 2 s) was killed: container limit 2.00 GiB,' +
      ' used 1.98 GiB. Full command line unknown: it started and died while the agent was down.',
  );
  assert.match(
    eventMessage(headerlessKill(), FIRST, 'Pod'),
    /was killed: limit unknown; it held 1\.97 GiB\./,
  );
});

test("a kill that only the cluster tells of carries the cluster's words", () => {
  const { process: _, ...whole } = containerKill();
  const process = { pid: 0, name: 'shop' };
  const message = eventMessage(
    {
      ...whole,
      witness: ['kubernetes'],
      process,
      victims: [{ process, capture: { source: 'none', truncated: false, redacted: 0 } }],
      oom: {
        scope: 'cgroup',
        limit_owner: 'container',
        limit: 2 * 1024 ** 3,
        group_kill: false,
        header_seen: false,
      },
      statements: [{ by: 'kubernetes', agrees: true, says: 'OOMKilled, exit code 137' }],
    },
    FIRST,
    'Pod',
  );
  assert.match(
    message,
    /^a process in container shop was killed: container limit 2\.00 GiB\. .*No kernel record was seen; kubernetes says OOMKilled, exit code 137\.$/,
  );
});

test('at most 1024 bytes, cut in the middle of the command line and never in a character', () => {
  const whole = containerKill();
  for (const character of ['x', 'ü', '漢', '🐘', '\u001b', '\u202e']) {
    const process = { ...whole.process, command_line: `start ${character.repeat(2000)} end` };
    const message = eventMessage(
      { ...whole, process, victims: [{ ...whole.victims[0]!, process }] },
      FIRST,
      'Pod',
    );
    const bytes = Buffer.byteLength(message);
    assert.ok(bytes <= EVENT_MESSAGE_BYTES && bytes > EVENT_MESSAGE_BYTES - 40, `${character}: ${bytes}`);
    assert.ok(message.isWellFormed(), character);
    assert.match(message, /Command: start .+ … .+ end$/u);
  }
});

test('names that alone would be too long leave no room for the command line, and are cut', () => {
  const whole = groupKill();
  const process = { ...whole.process, name: '漢'.repeat(63) };
  const message = eventMessage(
    {
      ...whole,
      process,
      victims: whole.victims.map((victim) => ({
        ...victim,
        process: { ...victim.process, name: '漢'.repeat(63) },
      })),
      k8s: { ...whole.k8s, container: { name: '漢'.repeat(63) } },
    },
    THIRD,
    'Pod',
  );
  assert.ok(Buffer.byteLength(message) <= EVENT_MESSAGE_BYTES);
  assert.ok(message.isWellFormed());
  assert.match(message, /…$/);
});

test('nothing that a process is called acts on the terminal of whoever reads it', () => {
  for (const { what, incident } of hostileKills())
    for (const place of ['Pod', 'Node'] as const) {
      const message = eventMessage(incident, FIRST, place);
      assert.doesNotMatch(message, /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u, what);
      assert.ok(Buffer.byteLength(message) <= EVENT_MESSAGE_BYTES, what);
      assert.ok(message.isWellFormed(), what);
    }
});
