import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { incidentFromReport } from '../src/assemble/incident-from-report.ts';
import type { AssembledReport } from '../src/assemble/report-draft.ts';
import { Assembler } from '../src/assemble.ts';
import { assemble, comm, fixture, fixtures, records } from './kmsg-fixture.ts';
import { assertValidIncident } from './validate-incident.ts';

const SCOPES: Readonly<Record<string, string>> = {
  global: 'node',
  globalsys: 'node',
  alloctask: 'node',
  sysrq: 'sysrq',
};
/** Of the 200 kills of a storm the kernel printed few headers. */
const STORMS = ['storm', 'burst12'];

describe('every recorded scenario comes out as it really happened', () => {
  for (const { name, scenario, lines, truth } of fixtures())
    test(name, () => {
      const { reports } = assemble(lines);
      const victims = reports.flatMap((report) => report.victims);
      const killed = truth.killed_by_kernel;
      assert.deepEqual(
        victims.map(({ pid, name }) => [pid, name]),
        killed.map((victim) => [victim.pid, comm(victim)]),
      );
      for (const [index, victim] of victims.entries()) {
        const wanted = killed[index];
        assert.equal(victim.userId, wanted?.uid);
        assert.equal(victim.oomScoreAdj, wanted?.oom_score_adj);
        if (victim.cgroup !== undefined || !STORMS.includes(scenario))
          assert.equal(victim.cgroup, wanted?.cgroup);
      }
      for (const report of reports) {
        const { oom } = report;
        assert.equal(oom.scope, SCOPES[scenario] ?? 'cgroup');
        assert.equal(oom.group_kill, truth.oom_group);
        if (!STORMS.includes(scenario)) assert.ok(oom.header_seen);
        if (oom.header_seen && oom.scope === 'cgroup') {
          const own = truth.oom_memcg === 'the cgroup of the victim';
          assert.equal(oom.limit_cgroup, own ? report.victims[0]?.cgroup : truth.oom_memcg);
          assert.equal(oom.limit_owner, own ? 'container' : 'pod');
          assert.ok(oom.limit && oom.usage && oom.failcnt !== undefined && oom.swap_limit === undefined);
          assert.ok(report.memory?.anon);
        }
        if (oom.scope === 'node')
          assert.ok(oom.limit_owner === 'node' && report.memory?.ram && report.memory.free);
        if (!oom.header_seen) assert.match(report.unknown['oom.trigger'] ?? '', /at most ten kills/);
        assert.equal(report.kernel, oom.header_seen ? truth.kernel : undefined);
        assertValidIncident(toIncident(report));
      }
      if (!truth.oom_group) assert.equal(reports.length, killed.length);
    });
});

function toIncident(report: AssembledReport) {
  return incidentFromReport(report, {
    id: `boot:${report.firstSequence}`,
    time: '2026-11-21T03:14:15.926Z',
    witness: 'kmsg',
    host: { name: 'node-7' },
    captured: [],
  });
}

test('who asked, what was full and who else was there', () => {
  const { reports } = assemble(fixture('6.1/neighbour').lines);
  const report = reports[0];
  assert.deepEqual(report?.oom.trigger, {
    pid: 119,
    name: 'ruby',
    gfp_mask: '0xcc0(GFP_KERNEL)',
    order: 0,
    oom_score_adj: 984,
  });
  assert.deepEqual(
    report?.tasks?.map(({ pid, name, rss }) => [pid, name, rss]),
    [
      [118, 'java', 4252 * 4096],
      [119, 'ruby', 2140 * 4096],
    ],
  );
  assert.equal(report?.memory?.pgfault, undefined, 'a counter is no memory');
  assert.ok(
    report?.raw[0]?.startsWith('ruby invoked oom-killer') &&
      report.raw.at(-1)?.includes('Killed process 118'),
  );
  assert.ok(!report.raw.some((line) => line.includes('dump_stack')));
});

test('a thread that stands for its process: the process is reported, the thread too', () => {
  const victim = assemble(fixture('6.1/leaderexit').lines).reports[0]?.victims[0];
  assert.partialDeepStrictEqual(victim, { pid: 133, threadId: 134, name: 'java' });
  const withoutTable = fixture('6.1/leaderexit').lines.filter((line) => !line.includes('[    134]'));
  assert.partialDeepStrictEqual(assemble(renumbered(withoutTable)).reports[0]?.victims[0], {
    pid: 133,
    threadId: 134,
  });
});

