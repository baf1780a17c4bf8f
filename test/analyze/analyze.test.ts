import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { type AnalyzeOptions, analyze, type LogSummary } from '../../src/analyze/analyze.ts';
import type { Incident } from '../../src/incident.ts';
import { comm, fixture, fixtures, records } from '../kmsg-fixture.ts';
import { assertValidIncident } from '../validate-incident.ts';
import { BOOT, RENDERINGS } from './rendering.ts';

const NOW = BOOT + 86_400_000;

async function* chunked(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function incidents(
  log: string | Buffer,
  options: Partial<AnalyzeOptions> = {},
  chunk = 1 << 20,
): Promise<Incident[]> {
  const found: Incident[] = [];
  for await (const incident of analyze(chunked(Buffer.from(log), chunk), { now: NOW, ...options })) {
    assertValidIncident(incident);
    found.push(incident);
  }
  return found;
}

/** What must not depend on the format. */
const essence = ({ oom, victims, memory, tasks }: Incident) => ({ oom, victims, memory, tasks });

describe('every format tells the same kills', () => {
  const recorded = fixtures().filter(({ scenario }) => scenario !== 'nokill');
  for (const [format, render] of RENDERINGS)
    test(format, async () => {
      for (const { name, lines, truth } of recorded) {
        const found = await incidents(render(lines));
        assert.deepEqual(
          found.flatMap(({ victims }) => victims.map(({ process }) => [process.pid, process.name])),
          truth.killed_by_kernel.map((victim) => [victim.pid, comm(victim)]),
          name,
        );
        // A name with a newline loses its first half where the log breaks its line.
        if (name.endsWith('/weird')) continue;
        assert.deepEqual(found.map(essence), (await incidents(lines.join('\n'))).map(essence), name);
      }
    });
});

test('how a log is cut into chunks makes no difference', async () => {
  const { lines } = fixture('7.2/group');
  for (const [format, render] of RENDERINGS) {
    const log = render(lines);
    const whole = await incidents(log);
    for (const size of [1, 7, 1000])
      assert.deepEqual(await incidents(log, {}, size), whole, `${format} by ${size}`);
  }
});

test('kills far apart in a big log of other things are all found', async () => {
  const noise = Array.from(
    { length: 3_000 },
    (_, index) => `Nov 21 03:14:15 node-7 nginx[812]: Kill Bill ${index} GET /oom-kill`,
  );
  const render = RENDERINGS.find(([name]) => name === 'syslog file, RFC 3164')?.[1];
  const log = ['6.1/group', '7.2/child', '6.1/leaderexit']
    .flatMap((name) => [...noise, render?.(fixture(name).lines).trimEnd()])
    .join('\n');
  let summary: LogSummary | undefined;
  const found = await incidents(log, { finished: (end) => (summary = end) }, 50_000);
  assert.deepEqual(
    found.map(({ victims }) => victims.map(({ process }) => process.pid)),
    [[115, 116, 117], [139], [133]],
  );
  assert.equal(summary?.lines, log.split('\n').length);
  assert.ok(found.every(({ oom }) => oom.header_seen && oom.limit));
});

describe('when', () => {
  const render = (format: string) =>
    RENDERINGS.find(([name]) => name === format)?.[1](fixture('6.1/child').lines) ?? '';
  const killed = BOOT + Math.floor((records(fixture('6.1/child').lines).at(-1)?.timestampUs ?? 0) / 1000);

  for (const [format, precision] of [
    ['dmesg -T', 1000],
    ['dmesg -T in Chinese', 1000],
    ['dmesg -T in French', 1000],
    ['talosctl dmesg', 1],
    ['dmesg --time-format iso', 1],
    ['journalctl -o short', 1000],
    ['journalctl -o short in Japanese', 1000],
    ['logread of OpenWrt', 1000],
    ['syslog file in an export with times of its own', 1000],
    ['journalctl -o short-precise', 1],
    ['journalctl -o short-full', 1000],
    ['journalctl -o short-unix', 1],
    ['journalctl -o json', 1],
    ['journalctl -o export', 1],
    ['journalctl -o verbose', 1],
    ["dmesg in Docker's json-file", 1],
    ['words in fluentd', 1],
    ['words in Filebeat', 1],
    ['journal in Cloud Logging', 1],
    ['syslog file, RFC 5424', 1],
    ['syslog file, ISO 8601 with a blank', 1],
  ] as const)
    test(`${format} knows the time`, async () => {
      const [incident] = await incidents(render(format));
      assert.equal(Date.parse(incident?.time ?? ''), Math.floor(killed / precision) * precision);
    });

  test('the kernel alone knows only how long it has been running', async () => {
    const [incident] = await incidents(render('dmesg'));
    assert.equal(incident?.time, '1970-01-01T00:00:00.000Z');
    assert.match(incident?.unknown?.time ?? '', /no wall-clock time, only 21\.\d{3} s since boot/);
  });

  test('a month in a language that is not read is no reason to lose the kill', async () => {
    for (const log of [
      render('journalctl -o short').replaceAll('Nov ', 'ნოე '),
      render('dmesg -T').replaceAll(' Nov ', ' ნოე '),
    ]) {
      const [incident] = await incidents(log);
      assert.equal(incident?.process.pid, 121);
      assert.equal(incident?.time, '1970-01-01T00:00:00.000Z');
      assert.match(incident?.unknown?.time ?? '', /language/);
    }
  });

  test('with the time of its start that becomes a time', async () => {
    const [incident] = await incidents(render('dmesg'), { bootTime: BOOT });
    assert.equal(Date.parse(incident?.time ?? ''), killed);
  });
});

test('the same log gives the same ids, other kills give others', async () => {
  const log = fixture('6.1/storm').lines.join('\n');
  const ids = (await incidents(log)).map(({ id }) => id);
  assert.deepEqual(
    (await incidents(log)).map(({ id }) => id),
    ids,
  );
  assert.equal(new Set(ids).size, 200);
  assert.equal((await incidents(log, { bootId: 'b' }))[0]?.id, 'b:759');
});

test('a log names its host and its kernel', async () => {
  const render = RENDERINGS.find(([name]) => name === 'journalctl -o json')?.[1];
  const [incident] = await incidents(render?.(fixture('6.1/child').lines) ?? '');
  assert.deepEqual(incident?.host, {
    name: 'node-7',
    boot_id: '6b0c7e8a0d8f4c1e9d6b2f1a54c0a7de',
    kernel: '6.1.0-56-cloud-amd64',
  });
  assert.deepEqual(incident?.witness, ['log']);
});

describe('a log with the newest line first', () => {
  const names = ['6.1/group', '7.2/child', '6.1/leaderexit', '7.2/global'];
  const all = names.flatMap((name, at) =>
    fixture(name).lines.map((line) => {
      const [priority, sequence, us, ...rest] = line.split(',') as [string, string, string, ...string[]];
      return [priority, Number(sequence) + at * 10_000, Number(us) + at * 90_000_000, ...rest].join(',');
    }),
  );
  const upsideDown = (log: string) => {
    const entries = log.trimEnd().split(/\n(?! )/);
    return `${entries.reverse().join('\n')}\n`;
  };
  const render = (format: string, lines: readonly string[]) =>
    RENDERINGS.find(([name]) => name === format)?.[1](lines) ?? '';

  for (const format of [
    'journalctl -o short',
    'journalctl -o short-precise',
    'dmesg',
    'dmesg -T',
    'journalctl -o json',
    'syslog file without host',
  ])
    test(format, async () => {
      const found = (await incidents(upsideDown(render(format, all)))).reverse();
      const wanted = await incidents(render(format, all));
      assert.equal(found.length, names.length);
      assert.deepEqual(found.map(essence), wanted.map(essence));
      assert.deepEqual(
        found.map(({ time }) => time),
        wanted.map(({ time }) => time),
      );
    });

  test('one report, all of it in one second', async () => {
    const log = render('journalctl -o short', fixture('7.2/child').lines).replaceAll(
      /03:14:\d\d/g,
      '03:14:15',
    );
    assert.deepEqual((await incidents(upsideDown(log))).map(essence), (await incidents(log)).map(essence));
    const grep = (text: string) =>
      text
        .split('\n')
        .filter((line) => /oom-kill|Killed/.test(line))
        .join('\n');
    assert.partialDeepStrictEqual(await incidents(grep(upsideDown(log))), [
      {
        oom: { trigger: { name: 'postgres' } },
        process: { pid: 139 },
        victims: [{ memory: { anon_rss: 16592896 } }],
      },
    ]);
  });

  test('a clock that was set back, and another boot, turn nothing around', async () => {
    const [early, late] = [render('dmesg', all.slice(0, 60)), render('dmesg', fixture('6.1/child').lines)];
    const alone = (await incidents(late)).map(essence);
    assert.deepEqual((await incidents(early + late)).map(essence).slice(-1), alone);
    assert.deepEqual(
      (await incidents(`[ 9999.000001] eth0: up\n[ 9998.000001] eth0: up\n${late}`)).map(essence),
      alone,
    );
  });
});

test('a long start without the kernel does not hide it', async () => {
  for (const format of ['logread of OpenWrt', 'syslog file, RFC 5424', 'syslog file, escaped by rsyslog']) {
    const log = RENDERINGS.find(([name]) => name === format)?.[1](fixture('6.1/child').lines) ?? '';
    const other =
      log.split('\n', 1)[0]?.replace(/kern(?:\.\w+|el) .*|kernel: .*/, 'cron[812]: (root) CMD (true)\n') ??
      '';
    assert.match(other, /cron/);
    const found = await incidents(other.repeat(2_000) + log);
    assert.equal(found[0]?.process.pid, 121, format);
  }
});

test('a file that collects the logs of several hosts: each report is of one', async () => {
  const render = RENDERINGS.find(([name]) => name === 'syslog file, RFC 3164')?.[1];
  const of = (name: string, host: string) =>
    (render?.(fixture(name).lines) ?? '').trimEnd().replaceAll(' node-7 ', ` ${host} `).split('\n');
  const logs = [of('7.2/child', 'web-1'), of('6.1/group', 'web-2'), of('6.1/neighbour', 'web-3')];
  const longest = Math.max(...logs.map(({ length }) => length));
  const mixed = Array.from({ length: longest }, (_, at) => logs.flatMap((log) => log[at] ?? [])).flat();
  const found = await incidents(mixed.join('\n'));
  for (const [index, log] of logs.entries()) {
    const [alone] = await incidents(log.join('\n'));
    const here = found.filter(({ host }) => host.name === `web-${index + 1}`);
    assert.deepEqual(here.map(essence), alone && [essence(alone)]);
    assert.equal(here[0]?.time, alone?.time);
  }
  assert.equal(found.length, 3);
  const many = Array.from({ length: 500 }, (_, host) =>
    (logs[0] ?? []).map((line) => line.replace('web-1', `n${host}`)),
  );
  assert.equal((await incidents(many.flat().join('\n'))).length, 500);
});

test('talosctl names the node', async () => {
  const render = RENDERINGS.find(([name]) => name === 'talosctl dmesg')?.[1];
  const log = render?.(fixture('6.1/child').lines) ?? '';
  assert.equal((await incidents(log))[0]?.host.name, 'node-7');
  const alone = log.replaceAll('node-7: ', ' ').replaceAll(/^ kern/gm, 'kern');
  assert.equal((await incidents(alone))[0]?.process.pid, 121);
});

describe('what people hand over', () => {
  const log = (format: string) =>
    (RENDERINGS.find(([name]) => name === format)?.[1](fixture('7.2/child').lines) ?? '').trimEnd();
  const each = (format: string, change: (line: string) => string) =>
    log(format).split('\n').map(change).join('\n');
  /** A log without times breaks a name at its newline, like those that daemons write. */
  const words = records(fixture('7.2/child').lines)
    .map(({ text }) => text)
    .join('\n');

  const quoted = (line: string) => `"${line.replaceAll('"', '""')}"`;

  for (const [title, text] of [
    ['quoted in a mail', each('dmesg', (line) => `> > ${line}`)],
    ['indented in a ticket', each('syslog file, RFC 3164', (line) => `    ${line}  `)],
    [
      'with the names of the files that grep found it in',
      each('syslog file, RFC 3164', (line) => `/var/log/syslog.1:${line}`),
    ],
    ['with their lines, too', each('syslog file, RFC 3164', (line) => `kern.log:81:${line}`)],
    [
      'in colours',
      each('dmesg', (line) =>
        line.replace(/^(\[.{12}\] )([^:]*:)?/, '\u001b[32m$1\u001b[0m\u001b[33m$2\u001b[0m'),
      ),
    ],
    [
      'as syslogd tells everybody who is logged in',
      each(
        'busybox dmesg',
        (line) => `\nMessage from syslogd@node-7 at Nov 21 03:14:15 ...\n kernel:${line}`,
      ),
    ],
    ['behind a level of its own', each('syslog file without host', (line) => `[W] ${line}`)],
    ['with numbered lines', each('dmesg', (line) => `   104\t${line}`)],
    ['with the numbers of lines around what grep found', each('dmesg', (line) => `104-${line}`)],
    ['with numbered lines, in another format', each('dmesg -x', (line) => `104: ${line}`)],
    ['in quotes, in another format', each('journalctl -o short-monotonic', (line) => `> ${line}`)],
    ['in quotes, with lines that belong to the one above', each('dmesg --raw', (line) => `> ${line}`)],
    ['in a string of a program', each('dmesg', (line) => line).replace(/$/, '\n    """ (a kill)')],
    [
      'escaped by rsyslog, without its head',
      (
        RENDERINGS.find(([name]) => name === 'syslog file, escaped by rsyslog')?.[1](
          fixture('7.2/child').lines,
        ) ?? ''
      ).replaceAll(/^.*?kernel: \[.*?\] /gm, ''),
    ],
    ['from a test of NixOS', each('dmesg', (line) => `machine # ${line}`)],
    ['from docker compose', each('dmesg', (line) => `kmsg-1  | ${line}`)],
    ['as an array in JSON or YAML', each('dmesg', (line) => `        "${line}",`)],
    ['from docker logs -t', each('dmesg', (line) => `2026-11-21T03:14:15.926000001Z ${line}`)],
    [
      "from a container's file",
      each('dmesg', (line) => `2026-11-21T03:14:15.926000001+01:00 stdout F ${line}`),
    ],
    ['from a table of CloudWatch', each('dmesg', (line) => `2026-11-21 03:14:15.926,"${line}"`)],
    ['from kubectl logs --prefix', each('dmesg', (line) => `[pod/kmsg-x7x2x/kmsg] ${line}`)],
    [
      "from the log of a virtual machine's host",
      each('dmesg --raw', (line) => `2026-11-21T03:14:15.926Z In(05) vcpu-5 - Guest: ${line}`),
    ],
    ['from Samsung', each('dmesg --raw', (line) => line.replace(/] /, '] I[2:        kswapd0:   85] '))],
    ['from MediaTek', each('dmesg --raw', (line) => line.replace(/] /, '] (2)[85:kworker/0:1]'))],
    ['from Huawei', each('dmesg', (line) => line.replace(/^\[(.*?)\] /, '<4>[$1s][pid:85,cpu2,kswapd0]'))],
    [
      'with differences of times alone',
      each('dmesg', (line) => line.replace(/^\[.*?\]/, '[<    0.000001>]')),
    ],
    ['behind the prompt of a serial console', each('dmesg', (line) => `node-7 login: ${line}`)],
    ['after a power failure', each('dmesg', (line) => `\0\0\0${line}`)],
    ['from a console that returns twice', each('dmesg', (line) => `${line}\r\r`)],
    ['each line in quotes', each('syslog file, RFC 3164', (line) => `"${line}"`)],
    ['with the short name of a file', each('syslog file, RFC 3164', (line) => `syslog:${line}`)],
    [
      'from logcat',
      each(
        'busybox dmesg',
        (line) => `11-21 03:14:15.926     0     0 E kernel  : ${line.replace(/^\[.*?\] /, '')}`,
      ),
    ],
    [
      "from fluentd's files",
      each(
        'syslog file, RFC 3164',
        (line) => `2026-11-21T03:14:15+00:00\tkernel\t${JSON.stringify({ host: 'node-7', message: line })}`,
      ),
    ],
    ['in a table', each('dmesg', (line) => `| ${line} |`)],
    [
      'from Grafana, without the names of the columns',
      each('dmesg', (line) => `2026-11-21 03:14:15.926,${quoted(line)},1795230855926000000,1795230855926_a`),
    ],
    ['with blanks that do not break', each('dmesg', (line) => line.replaceAll(' ', '\u00a0'))],
    ["in the kernel's words alone", words],
  ] as const)
    test(title, async () => {
      const found = await incidents(`Hello,\nthe node did this:\n\n${text}\n\nAny idea?\n`);
      assert.deepEqual(found.map(essence), (await incidents(log('dmesg'))).map(essence));
    });

  test('before it stands when and where', async () => {
    const time = '2026-11-21T03:14:15.926Z';
    for (const [before, name] of [
      ['Nov 21 03:14:15 10.0.0.7 ', '10.0.0.7'],
      ['2026-11-21T04:14:15.926+01:00 node-7 ', 'node-7'],
      [`${time} {job="systemd-journal", host="node-7"} `, ''],
      [`${time} stdout F `, ''],
      [`${time.replace('T', ' ')},`, ''],
      [`[pod/a/b] ${time} `, ''],
    ] as const) {
      const [incident, ...more] = await incidents(each('dmesg', (line) => before + line));
      assert.equal(more.length, 0, before);
      assert.deepEqual([incident?.process.pid, incident?.host.name], [139, name], before);
      const wanted = before.startsWith('Nov') ? new Date(2026, 10, 21, 3, 14, 15).toISOString() : time;
      assert.equal(incident?.time, wanted, before);
    }
  });

  test('a line with a colon is no program because a time stands before it', async () => {
    const kernel = readFileSync(
      new URL('../fixtures/old-kernels/linux-3.10-rhel7.dmesg', import.meta.url),
      'utf8',
    );
    const told = async (text: string) =>
      (await incidents(text)).map(({ oom, victims }) => ({ oom, victims }));
    for (const before of [
      '2026-11-21T03:14:15.9260000Z ',
      '2026-11-21T03:14:15.926000+00:00 i-0123456789abcdef0 ',
      '2026-11-21 03:14:15: ',
      '2026-11-21 03:14:15.926,"',
    ])
      assert.deepEqual(await told(kernel.replaceAll(/^/gm, before)), await told(kernel), before);
  });

  test('a table with the names of its columns', async () => {
    const time = '2026-11-21T03:14:15.926Z';
    const rows = (head: string, row: (line: string) => string) =>
      `${head}\n${each('dmesg', (line) => row(quoted(line)))}\n`;
    for (const [table, host] of [
      [rows('Time,Line,tsNs,id', (line) => `${time},${line},1795230855926000000,1_a`), ''],
      [rows('"labels","Time","Line"', (line) => `${quoted('{"job":"kern","a":"b,c"}')},${time},${line}`), ''],
      [rows('TimeGenerated,Computer,SyslogMessage,x', (line) => `${time},node-7,${line},`), 'node-7'],
      [rows('_time;host;_raw', (line) => `${time};node-7;${line}`), 'node-7'],
      [rows('@timestamp\thost\tprogram\tmessage', (line) => `${time}\tnode-7\tkernel\t${line}`), 'node-7'],
    ] as const) {
      const found = await incidents(table);
      assert.deepEqual(
        found.map(({ victims, host, time }) => [victims[0]?.process, host.name, time]),
        (await incidents(log('dmesg'))).map(({ victims }) => [victims[0]?.process, host, time]),
        table.slice(0, 40),
      );
    }
    const other = rows('time,program,message', (line) => `${time},sshd,${line}`);
    assert.deepEqual(await incidents(other), []);
  });

  test('lines without the stamp of the kernel between others', async () => {
    const stamped = log('syslog file, RFC 3164').split('\n');
    const between = stamped.map((line, index) => (index % 3 === 1 ? line.replace(/\[.*?\] /, '') : line));
    assert.deepEqual(
      (await incidents(between.join('\n'))).map(essence),
      (await incidents(log('dmesg'))).map(essence),
    );
  });

  test('several formats, one below the other', async () => {
    const [dmesg, journal] = [log('dmesg'), log('journalctl -o short')];
    const parts = [`# dmesg\n\n${dmesg}\n`, `# journalctl -k\n\n${journal}\n`, `# dmesg -t\n\n${words}\n`];
    const [wanted] = (await incidents(dmesg)).map(essence);
    for (const order of [
      [0, 1, 2],
      [1, 0, 2],
      [2, 1, 0],
    ]) {
      // The same kill three times, each with another number.
      const text = order.map((part) => parts[part]?.replace(/\b139\b/g, `${part + 1}139`)).join('\n');
      const found = (await incidents(text)).map(essence);
      const expected = [1, 2, 3].map((part) =>
        JSON.parse(JSON.stringify(wanted).replace(/\b139\b/g, `${part}139`)),
      );
      found.sort((a, b) => (a.victims[0]?.process.pid ?? 0) - (b.victims[0]?.process.pid ?? 0));
      assert.deepEqual(found, expected, String(order));
    }
  });

  test('the same kill from two sources is one, another one of the same process is not', async () => {
    const sources = [
      'dmesg',
      'journalctl -o short',
      'journalctl -o short-precise',
      'dmesg -T',
      'syslog file, RFC 3164',
    ];
    for (const one of sources)
      for (const other of sources) {
        const found = await incidents(`${log(one)}\n\n${log(other)}\n`);
        assert.deepEqual(found.map(essence), (await incidents(log(one))).map(essence), `${one}, ${other}`);
      }
    const journal = log('journalctl -o short');
    for (const later of [
      journal.replaceAll(/:\d\d(:\d\d )/g, ':59$1'),
      journal.replaceAll('node-7', 'node-8'),
      journal.replaceAll('anon-rss:1', 'anon-rss:2'),
    ])
      assert.equal((await incidents(`${journal}\n${later}\n`)).length, 2);
  });

  test('of a host whose name has no end: it is cut', async () => {
    const [incident] = await incidents(log('journalctl -o short').replaceAll('node-7', 'n'.repeat(500_000)));
    assert.equal(incident?.host.name, 'n'.repeat(253));
  });

  test('broken by a narrow window', async () => {
    const [wanted] = (await incidents(log('dmesg'))).map(({ victims, oom }) => ({
      victims,
      scope: oom.limit_cgroup,
    }));
    for (const format of ['dmesg', 'journalctl -o short'])
      for (const width of [200, 180, 120, 100]) {
        const broken = each(
          format,
          (line) => line.match(new RegExp(`.{1,${width}}`, 'g'))?.join('\n') ?? line,
        );
        const [incident, ...more] = await incidents(broken);
        assert.equal(more.length, 0);
        assert.deepEqual(
          { victims: incident?.victims, scope: incident?.oom.limit_cgroup },
          wanted,
          `${format} ${width}`,
        );
      }
  });

  test('what follows a kill is no part of it unless it is a size', async () => {
    for (const next of ['usb 1-1: new device', 'eth0: link is up', '> thanks', 'Thanks, see 12:30'])
      for (const between of ['', '[   30.000001] ']) {
        const [incident] = await incidents(`${log('dmesg')}\n${between}${next}\n`);
        assert.match(incident?.raw.at(-1) ?? '', /Killed process 139 .* oom_score_adj:984$/, next);
      }
  });

  test('an event of a cluster', async () => {
    const kill = 'Killed process 71 (node) total-vm:8kB, anon-rss:4kB, file-rss:0kB';
    for (const text of [
      `9m  Warning  OOMKilling  node/node-7  Memory cgroup out of memory: ${kill}, shmem-rss:0kB`,
      `I1121 03:14:15.926031 1 log_monitor.go:159] New status generated: &{Source:kernel-monitor Events:[{Severity:warn Timestamp:2026-11-21 03:14:15.926 +0000 UTC Reason:OOMKilling Message:Memory cgroup out of memory: ${kill}}] Conditions:[]}`,
      `  Warning  OOMKilling  9m  kernel-monitor  Memory cgroup out of memory: Kill process 71 (node) score 9 or sacrifice child\n${kill}`,
    ])
      assert.partialDeepStrictEqual(await incidents(text), [
        { oom: { scope: 'cgroup' }, victims: [{ process: { pid: 71 }, memory: { anon_rss: 4096 } }] },
      ]);
  });

  test('a whole log in one text of a JSON document', async () => {
    const document = (output: string) =>
      JSON.stringify({ InstanceId: 'i-0', Timestamp: '2026-11-21T03:20:00Z', Output: output }, null, 4);
    for (const format of ['dmesg', 'journalctl -o short'])
      for (const end of ['\n', '\r\n']) {
        const [incident, ...more] = await incidents(document(log(format).replaceAll('\n', end)));
        assert.equal(more.length, 0);
        assert.deepEqual(
          incident && essence(incident),
          (await incidents(log('dmesg'))).map(essence)[0],
          format,
        );
        if (format !== 'dmesg') continue;
        assert.equal(incident?.time, '2026-11-21T03:20:00.000Z');
        assert.match(incident?.unknown?.time ?? '', /whole text/);
      }
    const group = (
      RENDERINGS.find(([name]) => name === 'dmesg')?.[1](fixture('6.1/group').lines) ?? ''
    ).trimEnd();
    assert.deepEqual((await incidents(document(group))).map(essence), (await incidents(group)).map(essence));
  });

  test('what a program says there is not believed either', async () => {
    const kill = 'Out of memory: Killed process 1 (init) total-vm:8kB, anon-rss:4kB, file-rss:0kB';
    for (const line of [
      `> Nov 21 03:14:15 node-7 sshd[1]: kernel: ${kill}`,
      `sshd: kernel: ${kill}`,
      `node-7 sshd[1]: ${kill}`,
      `node-7 login: ${kill}`,
      `> <13>Nov 21 03:14:15 node-7 kernel: ${kill}`,
      `  user  :err   : [   12.345678] ${kill}`,
      `node-7 sshd[1]: [   12.345678] ${kill}`,
      `web-1 | Nov 21 03:14:15 node-7 sshd[1]: [   12.345678] ${kill}`,
      `Nov 21 03:14:15 node-7 sshd[1]: hello\n  ${kill}`,
    ])
      assert.deepEqual(await incidents(`${line}\n`), [], line);
  });
});

