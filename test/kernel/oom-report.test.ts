import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { observe, observeBareKill, parseTaskRow } from '../../src/kernel/oom-report.ts';

const TAIL =
  'total-vm:13360kB, anon-rss:12084kB, file-rss:4kB, shmem-rss:696kB, UID:7 pgtables:60kB oom_score_adj:984';
const MEMORY = {
  total_vm: 13680640,
  anon_rss: 12374016,
  file_rss: 4096,
  shmem_rss: 712704,
  page_tables: 61440,
};

describe('who asked for memory', () => {
  test('the header, of every age', () => {
    assert.deepEqual(
      observe('java invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=984'),
      {
        kind: 'header',
        name: 'java',
        gfpMask: '0xcc0(GFP_KERNEL)',
        order: 0,
        oomScoreAdj: 984,
      },
    );
    assert.partialDeepStrictEqual(
      observe(
        'a invoked oom-killer: gfp_mask=0x14200ca(GFP_HIGHUSER_MOVABLE), nodemask=0-1,  order=2, oom_score_adj=-5',
      ),
      { order: 2, oomScoreAdj: -5 },
    );
    assert.partialDeepStrictEqual(
      observe('a invoked oom-killer: gfp_mask=0x201da, order=0, oom_adj=0, oom_score_adj=0'),
      {
        gfpMask: '0x201da',
      },
    );
    assert.partialDeepStrictEqual(
      observe('kworker/1:2 invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=-1, oom_score_adj=0'),
      { order: -1 },
    );
  });

  for (const name of [
    '',
    'Killed process',
    'nl\nx\\y',
    'Tasks in /',
    'oom-kill:constra',
    '[ 1]',
    'CPU: 1 PID: 1',
    'Pid: 1, comm: a',
    'Mem-Info:',
  ])
    test(`the header of a process named ${JSON.stringify(name)}`, () =>
      assert.partialDeepStrictEqual(
        observe(`${name} invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0`),
        { kind: 'header', name },
      ));

  test('a cgroup whose name looks like a header is no header', () => {
    const path = '/x invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0';
    assert.equal(observe(`Task in /a killed as a result of limit of ${path}`)?.kind, 'old-cgroups');
    assert.equal(observe(`Memory cgroup stats for ${path}:`)?.kind, 'cgroup-statistics');
  });

  test('the CPU line: who, and the kernel', () => {
    const kernel = '7.2.13+deb14-cloud-amd64';
    assert.deepEqual(
      observe(
        `CPU: 1 UID: 0 PID: 139 Comm: postgres Not tainted ${kernel} #1 PREEMPT(lazy)  Debian 7.2.13-1 `,
      ),
      { kind: 'cpu', pid: 139, kernel },
    );
    assert.deepEqual(
      observe('CPU: 3 PID: 7 Comm: a b Kdump: loaded Tainted: G        W  O      4.19.0-26-amd64 #1 Debian'),
      {
        kind: 'cpu',
        pid: 7,
        kernel: '4.19.0-26-amd64',
      },
    );
    assert.partialDeepStrictEqual(
      observe('CPU: 0 PID: 5 Comm: x Tainted: [W]=WARN, [E]=UNSIGNED_MODULE  6.12.1 #1 '),
      {
        kernel: '6.12.1',
      },
    );
  });

  test('the line before 3.10 that says the same', () => {
    assert.deepEqual(observe('Pid: 3121, comm: httpd Not tainted 2.6.32-754.el6.x86_64 #1'), {
      kind: 'cpu',
      pid: 3121,
      kernel: '2.6.32-754.el6.x86_64',
    });
    assert.deepEqual(
      observe('Pid: 9, comm: a, b Tainted: G        W    3.2.0-4-686-pae #1 Debian 3.2.68-1'),
      { kind: 'cpu', pid: 9, kernel: '3.2.0-4-686-pae' },
    );
  });
});