test('before 5.0, too, and its name is that of the process', () => {
  const { reports } = assemble(
    log(
      header('a'),
      '[ pid ]   uid  tgid total_vm      rss nr_ptes nr_pmds swapents oom_score_adj name',
      '[   11]     0    10        2        1       4       3        0             0 worker',
      'Out of memory: Kill process 10 (leader) score 9 or sacrifice child',
      'Killed process 11 (worker) total-vm:8kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB',
    ),
  );
  assert.partialDeepStrictEqual(reports[0]?.victims, [{ pid: 10, threadId: 11, name: 'leader' }]);
});

test('control characters are escaped in raw', () => {
  const raw = assemble(fixture('6.1/weird').lines).reports[3]?.raw ?? [];
  assert.ok(raw.some((line) => line.includes('Killed process 143 (nl\\x0ax\\y)')));
});

test('a report is held back while more can follow, and told when the kernel is silent', () => {
  const told: AssembledReport[] = [];
  const assembler = new Assembler({ report: (report) => told.push(report) });
  const lastPid = () => assembler.lastVictim?.pid;
  const all = records(fixture('6.1/group').lines);
  const kill = all.findIndex((record) => record.text.includes('Killed process'));
  for (const record of all.slice(0, kill)) assembler.push(record);
  assert.equal(assembler.openSince, 718);
  assembler.settle();
  assert.ok(assembler.open, 'a header without its kill is not given up');
  assert.equal(lastPid(), undefined);
  for (const record of all.slice(kill)) assembler.push(record);
  assert.equal(lastPid(), 117);
  assert.equal(told.length, 0);
  assembler.settle();
  assert.equal(told.length, 1);
  assert.ok(!assembler.open && assembler.openSince === undefined && lastPid() === undefined);
  assert.deepEqual([told[0]?.firstSequence, told[0]?.lastSequence], [718, 759]);
});

test('any record of the kernel tells that time has passed', () => {
  const told: AssembledReport[] = [];
  const assembler = new Assembler({ report: (report) => told.push(report) });
  for (const record of records(fixture('6.1/lone').lines.slice(0, 36))) assembler.push(record);
  assert.ok(assembler.open);
  assembler.push({
    level: 6,
    facility: 0,
    sequence: 1_000_000,
    timestampUs: 10 ** 12,
    text: 'usb 1-1: new device',
  });
  assert.equal(told.length, 1);
});

test('nobody but the kernel can tell of a kill', () => {
  for (const facility of [1, 3, 16]) {
    const forged = fixture('6.1/lone').lines.map((line) =>
      line.replace(/^\d+/, (prefix) => `${Number(prefix) + facility * 8}`),
    );
    assert.deepEqual(assemble(forged), { reports: [], noVictims: [] });
  }
});

test('dumps that find nobody are no kills, however many', () => {
  const { lines } = fixture('6.1/nokill');
  const { reports, noVictims } = assemble(lines);
  assert.equal(reports.length, 0);
  assert.equal(noVictims.length, 503);
  assert.equal(new Set(noVictims.map(({ cgroup }) => cgroup)).size, 1);
  assert.match(noVictims[0]?.cgroup ?? '', /cri-containerd-/);
});

const KILL = ', anon-rss:10kB, file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:60kB oom_score_adj:0';
const kill = (pid: number, name = `p${pid}`, words = 'Memory cgroup out of memory: ') =>
  `${words}Killed process ${pid} (${name}) total-vm:${pid}kB${KILL}`;
const header = (name: string) =>
  `${name} invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0`;
const choice = (pid: number, cgroup = '/a/b', constraint = 'CONSTRAINT_MEMCG', limit = ',oom_memcg=/a') =>
  `oom-kill:constraint=${constraint},nodemask=(null),cpuset=/,mems_allowed=0${limit},task_memcg=${cgroup},task=p${pid},pid=${pid},uid=0`;
const group = (cgroup: string) => `Tasks in ${cgroup} are going to be killed due to memory.oom.group set`;

/** Texts of the kernel as records, a millisecond apart; a number is a pause in ms, `null` a lost record. */
function log(...texts: readonly (string | number | null)[]): string[] {
  const lines: string[] = [];
  let sequence = 100;
  let time = 5_000_000;
  for (const text of texts) {
    if (typeof text === 'number') time += text * 1000;
    else {
      sequence += 1;
      time += 1000;
      if (text !== null) lines.push(`3,${sequence},${time},-;${text.replaceAll('\n', '\\x0a')}`);
    }
  }
  return lines;
}

