import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Incident } from '../src/incident.ts';
import { terminalBlock } from '../src/message/terminal.ts';
import { messageOf, stormSentence } from '../src/message.ts';
import type { Recurrence } from '../src/sink.ts';
import {
  childKill,
  containerKill,
  FIRST,
  groupKill,
  headerlessKill,
  hostileKills,
  killWithoutCommandLine,
  nodeKill,
  numbered,
  podLimitKill,
  storm,
  THIRD,
  unitKill,
  valid,
} from './incidents.ts';

process.env.TZ = 'UTC';

const MiB = 1024 ** 2;

function terminal(
  incident: Incident,
  recurrence: Recurrence = FIRST,
  columns: number | undefined = 118,
): string[] {
  const now = Date.parse('2026-11-21T03:14:20Z');
  return terminalBlock(valid(incident), recurrence, { columns, colour: false, now }).trimEnd().split('\n');
}

function message(incident: Incident, recurrence: Recurrence = FIRST) {
  return messageOf(valid(incident), recurrence, 'utc');
}

test("a pod's container over its own limit", () => {
  assert.deepEqual(terminal(containerKill(), THIRD), [
    '03:14:15  OOM KILL  web/shop (pod shop-5d8f7c-x2x, container shop) on node-7',
    '          died      java, pid 4243: java -Xmx2g -XX:+UseG1GC -Dshop.database.pool.size=64',
    '                    -Dshop.cache.directory=/var/cache/shop -jar /app/shop.jar --spring.profiles.active=prod',
    "          memory    1.98 GiB of the container's limit of 2.00 GiB (anonymous 1.96, file 0.02)",
    '          why       the container hit its own limit (resources.limits.memory); java itself asked for the memory',
    '          before    3rd kill of web/shop in 2 h 10 min (last 02:58)',
  ]);
});

test('a command line that is too long for everybody is cut in the middle, on a narrow terminal no shorter', () => {
  const kill = containerKill();
  const command_line = `java ${'-Done=two '.repeat(50)}com.example.Orders --server.port=8080`;
  const process = { ...kill.process, command_line };
  const shownOn = (columns: number) => {
    const text = terminal({ ...kill, process }, FIRST, columns)
      .join(' ')
      .replaceAll(/ +/g, ' ');
    return /java, pid 4243: (.*?) memory/.exec(text)?.[1];
  };
  assert.match(shownOn(80)!, /^java -Done=two .* … .*com\.example\.Orders --server\.port=8080$/);
  assert.equal(shownOn(80), shownOn(400));
});

test('a child whose container lives on: its status will not tell', () => {
  assert.deepEqual(terminal(childKill(), FIRST, 400).slice(0, 2), [
    '03:14:15  OOM KILL  web/thumbs (pod thumbs-0, container thumbs) on node-7',
    '          died      convert, pid 977: convert -resize 4000x4000 /tmp/in.tiff /tmp/out.jpeg (the container lives on: its status in Kubernetes does not show this)',
  ]);
});

test('that Kubernetes does not show it is said of its containers', () => {
  assert.equal(message({ ...childKill(), k8s: undefined }).died.note, 'the container lives on');
});

test('that the container lives on is not guessed', () => {
  const child = childKill();
  const [parent, victim] = child.tasks!;
  const says = (incident: Incident) => message(incident).died.note !== undefined;
  assert.ok(says(child));
  assert.ok(!says({ ...child, tasks: undefined }), 'no table of processes');
  assert.ok(!says({ ...child, tasks: [victim!] }), 'the parent is not in the container');
  assert.ok(
    !says({ ...child, tasks: [{ ...parent!, name: 'conmon' }, victim!] }),
    'the parent is the runtime',
  );
  const killedToo = { ...child.victims[0]!, process: { pid: parent!.pid, name: parent!.name } };
  assert.ok(!says({ ...child, victims: [child.victims[0]!, killedToo] }), 'the parent was killed too');
});

test('a group kill names them all, and the command line of the first', () => {
  assert.deepEqual(terminal(groupKill(), FIRST, 123).slice(1, 4), [
    '          died      java, pid 4243, and 3 more (the whole container, memory.oom.group): sh 4240, tail 4251, curl 4260',
    '          command   java -Xmx2g -XX:+UseG1GC -Dshop.database.pool.size=64 -Dshop.cache.directory=/var/cache/shop -jar',
    '                    /app/shop.jar --spring.profiles.active=prod',
  ]);
});