describe('memory', () => {
  test('usage and limits are bytes', () => {
    assert.deepEqual(observe('memory: usage 24576kB, limit 24576kB, failcnt 26'), {
      kind: 'usage',
      of: 'memory',
      usage: 25165824,
      limit: 25165824,
      failcnt: 26,
    });
  });

  test('no limit is no number', () => {
    for (const limit of [
      '9007199254740988',
      '9007199254740991',
      '18014398509481983',
      '8589934588',
      '9'.repeat(40),
    ])
      assert.deepEqual(observe(`memory+swap: usage 4kB, limit ${limit}kB, failcnt 18446744073709551615`), {
        kind: 'usage',
        of: 'memory+swap',
        usage: 4096,
      });
  });

  test('statistics of a cgroup come in one record, in one per line, or in one line', () => {
    assert.deepEqual(observe('Memory cgroup stats for /a:b/c:'), {
      kind: 'cgroup-statistics',
      cgroup: '/a:b/c',
      values: [],
    });
    assert.deepEqual(observe('anon 24973312\nfile 0\npgfault 6143\nworkingset_refault_anon 1\nslab 15616'), {
      kind: 'statistics',
      values: Object.entries({ anon: 24973312, file: 0, slab: 15616 }),
    });
    assert.deepEqual(observe('anon 5'), { kind: 'statistics', values: [['anon', 5]] });
    assert.deepEqual(observe('Memory cgroup stats for /docker/abc: cache:4KB rss:8KB rss_huge:0KB'), {
      kind: 'cgroup-statistics',
      cgroup: '/docker/abc',
      values: Object.entries({ cache: 4096, rss: 8192, rss_huge: 0 }),
    });
  });

  test('those of the node are in pages', () => {
    assert.deepEqual(observe('active_anon:825 inactive_anon:39298 isolated_anon:0\n active_file:0 free:7'), {
      kind: 'node-pages',
      values: Object.entries({
        active_anon: 825,
        inactive_anon: 39298,
        isolated_anon: 0,
        active_file: 0,
        free: 7,
      }),
    });
    // Before 2.6.28.
    assert.deepEqual(observe('Active:118734 inactive:119327 dirty:0 mapped-file:1032'), {
      kind: 'node-pages',
      values: Object.entries({ active: 118734, inactive: 119327, dirty: 0, 'mapped-file': 1032 }),
    });
    assert.deepEqual(observe('262128 pages of RAM'), { kind: 'node-pages', values: [['ram', 262128]] });
    assert.deepEqual(observe('262014 pages RAM'), { kind: 'node-pages', values: [['ram', 262014]] });
    assert.deepEqual(observe('Free swap  = 12kB'), { kind: 'node-bytes', values: [['free_swap', 12288]] });
  });
});

describe('the table of candidates', () => {
  const row = (head: string, text: string) => {
    const seen = observe(head);
    assert.ok(seen?.kind === 'task-columns');
    assert.equal(observe(text)?.kind, 'task-row');
    return parseTaskRow(text, seen.columns);
  };

  test('columns differ between kernels', () => {
    const wanted = {
      pid: 138,
      tgid: 138,
      name: 'python3',
      totalVmPages: 270,
      rssPages: 187,
      swapPages: 3,
      oomScoreAdj: -984,
    };
    assert.deepEqual(
      row(
        '[  pid  ]   uid  tgid total_vm      rss rss_anon rss_file rss_shmem pgtables_bytes swapents oom_score_adj name',
        '[    138]     0   138      270      187       12        1       174    36864        3          -984 python3',
      ),
      wanted,
    );
    assert.deepEqual(
      row(
        '[ pid ]   uid  tgid total_vm      rss nr_ptes swapents oom_score_adj name',
        '[  138]     0   138      270      187       5        3          -984 python3',
      ),
      wanted,
    );
  });

  test('a name is what follows the last column, whatever it is', () => {
    const head = '[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name';
    for (const name of ['', ' ', '1 2 3', '[1] 2', 'Killed process', 'a\nb'])
      assert.equal(
        row(head, `[    115]     0   115     3340     3196    61440        0           984 ${name}`)?.name,
        name,
      );
  });

  test('a row that is cut short is none', () => {
    assert.equal(
      parseTaskRow('[    115]     0   115     3340', ['uid', 'tgid', 'total_vm', 'rss', 'name']),
      undefined,
    );
  });
});