function renumbered(lines: readonly string[]): string[] {
  return lines.map((line, index) => line.replace(/,\d+,/, `,${index + 1},`));
}

/** The pids of each report. */
const pids = (reports: readonly AssembledReport[]) =>
  reports.map((report) => report.victims.map(({ pid }) => pid));

describe('without a header', () => {
  test('a kill is a report of its own', () => {
    const { reports } = assemble(log(kill(1), kill(2), kill(3, 'x', 'Out of memory: ')));
    assert.deepEqual(pids(reports), [[1], [2], [3]]);
    assert.deepEqual(
      reports.map(({ oom }) => [oom.scope, oom.header_seen, oom.limit_owner]),
      [
        ['cgroup', false, undefined],
        ['cgroup', false, undefined],
        ['node', false, 'node'],
      ],
    );
    assert.match(reports[2]?.unknown['oom.scope'] ?? '', /cpuset or a memory policy/);
  });

  test('a log that begins in the middle', () => {
    const { reports } = assemble(log('[    2]     0     2', choice(2), kill(2)));
    assert.equal(reports[0]?.oom.limit_cgroup, '/a');
    assert.equal(reports[0]?.oom.header_seen, false);
    assert.match(reports[0]?.unknown['oom.trigger'] ?? '', /missing/);
  });

  test('a kill whose prefix is unknown', () => {
    const [report] = assemble(log(kill(2, 'x', ''))).reports;
    assert.equal(report?.oom.scope, 'unknown');
    assertValidIncident(toIncident(report as AssembledReport));
  });
});

describe('kernels before 2.6.34, which print no sizes', () => {
  const CHOICE = 'Out of memory: kill process 450 (plymouthd) score 38 or a child';
  const lines = (...texts: string[]) => texts.map((text, at) => `4,${at},${at},-;${text}`);

  test('the kill after their choice is one, also of a child', () => {
    const { reports } = assemble(lines(CHOICE, 'Killed process 451 (splash)', 'usb 1-1: new device'));
    assert.partialDeepStrictEqual(reports, [
      { oom: { scope: 'node' }, victims: [{ pid: 451, name: 'splash' }] },
    ]);
    assert.equal(reports[0]?.victims[0]?.memory, undefined);
  });

  test('without their choice it is the start of a name in pieces', () => {
    const start = 'Killed process 451 (a)';
    assert.deepEqual(assemble(lines(start)).reports, []);
    const sacrifice = CHOICE.replace('or a', 'or sacrifice');
    assert.deepEqual(assemble(lines(sacrifice, start)).reports, []);
    const { reports } = assemble(lines(sacrifice, start, 'b) total-vm:8kB, anon-rss:4kB, file-rss:0kB'));
    assert.equal(reports[0]?.victims[0]?.name, 'a)\nb');
  });
});

test('before 5.1 a child that dies in place of the chosen process comes from below the limit', () => {
  const report = (cgroup: string, limit: string) =>
    assemble(
      log(
        header('a'),
        `Task in ${cgroup} killed as a result of limit of ${limit}`,
        'Memory cgroup out of memory: Kill process 9 (java) score 9 or sacrifice child',
        'Killed process 12 (java) total-vm:8kB, anon-rss:4kB, file-rss:0kB',
      ),
    ).reports[0];
  assert.equal(report('/docker/a', '/docker/a')?.victims[0]?.cgroup, '/docker/a');
  assert.equal(report('/pod/a', '/pod')?.victims[0]?.cgroup, undefined, 'which container is not said');
});

test('before 4.2 cgroups run out of memory side by side', () => {
  const chosen = (pid: number) =>
    `Memory cgroup out of memory: Kill process ${pid} (p${pid}) score 9 or sacrifice child`;
  const killed = (pid: number) => kill(pid, `p${pid}`, '');
  for (const excerpt of [false, true]) {
    const told = (...texts: readonly (string | number)[]) => assemble(log(...texts), { excerpt }).reports;
    const reports = told(header('a'), chosen(1), chosen(2), chosen(3), killed(1), killed(3), killed(2));
    assert.deepEqual(pids(reports).sort(), [[1], [2], [3]]);
    assert.ok(reports.every(({ oom, unknown }) => oom.scope === 'cgroup' && unknown.victims === undefined));
    assert.ok(reports.find(({ victims }) => victims[0]?.pid === 1)?.oom.header_seen);
    const again = told(chosen(1), chosen(2), killed(2), 70_000, chosen(1), killed(1));
    assert.deepEqual(pids(again), excerpt ? [[2], [1], [1]] : [[2], [1]]);
  }
});