describe('only the kernel is believed', () => {
  const text =
    'Out of memory: Killed process 1 (init) total-vm:1kB, anon-rss:1kB, file-rss:0kB, shmem-rss:0kB';
  for (const line of [
    `Nov 21 03:14:15 node-7 sshd[1]: ${text}`,
    `Nov 21 03:14:15 node-7 sshd[1]: kernel: ${text}`,
    `<13>1 2026-11-21T03:14:15Z node-7 kernel - - - ${text}`,
    `Sat Nov 21 03:14:15 2026 user.notice kernel: ${text}`,
    `Nov 21 03:14:15 node-7 user.err kernel: [   12.345678] ${text}`,
    `2026-11-21T03:14:15Z Nov 21 03:14:15 node-7 sshd[1]: kernel: ${text}`,
    `user  :err   : [   12.345678] ${text}`,
    `node-7: user:    err: [2026-11-21T03:14:15.926Z]: ${text}`,
    `11,5,12345678,-;${text}`,
    JSON.stringify({ MESSAGE: text, SYSLOG_IDENTIFIER: 'kernel', _TRANSPORT: 'syslog' }),
    JSON.stringify({ fac: 'user', pri: 'err', time: 1.5, msg: text }),
    JSON.stringify({ message: text, program: 'sshd' }),
    JSON.stringify({ jsonPayload: { MESSAGE: text, _TRANSPORT: 'syslog', SYSLOG_IDENTIFIER: 'kernel' } }),
    JSON.stringify({ log: `Nov 21 03:14:15 node-7 sshd[1]: ${text}\n`, stream: 'stdout' }),
    `_HOSTNAME=node-7\n_TRANSPORT=stdout\n_BOOT_ID=6b0c\nMESSAGE=${text}\n`,
    `_HOSTNAME=node-7\n_TRANSPORT=stdout\n_BOOT_ID=6b0c\nMESSAGE=x\n${text}\n`,
  ])
    test(line.slice(0, 60), async () => assert.deepEqual(await incidents(`${line}\n`), []));
});