describe('whom the kernel chose', () => {
  const line = (task: string, cgroups = ',oom_memcg=/a,task_memcg=/a/b') =>
    `oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=x.scope,mems_allowed=0${cgroups},task=${task}`;

  test('the choice, with its cgroups', () => {
    assert.deepEqual(observe(line('java,pid=115,uid=7')), {
      kind: 'choice',
      constraint: 'CONSTRAINT_MEMCG',
      limitCgroup: '/a',
      cgroup: '/a/b',
      name: 'java',
      pid: 115,
      userId: 7,
    });
  });

  test('node-wide there is no limit', () => {
    const seen = observe(line('java,pid=115,uid=7', ',global_oom,task_memcg=/a'));
    assert.ok(seen?.kind === 'choice' && seen.limitCgroup === undefined && seen.cgroup === '/a');
  });

  test('a kernel without cpusets or without memory cgroups prints nothing of them', () => {
    const start = 'oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null)';
    const wanted = { kind: 'choice', constraint: 'CONSTRAINT_NONE', name: 'dnsmasq', pid: 812, userId: 453 };
    const end = ',task=dnsmasq,pid=812,uid=453';
    assert.deepEqual(observe(`${start}${end}`), wanted);
    assert.deepEqual(observe(`${start},cpuset=/,mems_allowed=0${end}`), wanted);
    assert.deepEqual(observe(`${start},global_oom,task_memcg=/init.scope${end}`), {
      ...wanted,
      cgroup: '/init.scope',
    });
    for (const name of ['', ',task=a', 'a,task=b,pid=1', 'x,pid=1,uid=0'])
      assert.partialDeepStrictEqual(observe(`${start},task=${name},pid=812,uid=453`), { name, pid: 812 });
  });

  test('several memory nodes', () => {
    assert.equal(
      observe(
        'oom-kill:constraint=CONSTRAINT_MEMORY_POLICY,nodemask=0,2-3,cpuset=/,mems_allowed=0-1,3,global_oom,task_memcg=/,task=x,pid=1,uid=0',
      )?.kind,
      'choice',
    );
  });

  for (const name of [
    '',
    'x,pid=1,uid=0',
    ',task=a',
    'a,task=b,pid=1',
    '),(',
    'nl\n,uid=1',
    ',task_memcg=/x',
  ])
    test(`a process named ${JSON.stringify(name)}`, () =>
      assert.partialDeepStrictEqual(observe(line(`${name},pid=205,uid=3`)), {
        name,
        pid: 205,
        userId: 3,
        cgroup: '/a/b',
      }));

  test('a cgroup named like a task', () => {
    assert.partialDeepStrictEqual(
      observe(
        line(
          'java,pid=2,uid=0',
          ',oom_memcg=/a,task=init,pid=1,uid=0,task_memcg=/a,task=init,pid=1,uid=0/long-enough-name',
        ),
      ),
      { name: 'java', pid: 2 },
    );
  });

  test('before 5.0', () => {
    assert.deepEqual(observe('Task in /docker/a killed as a result of limit of /docker'), {
      kind: 'old-cgroups',
      cgroup: '/docker/a',
      limitCgroup: '/docker',
    });
    assert.deepEqual(
      observe('Memory cgroup out of memory: Kill process 12 (a) b) score 1000 or sacrifice child'),
      {
        kind: 'old-choice',
        prefix: 'cgroup',
        pid: 12,
        name: 'a) b',
      },
    );
  });
});