test('before 4.8 the kernel names those who die because they share the memory of its victim, Virtuozzo those it kills in rage', () => {
  const kill = 'Killed process 9 (jsvc) total-vm:8kB, anon-rss:4kB, file-rss:0kB';
  const sharing = ['Kill process 10 (jsvc) sharing same memory', 'Rage kill process 11 (sh)'];
  const lines = (...texts: string[]) => texts.map((text, at) => `4,${at},${at},-;${text}`);
  const { reports } = assemble(
    lines(
      'Out of memory: Kill process 9 (jsvc) score 9 or sacrifice child',
      kill,
      ...sharing,
      kill.replace('9', '12'),
    ),
  );
  assert.deepEqual(
    reports.map(({ victims }) => victims.map(({ pid, name }) => [pid, name])),
    [
      [
        [9, 'jsvc'],
        [10, 'jsvc'],
        [11, 'sh'],
      ],
      [[12, 'jsvc']],
    ],
  );
  assert.deepEqual(assemble(lines(...sharing)).reports, []);
  const many = Array.from({ length: 20_000 }, (_, at) => `Kill process ${at + 10} (x) sharing same memory`);
  assert.equal(assemble(lines(kill, ...many)).reports[0]?.victims.length, 10_000);
});

describe('two invocations are never glued together', () => {
  test('a header that lost its kill says nothing', () => {
    assert.deepEqual(pids(assemble(log(header('a'), choice(1), header('b'), choice(2), kill(2))).reports), [
      [2],
    ]);
    assert.deepEqual(pids(assemble(log(header('a'), choice(1))).reports), []);
  });

  test('a clock that went back: after a reboot, and in a log with the newest line first', () => {
    const at = (seconds: number, text: string) => `4,${seq++},${seconds * 1_000_000},-;${text}`;
    let seq = 1;
    const run = (name: string, pid: number, seconds: number) => [
      at(seconds, `${name} invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0`),
      at(
        seconds,
        `Out of memory: Killed process ${pid} (${name}) total-vm:8kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB`,
      ),
    ];
    const [headerOfA = '', killOfA = ''] = run('a', 7, 200);
    const [headerOfB = '', killOfB = ''] = run('b', 8, 100);
    const newestFirst = [killOfA, headerOfA, killOfB, headerOfB].map((line, index) =>
      line.replace(/^4,\d+/, `4,${index}`),
    );
    for (const lines of [newestFirst, [headerOfA, killOfB]]) {
      const { reports } = assemble(lines);
      assert.equal(reports.at(-1)?.victims[0]?.pid, 8);
      for (const { oom } of reports) assert.equal(oom.trigger, undefined);
    }
  });

  test('nor does the end of one belong to the beginning of another', () => {
    const { reports } = assemble(
      log(header('a'), 'memory: usage 4kB, limit 4kB, failcnt 1', choice(1), null, choice(2), kill(2)),
    );
    assert.deepEqual(pids(reports), [[2]]);
    assert.equal(reports[0]?.oom.trigger, undefined);
    assert.equal(reports[0]?.oom.limit, undefined);
  });

  test('after lost records, another process is another kill', () => {
    const { reports } = assemble(log(header('a'), choice(1), null, kill(7)));
    assert.deepEqual(pids(reports), [[7]]);
    assert.equal(reports[0]?.oom.header_seen, false);
    assert.deepEqual(pids(assemble(log(header('a'), choice(1), null, kill(1))).reports), [[1]]);
  });

  test('a victim that was exiting already is no kill, and the next kill is not its', () => {
    const exiting =
      'Memory cgroup out of memory: OOM victim 1 (p1) is already exiting. Skip killing the task';
    const { reports } = assemble(log(header('a'), choice(1), exiting, kill(2)));
    assert.deepEqual(pids(reports), [[2]]);
    assert.equal(reports[0]?.oom.header_seen, false);
    const grouped = assemble(log(header('a'), choice(1), exiting, group('/a/b'), kill(2), kill(3)));
    assert.deepEqual(pids(grouped.reports), [[2, 3]]);
    assert.ok(grouped.reports[0]?.oom.header_seen);
  });

  test('other lines of the kernel in between change nothing', () => {
    const noise = [
      'usb 1-1: new device',
      'CPU: 5 PID: 999 Comm: x Not tainted 9.9.9 #1 ',
      'anon 5',
      '5 pages RAM',
    ];
    const { reports } = assemble(
      log(
        header('a'),
        'CPU: 1 PID: 42 Comm: a Not tainted 6.1.0 #1 ',
        ...noise,
        choice(1),
        ...noise,
        kill(1),
        ...noise,
      ),
    );
    assert.equal(reports[0]?.oom.trigger?.pid, 42);
    assert.equal(reports[0]?.memory, undefined);
    assert.equal(reports[0]?.kernel, '6.1.0');
  });

  test('a dump of the page allocator after the kill is not part of it', () => {
    const { reports } = assemble(fixture('7.2/global').lines);
    assert.equal(reports.length, 1);
    assert.equal(reports[0]?.lastSequence, 426);
  });
});