test('the machine itself ran out', () => {
  assert.deepEqual(terminal(nodeKill(), FIRST, 400), [
    '03:14:15  OOM KILL  node-7 ran out of memory',
    '          died      chrome, pid 5121 of user-1001.slice (user anna, 3.10 GiB): /opt/chrome/chrome --type=renderer --lang=en',
    '          why       the machine had 61 MiB left of 15.6 GiB; biggest: chrome 3.10, postgres 2.20, java 1.90 GiB; postgres (process or thread 811) asked for the memory',
    '          before    no earlier kill of chrome on node-7 is known',
  ]);
});

test("where the machine ran out, the victim's pod is still named", () => {
  const { k8s, container } = containerKill();
  const { process } = message({ ...nodeKill(), k8s, container }).died;
  assert.equal(
    process,
    'chrome, pid 5121 of web/shop (pod shop-5d8f7c-x2x, container shop, user anna, 3.10 GiB)',
  );
});

test("a pod's limit is not the container's", () => {
  assert.equal(
    message(podLimitKill()).why,
    'the pod hit its limit of 4.00 GiB (its containers together); java alone used 1.97 GiB; java itself asked for the memory',
  );
});

test('a limit is named as it is called where it is set, where that is known', () => {
  const { k8s, ...bare } = containerKill();
  const why = (runtime: string) => message({ ...bare, container: { id: '4bf1c3d5e7a9', runtime } }).why;
  assert.match(why('docker'), /^the container hit its own limit \(docker --memory\);/);
  assert.match(why('podman'), /^the container hit its own limit \(podman --memory\);/);
  assert.match(why('lxc'), /^the container hit its own limit;/);
});

test('what is not known is said with the reason, not guessed', () => {
  const lines = terminal(killWithoutCommandLine());
  assert.equal(
    lines[0],
    '03:14:15  OOM KILL  container 4bf1c3d5e7a9 (pod unknown: API did not answer within 2 s) on node-7',
  );
  assert.equal(
    lines[1],
    '          died      java, pid 4243 (full command line unknown: it started and died while the agent was down)',
  );
  const headerless = message(headerlessKill());
  assert.equal(headerless.memory, 'java held 1.97 GiB; usage and limit unknown');
  assert.equal(
    headerless.why,
    'the limit of the container was hit, or one above it; which is unknown: the kernel explains at most ten kills in 5 s, and only named this one',
  );
  assert.equal(headerless.sentence, 'OOM kill: java in web/shop, limit unknown, on node-7');
});

test("where the kernel named no limit, the victim's own group is told", () => {
  const { k8s, container, ...bare } = headerlessKill();
  const unknown = { 'oom.trigger': 'why' };
  const why = (changes: Partial<Incident>) => message({ ...bare, unknown, ...changes }).why;
  assert.equal(
    why({ process: { ...bare.process, cgroup: '/batch/night' } }),
    'the limit of the cgroup (group of processes) /batch/night was hit, or one above it; which is unknown: why',
  );
  assert.match(
    why({ systemd: { unit: 'nginx.service' } }),
    /^the limit of the service was hit, or one above/,
  );
  const noGroup = { ...bare.process, cgroup: undefined };
  assert.equal(why({ process: noGroup }), 'whose limit it was is unknown: why');
  assert.equal(why({ oom: { ...bare.oom, scope: 'unknown' } }), 'whose limit it was is unknown: why');
});

test('one reason for both is said once, another one where it belongs', () => {
  const { oom, ...rest } = headerlessKill();
  const unknown = { 'oom.usage': 'not printed' };
  assert.match(message({ ...rest, oom, unknown }).memory!, /; usage and limit unknown: not printed$/);
  const known = message({ ...rest, oom: { ...oom, limit_owner: 'container', limit_cgroup: '/a' } });
  assert.match(known.memory!, /; usage and limit unknown: the kernel explains/);
});