describe('who was killed', () => {
  test('the words before it tell the scope', () => {
    for (const [words, prefix] of [
      ['Memory cgroup out of memory: ', 'cgroup'],
      ['Out of memory: ', 'node'],
      ['Out of memory (oom_kill_allocating_task): ', 'allocating-task'],
    ] as const)
      assert.deepEqual(observe(`${words}Killed process 115 (java) ${TAIL}`), {
        kind: 'kill',
        prefix,
        pid: 115,
        name: 'java',
        userId: 7,
        memory: MEMORY,
        oomScoreAdj: 984,
      });
  });

  test('older kernels say less, or say it elsewhere', () => {
    const memory = { total_vm: 1024, anon_rss: 2048, file_rss: 3072 };
    const sizes = 'total-vm:1kB, anon-rss:2kB, file-rss:3kB';
    assert.deepEqual(observe(`Killed process 9 (x) ${sizes}`), { kind: 'kill', pid: 9, name: 'x', memory });
    for (const text of [`Killed process 9 (x), UID 27, ${sizes}`, `Killed process 9, UID 27, (x) ${sizes}`])
      assert.deepEqual(observe(text), { kind: 'kill', pid: 9, name: 'x', userId: 27, memory });
  });

  test('before 2.6.36 it had other words, and before 2.6.34 no sizes', () => {
    assert.deepEqual(observe('Out of memory: kill process 221 (httpd) score 120 or a child'), {
      kind: 'old-choice',
      prefix: 'node',
      pid: 221,
      name: 'httpd',
      bareKill: true,
    });
    assert.deepEqual(observe('Killed process 221 (httpd) vsz:6784kB, anon-rss:2220kB, file-rss:0kB'), {
      kind: 'kill',
      pid: 221,
      name: 'httpd',
      memory: { total_vm: 6784 * 1024, anon_rss: 2220 * 1024, file_rss: 0 },
    });
    assert.deepEqual(observeBareKill('Killed process 221 (a) b)'), {
      kind: 'kill',
      pid: 221,
      name: 'a) b',
      memory: {},
    });
    assert.equal(observeBareKill('Killed process 221 (a) b'), undefined);
  });

  test('2.6.16 to 2.6.27 end it with a full stop', () => {
    assert.partialDeepStrictEqual(
      observe('ntpd invoked oom-killer: gfp_mask=0x201d2, order=0, oomkilladj=-17'),
      { kind: 'header', name: 'ntpd', gfpMask: '0x201d2', order: 0 },
    );
    assert.deepEqual(observe('Out of memory: Killed process 18311, UID 48, (httpd).'), {
      kind: 'kill',
      prefix: 'node',
      pid: 18311,
      name: 'httpd',
      userId: 48,
      memory: {},
    });
    for (const [words, prefix] of [
      ['Out of Memory', 'node'],
      ['No available memory in cpuset', 'cpuset'],
      ['No available memory (MPOL_BIND)', 'memory-policy'],
    ] as const) {
      assert.deepEqual(observe(`${words}: Killed process 2711 (a).).`), {
        kind: 'kill',
        prefix,
        pid: 2711,
        name: 'a).',
        memory: {},
      });
      assert.partialDeepStrictEqual(observe(`${words}: Kill process 2711 (a) score 977 and children.`), {
        kind: 'old-choice',
        prefix,
        pid: 2711,
      });
    }
  });

  test('a number that is cut short is none', () => {
    const start = 'Out of memory: Killed process 9 (x) total-vm:8kB, anon-rss:4kB';
    const memory = { total_vm: 8192, anon_rss: 4096 };
    for (const end of [', file-rss:12', ', file-rss:12k', ', shmem-rss', '>'])
      assert.deepEqual(observe(start + end), { kind: 'kill', prefix: 'node', pid: 9, name: 'x', memory });
    assert.deepEqual(observe(`${start}, UID:10`), {
      kind: 'kill',
      prefix: 'node',
      pid: 9,
      name: 'x',
      memory,
    });
    for (const end of ['', ' ', ' total-vm', ' total-vm:11', ' total-v>', '>'])
      assert.deepEqual(observeBareKill(`Out of memory: Killed process 9 (x)${end}`.trimEnd()), {
        kind: 'kill',
        prefix: 'node',
        pid: 9,
        name: 'x',
        memory: {},
      });
  });

  test('Virtuozzo and OpenVZ 7 and later name the container', () => {
    for (const name of ['mysqld', 'x) in VE "1"', 'x) VE "1"'])
      for (const container of ['in VE "104"', 'VE "104"'])
        assert.deepEqual(
          observe(
            `Killed process 31 (${name}) ${container} total-vm:8kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB`,
          ),
          {
            kind: 'kill',
            pid: 31,
            name,
            memory: { total_vm: 8192, anon_rss: 4096, file_rss: 0, shmem_rss: 0 },
          },
        );
  });

  test('OpenVZ 6 has words of its own', () => {
    for (const name of ['httpd', 'a) score 1', ') invoked oom-'])
      assert.deepEqual(observe(`4242 (${name}) invoked oom-killer in ub 101 generation 3 gfp 0x200d2`), {
        kind: 'header',
        name,
        gfpMask: '0x200d2',
      });
    for (const name of ['httpd', 'a) score 1', '', ': OOM killed'])
      for (const [words, prefix] of [
        ['Out of memory in UB 101', 'cgroup'],
        ['Out of memory in mem cgroup inside UB 101', 'cgroup'],
        ['Memory cgroup out of memory', 'cgroup'],
        ['Out of memory', 'node'],
        ['Out of memory (oom_kill_allocating_task)', 'allocating-task'],
      ] as const)
        assert.deepEqual(
          observe(`${words}: OOM killed process 4242 (${name}) score 0 vm:8kB, rss:4kB, swap:2kB`),
          { kind: 'kill', prefix, pid: 4242, name, memory: { total_vm: 8192, swap: 2048 } },
        );
    for (const text of [
      'oom-killer in ub 101 generation 3 ends: task died',
      'OOM killer in rage, 1 tasks killed in ub 101',
      'OOM selected worst BC 101 (overdraft 1234):',
    ])
      assert.equal(observe(text), undefined);
  });

  for (const name of [
    '',
    ')',
    'a b (c) d',
    'nl\nx\\y',
    '1) total-vm:1kB,',
    'Killed process',
    '(x) total-vm:1kB',
  ])
    test(`a process named ${JSON.stringify(name)}`, () =>
      assert.partialDeepStrictEqual(observe(`Out of memory: Killed process 115 (${name}) ${TAIL}`), {
        pid: 115,
        name,
      }));

  test('numbers beyond all reason are left out', () => {
    const huge = '9'.repeat(30);
    assert.deepEqual(
      observe(
        `Killed process 9 (x) total-vm:${huge}kB, anon-rss:2kB, file-rss:0kB, UID:${huge} pgtables:${huge}kB oom_score_adj:9999`,
      ),
      { kind: 'kill', pid: 9, name: 'x', memory: { anon_rss: 2048, file_rss: 0 } },
    );
    assert.equal(observe(`Killed process ${huge} (x) total-vm:1kB, anon-rss:2kB`), undefined);
  });

  test('a group, and those who get away', () => {
    assert.deepEqual(observe('Tasks in /a/b are going to be killed due to memory.oom.group set'), {
      kind: 'group',
      cgroup: '/a/b',
    });
    assert.deepEqual(observe('Out of memory: OOM victim 12 (x) is already exiting. Skip killing the task'), {
      kind: 'already-exiting',
      pid: 12,
    });
    assert.deepEqual(observe('Out of memory and no killable processes...'), { kind: 'no-victim' });
    assert.deepEqual(observe('oom_kill_process: 4 callbacks suppressed'), { kind: 'suppressed' });
  });

  test('those who share its memory, before 4.8', () => {
    for (const name of ['jsvc', 'a) sharing', ') in VE "1"'])
      for (const container of ['', ' in VE "104"'])
        assert.deepEqual(observe(`Kill process 12 (${name})${container} sharing same memory`), {
          kind: 'together',
          pid: 12,
          name,
        });
  });

  test('whose memory is freed', () => {
    for (const name of ['java', 'a) b', ''])
      assert.deepEqual(
        observe(`oom_reaper: reaped process 12 (${name}), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB`),
        { kind: 'reaped', pid: 12, name },
      );
    assert.equal(observe('oom_reaper: unable to reap pid:12 (java)'), undefined);
  });

  test('those who die of rage, on Virtuozzo', () => {
    for (const name of ['httpd', 'a) b', ''])
      assert.deepEqual(observe(`Rage kill process 12 (${name})`), { kind: 'together', pid: 12, name });
    assert.equal(observe('OOM killer in rage 1: 2 tasks killed'), undefined);
  });

  test('blanks at the end, from a terminal', () => {
    const choice = 'oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),task=x,pid=9,uid=0';
    for (const text of [
      'x invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0',
      'Out of memory: Kill process 12 (a) score 9 or sacrifice child',
      'Task in /docker/a killed as a result of limit of /docker',
      'Tasks in /a/b are going to be killed due to memory.oom.group set',
      'memory: usage 4kB, limit 4kB, failcnt 0',
      'anon 4096',
      '[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name',
      choice,
    ]) {
      assert.ok(observe(text), text);
      assert.deepEqual(observe(`${text}   `), observe(text));
    }
  });

  test('a line of blanks costs no more than another', () => {
    const start = performance.now();
    for (let lines = 0; lines < 20; lines++)
      observe(`Task in /a killed as a result of limit of /${' '.repeat(16_000)}b`);
    assert.ok(performance.now() - start < 2_000);
  });

  test('what only looks like a kill is none', () => {
    for (const text of [
      `x Out of memory: Killed process 1 (x) ${TAIL}`,
      `Out of memory: Killed process 1 (x) ${TAIL} and more (y)`,
      'Out of memory: Killed process 1 (x)',
      'Killed process 1',
      `systemd[1]: Out of memory: Killed process 1 (x) ${TAIL}`,
      'oom_reaper: reaped process 12 (x), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB',
      'python3: page allocation failure: order:0, mode:0x140dca(GFP_HIGHUSER_MOVABLE), nodemask=(null)',
      `Killed process 1 (${'x'.repeat(20_000)}) ${TAIL}`,
    ])
      assert.notEqual(observe(text)?.kind, 'kill', text.slice(0, 80));
  });
});