describe('memory.oom.group', () => {
  test('is one report, and who is printed twice is killed once', () => {
    const { reports } = assemble(
      log(header('a'), choice(1), kill(1), group('/a/b'), kill(1), kill(2), kill(3)),
    );
    assert.deepEqual(pids(reports), [[1, 2, 3]]);
    assert.ok(reports[0]?.oom.group_kill);
    assert.deepEqual(
      reports[0]?.victims.map(({ cgroup }) => cgroup),
      ['/a/b', '/a/b', '/a/b'],
    );
  });

  test('ends when the kernel pauses', () => {
    const { reports } = assemble(log(kill(1), group('/a'), kill(1), kill(2), 101, kill(3)));
    assert.deepEqual(pids(reports), [[1, 2], [3]]);
    assert.deepEqual(
      reports.map(({ oom }) => oom.group_kill),
      [true, false],
    );
  });

  test('ends with a header', () => {
    assert.deepEqual(
      pids(assemble(log(kill(1), group('/a'), kill(2), header('x'), choice(3), kill(3))).reports),
      [[1, 2], [3]],
    );
  });

  test('the kill before the next group is its first victim', () => {
    const { reports } = assemble(
      log(kill(1), group('/a'), kill(1), kill(2), kill(8), group('/b'), kill(8), kill(9)),
    );
    assert.deepEqual(pids(reports), [
      [1, 2],
      [8, 9],
    ]);
    assert.deepEqual(
      reports[1]?.victims.map(({ cgroup }) => cgroup),
      ['/b', '/b'],
    );
    assert.ok(!reports[0]?.raw.some((line) => line.includes('process 8')));
    assert.ok((reports[0]?.lastSequence ?? 0) < (reports[1]?.firstSequence ?? 0));
  });

  test('the process table knows who is no member', () => {
    const homes: Readonly<Record<number, string>> = { 1: '/a', 2: '/a/b', 3: '/ab', 4: '/a' };
    const cgroupOf = (pid: number) => homes[pid];
    assert.deepEqual(
      pids(assemble(log(kill(1), group('/a'), kill(2), kill(3), kill(4)), { cgroupOf }).reports),
      [[1, 2], [3], [4]],
    );
  });

  test('a kill of another kind is no member', () => {
    assert.deepEqual(
      pids(assemble(log(kill(1), group('/a'), kill(2), kill(3, 'x', 'Out of memory: '))).reports),
      [[1, 2], [3]],
    );
  });

  test('without the group line the victim is still told once', () => {
    assert.deepEqual(pids(assemble(log(kill(1), kill(1), kill(2))).reports), [[1], [2]]);
  });
});