test('that the whole machine ran out may be a conclusion, and then says so', () => {
  const { oom, memory, tasks, ...rest } = nodeKill();
  const bare = message({
    ...rest,
    oom: { scope: 'node', limit_owner: 'node', group_kill: false, header_seen: false },
    unknown: { 'oom.scope': 'from the words "Out of memory" alone' },
  });
  assert.equal(bare.why, 'node-7 ran out of memory (from the words "Out of memory" alone)');
});

test('kills are said to be counted by the name they are counted by', () => {
  const before = (incident: Incident) => message(incident, THIRD).before;
  assert.match(before(containerKill()), /^3rd kill of web\/shop in 2 h 10 min/);
  assert.match(before(killWithoutCommandLine()), /^3rd kill of java on node-7 in/);
  assert.match(before({ ...containerKill(), kind: 'oom_warning' }), /^3rd warning for web\/shop in/);
});

test('a service of a virtual machine', () => {
  const { who, memory, why, sentence } = message(unitKill());
  assert.equal(who, 'nginx.service on node-7');
  assert.equal(memory, "256 MiB of the service's limit of 256 MiB (anonymous 250, file 4.0)");
  assert.equal(
    why,
    'the service hit its own limit (MemoryMax=); nginx (process or thread 2211) asked for the memory',
  );
  assert.equal(sentence, 'OOM kill: nginx in nginx.service, service limit 256 MiB, on node-7');
});

test("the workload's name: the owner of the pod, else the pod, the container, the unit, the process", () => {
  const { k8s } = containerKill();
  const whole: Incident = { ...containerKill(), k8s: undefined, container: undefined };
  const namespace = { name: 'web' };
  const pod = { name: 'shop-1' };
  const expected: [Partial<Incident>, who: string][] = [
    [{ k8s: { ...k8s, namespace, pod } }, 'web/shop (pod shop-1, container shop) on node-7'],
    [
      { k8s: { namespace, pod, cronjob: { name: 'nightly' }, job: { name: 'nightly-1' } } },
      'web/nightly (pod shop-1) on node-7',
    ],
    [
      { k8s: { namespace, pod, owner: { kind: 'Rollout', name: 'shop' } } },
      'web/shop (pod shop-1) on node-7',
    ],
    [{ k8s: { namespace, pod } }, 'web/shop-1 on node-7'],
    [
      { k8s: { pod: { uid: '17bd55a9-b7b1' } }, container: { id: '4bf1c3d5e7a9b0c2' } },
      'container 4bf1c3d5e7a9 (pod uid 17bd55a9-b7b1) on node-7',
    ],
    [{ container: { id: '4bf1c3d5e7a9b0c2', name: 'db' } }, 'container db on node-7'],
    [{ systemd: { unit: 'nginx.service', slice: 'system.slice' } }, 'nginx.service on node-7'],
    [{}, 'java on node-7'],
    [{ host: { name: '' } }, 'java on an unnamed machine'],
  ];
  for (const [fields, who] of expected) assert.equal(message({ ...whole, ...fields }).who, who);
});

test('a limit that belongs to no single container is explained in plain words', () => {
  const { oom, ...rest } = containerKill();
  const why = (changes: Partial<Incident['oom']>) =>
    message({ ...rest, oom: { ...oom, trigger: undefined, ...changes } }).why;
  const none = { limit_owner: undefined, limit_cgroup: undefined, limit: undefined };

  assert.equal(
    why({ limit_owner: 'slice', limit_cgroup: '/system.slice' }),
    'the slice system.slice (a group of services) hit its limit of 2.00 GiB (MemoryMax=); java alone used 1.97 GiB',
  );
  assert.equal(
    why({ limit_owner: 'qos' }),
    'the pods of one class together hit their limit of 2.00 GiB on this node; java alone used 1.97 GiB',
  );
  assert.equal(
    why({ limit_owner: undefined, limit_cgroup: '/a/b' }),
    'the cgroup (group of processes) /a/b hit its limit of 2.00 GiB',
  );
  assert.match(
    why({ ...none, scope: 'cpuset' }),
    /^the NUMA nodes \(parts of the memory\) that it is bound to/,
  );
  assert.match(
    why({ ...none, scope: 'mempolicy' }),
    /^the NUMA nodes \(parts of the memory\) that it asked for/,
  );
  assert.equal(
    why({ ...none, scope: 'sysrq' }),
    'somebody ordered the kill by hand (SysRq f); no limit was hit',
  );
});