describe('older kernels', () => {
  const read = (name: string) => readFileSync(new URL(`../fixtures/old-kernels/${name}`, import.meta.url));
  const DOCKER = '3f1c0de9a4b7482e95d06c7f18ab23e45d67f8091a2b3c4d5e6f708192a3b4c5';

  test('3.10 of RHEL 7, node-wide', async () => {
    const [incident, ...more] = await incidents(read('linux-3.10-rhel7.dmesg'));
    assert.equal(more.length, 0);
    assert.partialDeepStrictEqual(incident, {
      host: { kernel: '3.10.0-1160.105.1.el7.x86_64' },
      oom: {
        scope: 'node',
        limit_owner: 'node',
        trigger: { pid: 2817, name: 'mysqld', gfp_mask: '0x201da' },
      },
      process: { pid: 2817, name: 'mysqld', user: { id: 27 } },
      memory: {
        active_anon: 412210 * 4096,
        free: 13270 * 4096,
        total_swap: 2097148 * 1024,
        ram: 524174 * 4096,
      },
    });
    assert.match(incident?.unknown?.['oom.scope'] ?? '', /cpuset/);
    assert.equal(incident?.tasks?.[1]?.swap, 403177 * 4096);
  });

  test('4.14 in a container', async () => {
    const [incident] = await incidents(read('linux-4.14.dmesg'));
    assert.partialDeepStrictEqual(incident, {
      oom: {
        scope: 'cgroup',
        limit_cgroup: `/docker/${DOCKER}`,
        limit_owner: 'container',
        limit: 104857600,
        failcnt: 10,
        swap_limit: 104857600,
        swap_usage: 102388 * 1024,
        header_seen: true,
      },
      process: { pid: 1234, name: 'python3', cgroup: `/docker/${DOCKER}` },
      container: { id: DOCKER, runtime: 'docker' },
      memory: { rss: 101212 * 1024 },
    });
  });

  test('4.19: a child dies for its parent, by the limit of the pod; then one without a header', async () => {
    const [first, second, ...more] = await incidents(read('linux-4.19.dmesg'));
    assert.equal(more.length, 0);
    assert.partialDeepStrictEqual(first, {
      oom: { scope: 'cgroup', limit_owner: 'pod', header_seen: true },
      process: { pid: 4250, name: 'java' },
      victims: [{ oom_score_adj: 872 }],
      memory: { rss: 520004 * 1024 },
    });
    assert.equal(first?.process.cgroup, undefined, "the cgroup that was printed is the parent's");
    assert.partialDeepStrictEqual(second, {
      oom: { scope: 'cgroup', header_seen: false },
      process: { pid: 4402 },
    });
  });

  test('5.10 on cgroup v1', async () => {
    const [incident] = await incidents(read('linux-5.10.dmesg'));
    assert.partialDeepStrictEqual(incident, {
      oom: { scope: 'cgroup', limit_owner: 'container', swap_limit: 67108864, swap_usage: 0 },
      process: { pid: 6021, user: { id: 1000 } },
      memory: { anon: 65273856, shmem: 0 },
      k8s: { pod: { uid: '0f6c1f0e-7d3c-4d7a-9b1e-3a5f7c9d1e2b' }, qos: 'BestEffort' },
    });
  });

  test('kills side by side keep their times', async () => {
    const kernel = (text: string, at: number) => `Nov 21 03:14:1${at} node-7 kernel: ${text}\n`;
    const chosen = (pid: number) =>
      `Memory cgroup out of memory: Kill process ${pid} (p) score 9 or sacrifice child`;
    const killed = (pid: number) => `Killed process ${pid} (p) total-vm:8kB, anon-rss:4kB, file-rss:0kB`;
    const log = [chosen(1), chosen(2), killed(1), killed(2), chosen(3), chosen(4), killed(4)];
    const found = await incidents(log.map((text, index) => kernel(text, index < 4 ? 5 : 6)).join(''));
    assert.deepEqual(
      found.map(({ process, time }) => [process.pid, new Date(time).getSeconds()]),
      [
        [1, 15],
        [2, 15],
        [3, 16],
        [4, 16],
      ],
    );
  });

  test('OpenVZ 6, deep in a log of other things', async () => {
    const noise = 'Nov 21 03:14:14 node-7 nginx[812]: GET /api/v1/items\n'.repeat(1_000);
    const kernel = 'Nov 21 03:14:15 node-7 kernel: [98765.432101]';
    const kill = `${kernel} Out of memory in UB 101: OOM killed process 4242 (httpd) score 0 vm:8kB, rss:4kB, swap:0kB\n`;
    const header = `${kernel} 4241 (php-cgi) invoked oom-killer in ub 101 generation 3 gfp 0x200d2\n`;
    const [first, second, ...more] = await incidents(
      noise + kill + noise + header + kill.replace('4242', '4243') + noise,
    );
    assert.equal(more.length, 0);
    assert.partialDeepStrictEqual(
      [first, second],
      [
        {
          time: new Date(2026, 10, 21, 3, 14, 15).toISOString(),
          process: { pid: 4242 },
          oom: { scope: 'cgroup' },
        },
        { process: { pid: 4243, name: 'httpd' }, oom: { trigger: { name: 'php-cgi' } } },
      ],
    );
  });
});