describe('scopes', () => {
  for (const [constraint, scope] of [
    ['CONSTRAINT_NONE', 'node'],
    ['CONSTRAINT_CPUSET', 'cpuset'],
    ['CONSTRAINT_MEMORY_POLICY', 'mempolicy'],
  ] as const)
    test(`${constraint} is ${scope}`, () => {
      const { reports } = assemble(
        log(header('a'), choice(1, '/a', constraint, ',global_oom'), kill(1, 'p1', 'Out of memory: ')),
      );
      assert.partialDeepStrictEqual(reports[0]?.oom, { scope, constraint });
      assert.equal(reports[0]?.oom.limit_cgroup, undefined);
      assert.equal(reports[0]?.unknown['oom.scope'], undefined);
    });

  test('before 2.6.36 the words of the kill tell a cpuset and a memory policy', () => {
    for (const [words, scope] of [
      ['No available memory in cpuset', 'cpuset'],
      ['No available memory (MPOL_BIND)', 'mempolicy'],
    ] as const) {
      const [report] = assemble(log(header('a'), `${words}: Killed process 7 (a).`)).reports;
      assert.equal(report?.oom.scope, scope);
      assert.equal(report?.unknown['oom.scope'], undefined);
    }
  });

  test('before 4.2 a line above the header tells sysrq-f', () => {
    const asked = 'SysRq : Manual OOM execution';
    const scopes = (...texts: readonly (string | number)[]) =>
      assemble(log(...texts)).reports.map(({ oom }) => oom.scope);
    const killed = [
      'Out of memory: Kill process 1 (p1) score 9 or sacrifice child',
      'Killed process 1 (p1) total-vm:8kB, anon-rss:4kB, file-rss:0kB',
    ];
    for (const name of ['kworker/1:2', 'events/0'])
      assert.deepEqual(
        scopes(asked, 'usb 1-1: new device', header(name), ...killed, 200, header(name), ...killed),
        ['sysrq', 'node'],
      );
    assert.deepEqual(scopes(asked, header('java'), ...killed), ['node']);
    assert.deepEqual(scopes(asked, 2_000, header('kworker/1:2'), ...killed), ['node']);
  });

  test('openEuler 4.19 names it only in words', () => {
    const { reports } = assemble(
      log(
        'oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=x,mems_allowed=0-1,task=p1,pid=1,uid=7',
        'Memory cgroup out of memory: Kill process 1 (p1) score 1984 or sacrifice child',
        'Killed process 1 (p1) total-vm:8kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB',
      ),
    );
    assert.partialDeepStrictEqual(reports, [{ oom: { scope: 'cgroup' }, victims: [{ pid: 1, userId: 7 }] }]);
  });

  test('CONSTRAINT_NONE with a cgroup is that cgroup', () => {
    const { reports } = assemble(log(header('a'), choice(1, '/a/b', 'CONSTRAINT_NONE'), kill(1)));
    assert.partialDeepStrictEqual(reports[0]?.oom, { scope: 'cgroup', limit_cgroup: '/a' });
  });
});

describe('lines in pieces', () => {
  test('a choice that was too long for one record', () => {
    const whole = choice(1);
    const at = whole.indexOf(',task_memcg');
    const { reports } = assemble(log(header('a'), whole.slice(0, at), whole.slice(at), kill(1)));
    assert.equal(reports[0]?.victims[0]?.cgroup, '/a/b');
  });

  test("lines that the kernel prints piece by piece, with another processor's between", () => {
    const pieces = (...parts: readonly string[]) => parts.flatMap((part) => ['usb 1-1: new device', part]);
    for (const excerpt of [false, true]) {
      const told = (...texts: readonly string[]) => assemble(log(...texts), { excerpt }).reports;
      const [report] = told(
        header('a'),
        ...pieces('oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null)', ',cpuset='),
        'x.scope',
        ...pieces(',mems_allowed=0', ',oom_memcg=/a,task_memcg=/a/b', ',task=p1,pid=1,uid=0'),
        kill(1),
        ...pieces('Tasks in /a', ' are going to be killed due to memory.oom.group set'),
        kill(2),
      );
      assert.partialDeepStrictEqual(report, {
        oom: { scope: 'cgroup', limit_cgroup: '/a', group_kill: true },
        victims: [
          { pid: 1, cgroup: '/a/b' },
          { pid: 2, cgroup: '/a' },
        ],
      });
      const [old] = told(
        header('a'),
        ...pieces('Task in ', '/a/b', ' killed', ' as a result of limit of ', '/a'),
        'memory: usage 4kB, limit 4kB, failcnt 0',
        ...pieces('Memory cgroup stats for /a', ': cache:4KB rss:8KB'),
        'Memory cgroup out of memory: Kill process 1 (p1) score 9 or sacrifice child',
        kill(1, 'p1', ''),
      );
      assert.partialDeepStrictEqual(old, {
        oom: { scope: 'cgroup', limit_cgroup: '/a', limit: 4096 },
        victims: [{ pid: 1, cgroup: '/a/b' }],
        memory: { cache: 4096, rss: 8192 },
      });
    }
  });

  test('names that a log broke at their newlines', () => {
    const broken = (text: string) => text.split('\n');
    const { reports } = assemble(
      log(
        header('a'),
        ...broken(choice(1).replace('task=p1', 'task=p\nq\n1')),
        ...broken(kill(1, 'p\nq\n1')),
      ),
    );
    assert.partialDeepStrictEqual(reports[0]?.victims[0], { pid: 1, name: 'p\nq\n1', cgroup: '/a/b' });
    for (const end of ['', ' vsz:8kB, anon-rss:4kB, file-rss:0kB']) {
      const [old, ...more] = assemble(
        log(
          header('a'),
          ...broken('Memory cgroup out of memory: kill process 1 (p\nq) score 12 or a child'),
          ...broken(`Killed process 1 (p\nq)${end}`),
        ),
      ).reports;
      assert.equal(more.length, 0);
      assert.partialDeepStrictEqual(old, { oom: { scope: 'cgroup' }, victims: [{ pid: 1, name: 'p\nq' }] });
    }
  });
});