/** With a table of processes, the victim's resident memory and what was used of the limit, in MiB. */
function holding(tasks: readonly (readonly [pid: number, name: string, rss: number])[], own: number) {
  const { memory, ...whole } = containerKill();
  const victim = { ...whole.victims[0]!, memory: { anon_rss: own * MiB } };
  const table = tasks.map(([pid, name, rss]) => ({
    pid,
    name,
    total_vm: 0,
    rss: rss * MiB,
    swap: 0,
    oom_score_adj: 989,
  }));
  return { ...whole, victims: [victim], tasks: table };
}

test('whoever filled the limit is named where it was not the victim', () => {
  const sidecar = holding(
    [
      [4243, 'java', 40],
      [4100, 'postgres', 1500],
      [4101, 'postgres', 400],
    ],
    40,
  );
  assert.match(
    message(sidecar).why,
    /^the container hit its own limit \(.*\); java alone used 40 MiB; biggest: postgres 1\.46, postgres 0\.39, java 0\.04 GiB; /,
  );
  const most = holding(
    [
      [4243, 'java', 1900],
      [4100, 'postgres', 40],
    ],
    1900,
  );
  assert.doesNotMatch(message(most).why, /alone|biggest/);
  const alone = holding([[4243, 'java', 40]], 40);
  assert.match(message(alone).why, /; java alone used 40 MiB; java itself/);
  const { oom } = alone;
  assert.match(message({ ...sidecar, oom: { ...oom, limit_owner: 'pod' } }).why, /; biggest: postgres/);
  assert.match(message({ ...sidecar, oom: { ...oom, scope: 'cpuset' } }).why, /room; biggest: postgres/);
});

test('what no kill frees is said where it is most', () => {
  const why = (shmem: number) => message({ ...containerKill(), memory: { anon: 0, shmem } }).why;
  assert.match(why(1.5 * 1024 * MiB), /; most of it is tmpfs or shared memory, whose files stay /);
  assert.doesNotMatch(why(500 * MiB), /tmpfs/);
});