describe('damaged logs', () => {
  test('a log that ends early is of a kill as soon as it says who', async () => {
    const log = fixture('6.1/child').lines.join('\n');
    const [whole] = await incidents(log);
    const cut = async (at: number) => {
      const [incident, ...more] = await incidents(log.slice(0, at));
      assert.equal(more.length, 0);
      return incident;
    };
    const chosen = log.indexOf('oom-kill:');
    const kill = log.lastIndexOf('Memory cgroup out of memory: ');
    const sizes = log.lastIndexOf('total-vm:');
    assert.partialDeepStrictEqual(await cut(-20), {
      victims: [{ memory: { anon_rss: whole?.victims[0]?.memory?.anon_rss } }],
    });
    for (const at of [
      -20,
      sizes + 10,
      sizes + 3,
      sizes,
      sizes - 1,
      sizes - 5,
      kill + 1,
      log.lastIndexOf('\n', kill),
    ]) {
      const incident = await cut(at);
      assert.deepEqual([incident?.process, incident?.oom], [whole?.process, whole?.oom]);
      assert.equal(/chose/.test(incident?.unknown?.victims ?? ''), at > 0 && at < sizes - 1, String(at));
    }
    for (const at of [chosen, chosen + 100]) assert.equal(await cut(at), undefined);
  });

  test('a log that begins in the middle of a report', async () => {
    const old = readFileSync(new URL('../fixtures/old-kernels/linux-4.14.dmesg', import.meta.url), 'utf8');
    const dmesg = RENDERINGS.find(([name]) => name === 'dmesg')?.[1];
    for (const [log, from] of [
      [old, 'Task in '],
      [old, 'memory: usage'],
      [dmesg?.(fixture('7.2/child').lines) ?? '', 'memory: usage'],
      [dmesg?.(fixture('7.2/child').lines) ?? '', '[  pid  ]'],
    ] as const) {
      const lines = log.split('\n');
      const [whole] = await incidents(log);
      const [incident, ...more] = await incidents(
        `...\n${lines.slice(lines.findIndex((line) => line.includes(from))).join('\n')}`,
      );
      assert.equal(more.length, 0);
      assert.deepEqual(
        [incident?.victims[0]?.memory, incident?.tasks],
        [whole?.victims[0]?.memory, whole?.tasks],
      );
      const { limit, usage, failcnt, limit_cgroup } = whole?.oom ?? {};
      const isBelow = from === 'memory: usage' || from === 'Task in ';
      const isNamed = log !== old || from === 'Task in ';
      assert.partialDeepStrictEqual(incident?.oom, {
        header_seen: false,
        ...(isBelow && { limit, usage, failcnt }),
        ...(isNamed && { limit_cgroup }),
      });
      assert.match(incident?.unknown?.['oom.trigger'] ?? '', /missing|only named/);
    }
  });

  test('what was searched out of a log by a word is enough', async () => {
    const log = (RENDERINGS.find(([name]) => name === 'dmesg')?.[1](fixture('6.1/child').lines) ?? '').split(
      '\n',
    );
    const grep = (words: RegExp) => log.filter((line) => words.test(line)).join('\n');
    for (const words of [/oom-kill:/, /oom-kill/, /oom/i, /Killed/]) {
      const found = await incidents(grep(words));
      assert.deepEqual(
        found.map(({ process }) => [process.pid, process.user]),
        [[121, { id: 0 }]],
        String(words),
      );
    }
    const old = [1, 2].flatMap((pid) => [
      `[${pid}00.000001] Out of memory: Kill process ${pid} (p${pid}) score 9 or sacrifice child`,
      `[${pid}00.000002] Killed process ${pid} (p${pid}) total-vm:8kB, anon-rss:4kB, file-rss:0kB`,
    ]);
    for (const words of [/Out of memory/, /Killed/, /Kill/]) {
      const found = await incidents(old.filter((line) => words.test(line)).join('\n'));
      assert.deepEqual(
        found.map(({ process }) => [process.pid, process.name]),
        [
          [1, 'p1'],
          [2, 'p2'],
        ],
        String(words),
      );
    }
    const header = (pid: number) =>
      `[${pid}00.000001] p${pid} invoked oom-killer: gfp_mask=0x14200ca(GFP_HIGHUSER_MOVABLE), nodemask=(null), order=0, oom_score_adj=0`;
    const reaped = (pid: number) =>
      `[${pid}00.100001] oom_reaper: reaped process ${pid} (p${pid}), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB`;
    const [first, second, ...more] = await incidents(
      [1, 2].flatMap((pid) => [header(pid), reaped(pid)]).join('\n'),
    );
    assert.equal(more.length, 0);
    assert.partialDeepStrictEqual(first, { process: { pid: 1, name: 'p1' }, oom: { header_seen: true } });
    assert.match(first?.unknown?.victims ?? '', /whose memory the kernel freed, and not that it was killed$/);
    assert.equal(second?.process.pid, 2);
    const late = await incidents([header(1), ...old.slice(0, 2), header(2), reaped(1)].join('\n'));
    assert.deepEqual(
      late.map(({ process }) => process.pid),
      [1],
    );
    const nobody = '[100.200000] Out of memory and no killable processes...';
    assert.deepEqual(await incidents([header(1), reaped(1), nobody].join('\n')), []);
    const exiting = '[ 1.000000] Out of memory: OOM victim 1 (p) is already exiting. Skip killing the task';
    const choice = grep(/oom-kill:/);
    assert.deepEqual(await incidents(`${choice}\n${exiting}`), []);
  });

  test('each line twice is the same kill once', async () => {
    for (const name of ['6.1/child', '6.1/group', '7.2/global', '6.12-arm64-16k/global']) {
      const lines = (
        RENDERINGS.find(([format]) => format === 'busybox dmesg')?.[1](fixture(name).lines) ?? ''
      ).split('\n');
      const twice = await incidents(lines.flatMap((line) => [line, line]).join('\n'));
      assert.deepEqual(twice.map(essence), (await incidents(lines.join('\n'))).map(essence), name);
    }
    for (const file of ['linux-3.10-rhel7', 'linux-4.14', 'linux-4.19', 'linux-5.10']) {
      const lines = readFileSync(
        new URL(`../fixtures/old-kernels/${file}.dmesg`, import.meta.url),
        'utf8',
      ).split('\n');
      const twice = await incidents(lines.flatMap((line) => [line, line]).join('\n'));
      assert.deepEqual(twice.map(essence), (await incidents(lines.join('\n'))).map(essence), file);
    }
  });

  test('lines without end, binary rubbish and broken JSON do no harm', async () => {
    const kills = fixture('6.1/child').lines.join('\n');
    const long = `4,1,1,-;Killed ${'x'.repeat(2_000_000)}`;
    const found = await incidents(`4,0,0,-;Linux version\n${long}\n\x00\xff\n${kills}\n`, {}, 100_000);
    assert.deepEqual(
      found.map(({ process }) => process.pid),
      [121],
    );
    assert.deepEqual(
      await incidents('{\n"msg": "Killed\n}\n{"MESSAGE": 5}\n{"MESSAGE":[1,-2,"Killed"]}\n{"dmesg":[\n'),
      [],
    );
    assert.deepEqual(await incidents(Buffer.from([0, 255, 10, 13, 254])), []);
    assert.deepEqual(await incidents(''), []);
  });
});