describe('an excerpt of a log', () => {
  const excerpt = (...texts: readonly (string | number)[]) =>
    assemble(log(...texts), { excerpt: true }).reports;
  const cut = 'Out of memory: Killed process 7, UID 48, (httpd)';

  test('the start of a kill is one, whatever follows', () => {
    for (const next of [
      [],
      ['eth0: up'],
      [kill(8)],
      [header('b'), choice(8), kill(8)],
      Array(20).fill('x'),
    ]) {
      const [first, ...more] = excerpt(cut, ...next);
      assert.partialDeepStrictEqual(first, {
        victims: [{ pid: 7, name: 'httpd', userId: 48 }],
        oom: { scope: 'node' },
      });
      assert.deepEqual(pids(more), next.length > 0 && next.includes(kill(8)) ? [[8]] : []);
      for (const { oom } of more) assert.equal(oom.trigger?.name, next.length > 1 ? 'b' : undefined);
    }
    assert.deepEqual(assemble(log(cut, 'eth0: up')).reports, [], 'a record of /dev/kmsg is whole');
  });

  test('what a window broke before 5.0: whose limit it was, and what filled it', () => {
    const cgroup = `/kubepods/pod1/${'c'.repeat(64)}`;
    const lines = [
      `Task in ${cgroup} killed as a result of limit of ${cgroup}`,
      'memory: usage 4kB, limit 4kB, failcnt 1',
      `Memory cgroup stats for ${cgroup}: cache:4KB rss:120KB swap:0KB`,
      kill(7),
    ];
    const [whole] = excerpt(header('a'), ...lines);
    for (const width of [150, 140, 120, 95, 88, 60]) {
      // The pieces of a line have its time.
      const broken = lines.flatMap((line) =>
        [...line.matchAll(new RegExp(`.{1,${width}}`, 'g'))].flatMap(([piece], index) =>
          index === 0 ? [piece.trim()] : [-1, piece.trim()],
        ),
      );
      const [report, ...more] = excerpt(header('a'), ...broken);
      assert.equal(more.length, 0);
      assert.deepEqual([report?.oom, report?.memory], [whole?.oom, whole?.memory], String(width));
    }
    assert.equal(
      excerpt(header('a'), 'Task in /b killed as a result of limit of /c', kill(7))[0]?.oom.limit_cgroup,
      '/c',
    );
  });

  test('what looks like a statistic follows a kill long after it', () => {
    const chosen = 'Out of memory: Kill process 1 (p1) score 9 or sacrifice child';
    assert.deepEqual(pids(excerpt(header('a'), chosen, kill(1, 'p1', ''), 5_000, 'anon 1')), [[1]]);
  });

  test('what follows a line that is cut is no part of it', () => {
    for (const end of ['', '>', '…', '...'])
      for (const next of ['Tasks state (memory values in pages):', 'anon 4096'])
        for (const start of ['Memory cgroup stats for /kubepods/po', 'Task in /kubepods/po'])
          assert.equal(
            excerpt(header('a'), `${start}${end}`, -1, next, kill(7))[0]?.oom.limit_cgroup,
            undefined,
            start + end + next,
          );
  });

  test('who was chosen was killed, unless it was exiting', () => {
    const exiting =
      'Memory cgroup out of memory: OOM victim 1 (p1) is already exiting. Skip killing the task';
    const [report, ...more] = excerpt(
      header('a'),
      choice(1),
      header('b'),
      choice(2),
      exiting.replaceAll('1', '2'),
    );
    assert.equal(more.length, 0);
    assert.partialDeepStrictEqual(report, {
      oom: { scope: 'cgroup', limit_cgroup: '/a', trigger: { name: 'a' } },
      victims: [{ pid: 1, name: 'p1', userId: 0, cgroup: '/a/b' }],
    });
    assert.match(report?.unknown.victims ?? '', /not that it was killed$/);
  });

  test('also when its group is', () => {
    const reports = excerpt(choice(1), group('/a'), kill(2), choice(3), group('/c'), kill(4));
    assert.deepEqual(pids(reports), [[1, 2], [3], [4]]);
    assert.deepEqual(
      reports.map(({ oom }) => oom.group_kill),
      [true, false, true],
    );
    assert.equal(reports[0]?.victims[0]?.cgroup, '/a/b');
    assert.match(reports[0]?.unknown.victims ?? '', /not that it was killed$/);
  });
});