test('the limit of all pods is not one of "a group of services"', () => {
  const { oom, ...rest } = containerKill();
  for (const limit_cgroup of ['/kubepods.slice', '/kubepods', '/kubelet.slice/kubelet-kubepods.slice']) {
    const said = message({
      ...rest,
      oom: { ...oom, limit_cgroup, limit_owner: 'slice', limit: 30 * 1024 * MiB },
    });
    assert.match(said.memory!, /^1\.98 GiB of all pods' limit of 30\.0 GiB/);
    assert.match(
      said.why,
      /^all pods of this node together hit their limit of 30\.0 GiB \(the node's allocatable memory\); java alone used 1\.97 GiB; /,
    );
    assert.match(said.sentence, /^OOM kill: java in web\/shop, all pods' limit 30\.0 GiB, on /);
  }
});

test('memory below its limit is explained by what is in swap', () => {
  const { oom, ...rest } = containerKill();
  const swapped = { ...oom, usage: 1200 * MiB, swap_limit: 1024 * MiB, swap_usage: 1800 * MiB };
  const { memory, why } = message({ ...rest, oom: swapped, tasks: nodeKill().tasks });
  assert.match(memory!, /^1\.17 GiB of the container's limit of 2\.00 GiB \(.*\), and 1\.76 GiB in swap$/);
  assert.doesNotMatch(why, /alone used/);
  assert.doesNotMatch(message({ ...rest, oom }).memory!, /swap/);
});

test('a limit far below the usage has been lowered, and the one whom the kernel names has not asked for memory', () => {
  const { oom, ...rest } = containerKill();
  const why = (changes: Partial<Incident['oom']>) => message({ ...rest, oom: { ...oom, ...changes } }).why;
  const runc = { pid: 99, name: 'runc', oom_score_adj: -999 };
  const limit = 512 * MiB;
  assert.match(
    why({ limit, trigger: runc }),
    /; the limit was lowered to less than it used, it seems by runc \(process or thread 99\)$/,
  );
  assert.match(why({ limit }), /; the limit was lowered to less than it used, it seems$/);
  assert.match(why({ limit: oom.usage! - MiB }), /java itself asked for the memory$/);
});

test('a thread that asked for the memory belongs to the only process there', () => {
  const { oom, tasks, ...rest } = containerKill();
  const thread = { pid: 4260, name: 'pool-2-thread-4', oom_score_adj: 989 };
  const why = (changes: Partial<Incident>) =>
    message({ ...rest, oom: { ...oom, trigger: thread }, tasks, ...changes }).why;
  assert.match(why({}), /; java itself \(its thread pool-2-thread-4\) asked for the memory$/);
  const other = /; pool-2-thread-4 \(process or thread 4260\) asked for the memory$/;
  assert.match(why({ tasks: [...tasks!, { ...tasks![0]!, pid: 4250 }] }), other);
  assert.match(why({ tasks: [] }), other);
  assert.match(why({ oom: { ...oom, trigger: { ...thread, oom_score_adj: -999 } } }), other);
});

test('of a machine that ran out, what no process holds and what was left of swap', () => {
  const whole = nodeKill();
  const why = (changes: Record<string, number>) =>
    message({ ...whole, memory: { ...whole.memory, ...changes } }).why;
  const GiB = 1024 * MiB;
  assert.match(
    why({ shmem: 3 * GiB, slab_unreclaimable: 6 * GiB }),
    /^the machine had 61 MiB left of 15\.6 GiB; biggest: .* GiB; tmpfs and shared memory hold 3\.00 GiB; the kernel itself holds 6\.00 GiB; postgres /,
  );
  assert.doesNotMatch(why({ shmem: GiB, slab_unreclaimable: GiB }), /hold/);
  assert.match(why({ free_swap: 0, total_swap: 2 * GiB }), / of 15\.6 GiB, and 0 MiB of 2\.00 GiB of swap; /);
  assert.doesNotMatch(why({ free_swap: 0, total_swap: 0 }), /swap/);
});

test('a machine with much left could not give it in one piece', () => {
  const { oom, memory, ...rest } = nodeKill();
  const why = (order: number, free: number) =>
    message({ ...rest, memory: { ...memory, free }, oom: { ...oom, trigger: { ...oom.trigger!, order } } })
      .why;
  const much = 3 * 1024 * MiB;
  assert.match(
    why(3, much),
    /^the machine had 3\.00 GiB left of 15\.6 GiB; 8 pages in one piece were asked for, and what is left may be in smaller ones; biggest: /,
  );
  assert.doesNotMatch(why(0, much), /piece/);
  assert.doesNotMatch(why(3, 61 * MiB), /piece/);
});

test('no message has a word of the kernel that must be looked up', () => {
  const kinds = [containerKill, childKill, groupKill, nodeKill, podLimitKill, headerlessKill, unitKill];
  for (const kind of kinds)
    assert.doesNotMatch(
      terminal(kind()).join('\n'),
      /CONSTRAINT|memcg|gfp|GFP|oom_score|rss|kernel-comm/,
      kind.name,
    );
});

test('what fills the memory is said where it is not the usual', () => {
  const whole = containerKill();
  const GiB = 1024 ** 3;
  const memory = (stat: Record<string, number>) => message({ ...whole, memory: stat }).memory;
  assert.match(
    memory({ anon: GiB, file: GiB, shmem: 0.9 * GiB - ((0.9 * GiB) % 1), kernel: GiB / 2 })!,
    /\(anonymous 1\.00, file 1\.00, of that tmpfs and shared memory 0\.90, kernel 0\.50\)$/,
  );
  assert.match(memory({ rss: GiB, cache: GiB / 2 })!, /\(anonymous 1\.00, file 0\.50\)$/, 'cgroup version 1');
  const podOfVersion1 = { rss: 0, cache: 0, shmem: 0, total_rss: GiB, total_cache: GiB, total_shmem: GiB };
  assert.match(
    memory(podOfVersion1)!,
    /\(anonymous 1\.00, file 1\.00, of that tmpfs and shared memory 1\.00\)$/,
    "what fills a pod's limit is in its containers",
  );
});

test('a warning is not called a kill, and an unseen kill does not pretend to know', () => {
  const warning = terminal({ ...containerKill(), kind: 'oom_warning' }, FIRST, 400);
  assert.match(warning[0]!, /OOM WARNING {2}web\/shop/);
  assert.match(warning[1]!, /^ +at risk +java, pid 4243/);
  assert.match(warning[3]!, /the container is close to its own limit \(resources\.limits\.memory\)$/);

  const process = { pid: 0, name: '' };
  const unseen = message({
    ...containerKill(),
    kind: 'oom_unseen',
    process,
    victims: [{ process, capture: { source: 'kernel-comm', truncated: false, redacted: 0 } }],
    unknown: { process: 'the kernel log was overwritten' },
  });
  assert.equal(unseen.died.process, 'unknown');
  assert.equal(unseen.died.note, 'the kernel log was overwritten');
  assert.match(unseen.why, /^the kernel's count of kills went up/);
  assert.match(unseen.sentence, /^OOM kill \(not seen\): a process in web\/shop, .*, on node-7$/);
});

test('an incident of another day shows its date', () => {
  const now = Date.parse('2026-11-22T00:00:01Z');
  const style = { colour: false, now };
  assert.match(terminalBlock(containerKill(), FIRST, style), /^2026-11-21 03:14:15 {2}OOM KILL/);
});

test('the fallback sentence makes sense alone', () => {
  assert.equal(
    message(containerKill(), THIRD).sentence,
    'OOM kill: java in web/shop, container limit 2.00 GiB (3rd in 2 h), on node-7',
  );
  assert.equal(
    message(groupKill()).sentence,
    'OOM kill: java and 3 more in web/shop, container limit 2.00 GiB, on node-7',
  );
  assert.equal(
    message({ ...nodeKill(), systemd: undefined }).sentence,
    'OOM kill: chrome, the whole machine ran out of memory, on node-7',
  );
});

test('the screen of a locked phone has whose limit it was, also where names of nodes are long', () => {
  const host = { ...containerKill().host, name: 'ip-10-0-123-45.eu-central-1.compute.internal' };
  const onPhone = (incident: Incident) =>
    message({ ...incident, k8s: undefined, host }).sentence.slice(0, 60);
  assert.match(onPhone(containerKill()), /^OOM kill: java in container shop, container limit 2\.00 GiB, /);
  assert.match(onPhone(nodeKill()), /, the whole machine/);
});

test('a storm in one sentence', () => {
  const shop = storm(37).map(({ incident }) => incident);
  assert.equal(stormSentence(shop), '37 OOM kills in 10 s: 37 in web/shop; on node-7');
  const mixed = [...shop.slice(0, 2), ...[1, 2, 3].map((sequence) => numbered(unitKill(), sequence))];
  assert.match(stormSentence(mixed), /: 3 in nginx\.service, 2 in web\/shop; on node-7$/);
  const bare = shop.map((incident) => ({ ...incident, k8s: undefined, container: undefined }));
  assert.match(stormSentence(bare), /: 37 of java; on node-7$/);
});

test('lines are as wide as their letters are', () => {
  const { process, ...whole } = containerKill();
  const command_line = `sārver ${'設定=値 '.repeat(8)}${'値'.repeat(60)} 👍👍 e\u0301e\u0301 ok`;
  const lines = terminal({ ...whole, process: { ...process, command_line } }, FIRST, 60);
  const columns = (line: string) => line.replace(/\p{M}/gu, '').replace(/[設定値]|👍/gu, '--').length;
  assert.deepEqual(
    lines.slice(1, 7).map((line) => columns(line) <= 60),
    Array(6).fill(true),
  );
  assert.equal(columns(lines[4]!), 60);
});

test('whatever a process is called, each part stays one short printable line', () => {
  for (const { what, incident } of hostileKills()) {
    const { died, ...parts } = message(incident);
    for (const text of [...Object.values(parts), died.process, died.note, died.others])
      if (typeof text === 'string') {
        assert.doesNotMatch(text, /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u, what);
        assert.ok(text.length < 400, what);
      }
    for (const line of terminal(incident, FIRST, 80)) {
      assert.doesNotMatch(line, /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u, what);
      assert.ok(line.length <= 80, `${what}: ${line}`);
    }
  }
});