test('a long table keeps the biggest, and says so', () => {
  const rows = Array.from({ length: 5_000 }, (_, index) => {
    const pid = index + 1;
    return `[${String(pid).padStart(7)}]     0 ${pid}     9000 ${String(pid).padStart(8)}    61440        0             0 p${pid}`;
  });
  const head = '[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name';
  const [report] = assemble(log(header('a'), head, ...rows, choice(5_000), kill(5_000))).reports;
  assert.equal(report?.tasks?.length, 200);
  assert.equal(Math.min(...(report?.tasks ?? []).map(({ pid }) => pid)), 4_801);
  assert.equal(report?.unknown.tasks, 'the 200 with the most memory of 5000');
  assert.ok((report?.raw.length ?? 0) <= 500 && report?.raw.at(-1)?.includes('Killed process 5000'));
  assert.match(report?.unknown.raw ?? '', /left out/);
});

describe('the page size', () => {
  const head = '[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name';

  test('shows where a process is printed in pages and in kB', () => {
    const row = '[     64]     0    64       1       1    61440        0             0 p';
    const [report] = assemble(log(header('a'), head, row, choice(64), kill(64))).reports;
    assert.partialDeepStrictEqual(report?.tasks?.[0], { total_vm: 65536, rss: 65536 });
  });

  test('shows although the process has grown in between', () => {
    const row = '[    640]     0   640       9       3    61440        0             0 p';
    const [report] = assemble(log(header('a'), head, row, choice(640), kill(640))).reports;
    assert.partialDeepStrictEqual(report?.tasks?.[0], { total_vm: 9 * 65536, rss: 3 * 65536 });
  });

  test('shows in the lists of free memory, where the table is cut out or was never printed', () => {
    const { lines } = fixture('6.12-arm64-16k/global');
    const pages = { active_anon: 56_714, free: 2_690, ram: 65_536 };
    const bytes = Object.fromEntries(Object.entries(pages).map(([name, count]) => [name, count * 16_384]));
    const withoutTable = lines.filter((line) => !/;\[ *(?:\d+|pid) *\]/.test(line));
    assert.equal(withoutTable.length, lines.length - 3);
    // Kernels without NUMA do not name the node.
    const withoutNuma = withoutTable.map((line) => line.replace(';Node 0 DMA', ';DMA'));
    for (const each of [lines, withoutTable, withoutNuma])
      assert.partialDeepStrictEqual(assemble(each).reports[0]?.memory, bytes);
  });
});

describe('damaged logs', () => {
  const sources = ['6.1/group', '7.2/child', '6.1/weird', '6.1/sysrq', '6.1/leaderexit', '6.1/burst12'].map(
    fixture,
  );

  test('never throw, and never invent a process', () => {
    const random = randomNumbers(20261121);
    for (let round = 0; round < 300; round++) {
      const { lines } = sources[round % sources.length] as (typeof sources)[number];
      const damaged = lines.flatMap((line) => damage(line, random));
      const numbers = new Set(damaged.join('\n').match(/\d+/g));
      for (const report of assemble(damaged).reports) {
        assertValidIncident(toIncident(report));
        for (const { pid, threadId } of report.victims) {
          assert.ok(hasNumber(numbers, pid), `${pid} in round ${round}`);
          assert.ok(threadId === undefined || hasNumber(numbers, threadId));
        }
      }
    }
  });
});

/** A number in the text may have leading zeros after damage. */
function hasNumber(numbers: ReadonlySet<string>, wanted: number): boolean {
  return numbers.has(String(wanted)) || [...numbers].some((text) => Number(text) === wanted);
}

/** Mostly the line; now and then it is gone, doubled, cut short, or has a changed character. */
function damage(line: string, random: () => number): string[] {
  const kind = Math.floor(random() * 40);
  const at = Math.floor(random() * line.length);
  if (kind === 0) return [];
  if (kind === 1) return [line, line];
  if (kind === 2) return [line.slice(0, at)];
  if (kind === 3)
    return [line.slice(0, at) + String.fromCharCode(32 + Math.floor(random() * 95)) + line.slice(at + 1)];
  if (kind === 4) return [line.slice(0, at) + line.slice(Math.floor(random() * line.length))];
  return [line];
}

/** The same numbers for the same seed (mulberry32). */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
