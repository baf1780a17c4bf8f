/** Beside oom_messages_exporter itself: one log file, which both follow. */
import assert from 'node:assert/strict';
import { appendFileSync, truncateSync } from 'node:fs';
import { describe, it, type TestContext } from 'node:test';
import { AgentProcess } from '../agent-process.ts';
import { launch, makeCgroup, whyNoKills } from '../kills/kills.ts';
import { Syslogd } from '../kills/syslogd.ts';
import { headings, type ShownFamily, shownFamilies } from '../metrics/exposition.ts';
import { freePort } from '../servers/free-ports.ts';
import { peerProgram } from '../servers/peer.ts';
import { startServer } from '../servers/process.ts';
import { until } from '../sinks/contract.ts';

const NAME = 'oom-messages-exporter';
const PREFIX = 'oom_messages_exporter_';
const peer = peerProgram(NAME);
const skip = 'missing' in peer ? peer.missing : (whyNoKills() ?? false);

/** A command's name -> the last pid. */
type Pids = Readonly<Record<string, number>>;
type Shown = Readonly<Record<string, ShownFamily>>;

const killed = (pid: number, name: string) =>
  `Memory cgroup out of memory: Killed process ${pid} (${name}) total-vm:17404kB, anon-rss:16256kB, file-rss:716kB, shmem-rss:0kB, UID:0 pgtables:72kB oom_score_adj:0`;

describe('beside oom_messages_exporter', { skip }, () => {
  /** Both, at the end of one log, and what their ports say. */
  async function both(t: TestContext) {
    assert.ok('executable' in peer);
    const syslogd = new Syslogd(t);
    const port = await freePort();
    const env = { [`${PREFIX}MESSAGES_LOG`]: syslogd.file };
    const program = await startServer({
      command: peer.executable,
      // It says which lines it has read.
      env: { ...env, [`${PREFIX}PORT`]: String(port), [`${PREFIX}DEBUG`]: 'yes' },
      ready: (line) => line.includes('oom_messages_exporter started!'),
    });
    t.after(() => program.stop());
    const agent = await AgentProcess.start(t, {
      args: ['--replace', NAME],
      env: { ...env, [`${PREFIX}PORT`]: '0' },
    });
    const url = () => agent.log.find((line) => line.program === NAME)?.url;
    await agent.until(() => url() !== undefined, 'its port');
    const page = async (of: number | string) =>
      shownFamilies(await (await fetch(`http://127.0.0.1:${of}/metrics`)).text(), PREFIX);
    const ours = () => page(new URL(String(url())).port);
    const theirs = () => page(port!);
    return {
      agent,
      syslogd,
      program,
      ours,
      theirs,
      /** Waits until a page shows these, of processes in no container, and nothing else. */
      async shows(of: () => Promise<Shown>, pids: Pids): Promise<void> {
        const wanted = Object.entries(pids).map(([name, pid]) => [series('pid', name), pid]);
        let shown: readonly (readonly [string, number])[] = [];
        await until(
          async () => {
            shown = [...((await of())[`${PREFIX}last_killed_pid`]?.series ?? [])];
            return JSON.stringify(shown.toSorted()) === JSON.stringify(wanted.toSorted());
          },
          () => `${JSON.stringify(wanted)}, but it is ${JSON.stringify(shown)}`,
          15_000,
        );
      },
    };
  }

  it('real kills: the same names, help, types, labels and pids', async (t) => {
    const { syslogd, ours, theirs, shows } = await both(t);
    assert.deepEqual(headings(await ours()), headings(await theirs()));
    const group = makeCgroup(16 << 20);
    t.after(() => group.remove());
    const victims = await launch(group, { count: 3, liveMs: 50 });
    syslogd.write((text) => victims.some(({ pid }) => new RegExp(`\\b${pid}\\b`).test(text)));
    const last = { victim: victims.at(-1)!.pid };
    await Promise.all([shows(ours, last), shows(theirs, last)]);
    const [our, their] = [await ours(), await theirs()];
    const time = `${PREFIX}last_killed_time`;
    assert.deepEqual([...our[time]!.series.keys()], [...their[time]!.series.keys()]);
    t.diagnostic(`ours: ${[...our[time]!.series]}, theirs: ${[...their[time]!.series]}`);
  });

  it('names of every form, dumps, and lines that are no kill', async (t) => {
    const { syslogd, ours, theirs, shows } = await both(t);
    for (const text of [
      killed(101, 'java'),
      'oom_reaper: reaped process 101 (java), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB',
      killed(102, 'a b (c) d'),
      killed(103, 'quo"te\\back'),
      killed(104, ''),
      killed(105, 'häß€'),
      'Out of memory: Kill process 106 (old) score 900 or sacrifice child',
      'Killed process 106 (old) total-vm:17404kB, anon-rss:16256kB, file-rss:716kB',
      'Out of memory: Killed process 107 (global) total-vm:17404kB, anon-rss:16256kB, file-rss:716kB, shmem-rss:0kB, UID:1000 pgtables:72kB oom_score_adj:300',
      '[    101]     0   101     4351     4243       73728        0             0 java',
      'kauditd_printk_skb: 4 callbacks suppressed',
      killed(108, 'java'),
    ])
      syslogd.append(text);
    const all = {
      'a b (c) d': 102,
      'quo\\"te\\\\back': 103,
      'Could not get a proc name from a line.': 104,
      'häß€': 105,
      old: 106,
      global: 107,
      java: 108,
    };
    await Promise.all([shows(ours, all), shows(theirs, all)]);
  });

  it('a log that is rotated, then emptied', async (t) => {
    const { syslogd, ours, theirs, shows } = await both(t);
    syslogd.append(killed(201, 'before'));
    syslogd.rotate();
    syslogd.append(killed(202, 'after'));
    // It takes a log for emptied when it is shorter than it was: after that there must be less.
    syslogd.append('usb 1-1: new high-speed USB device number 2 using xhci_hcd');
    const rotated = { before: 201, after: 202 };
    await Promise.all([shows(ours, rotated), shows(theirs, rotated)]);
    truncateSync(syslogd.file);
    syslogd.append(killed(203, 'emptied'));
    const all = { ...rotated, emptied: 203 };
    await Promise.all([shows(ours, all), shows(theirs, all)]);
  });

  it('what it gets wrong: the time is when it read, half a line is lost, a wrong byte is its end', async (t) => {
    const { agent, syslogd, program, ours, theirs, shows } = await both(t);
    const anHourAgo = new Date(Date.now() - 3_600_000);
    syslogd.append(killed(301, 'early'), anHourAgo);
    await Promise.all([shows(ours, { early: 301 }), shows(theirs, { early: 301 })]);
    const time = async (page: () => Promise<Shown>) =>
      (await page())[`${PREFIX}last_killed_time`]!.series.get(series('time', 'early'))!;
    assert.equal(await time(ours), anHourAgo.getTime() / 1000);
    assert.ok((await time(theirs)) > anHourAgo.getTime() / 1000 + 3_500);

    const line = `${new Date().toISOString()} half kernel: ${killed(302, 'halved')}\n`;
    const cut = line.indexOf('process 302');
    appendFileSync(syslogd.file, line.slice(0, cut));
    await until(() => /Got string w\/o OOM.* half kernel/.test(program.log()), 'its first half', 5_000);
    appendFileSync(syslogd.file, line.slice(cut));
    syslogd.append(killed(303, 'later'));
    await Promise.all([
      shows(ours, { early: 301, halved: 302, later: 303 }),
      shows(theirs, { early: 301, later: 303 }),
    ]);

    appendFileSync(syslogd.file, Buffer.from([0xff, 0x0a]));
    syslogd.append(killed(304, 'last'));
    await shows(ours, { early: 301, halved: 302, later: 303, last: 304 });
    await until(() => program.log().includes('UnicodeDecodeError'), 'its end', 5_000);
    assert.equal(await agent.terminate(), 0);
  });
});

/** As both write it, of a process in no container. */
function series(metric: 'pid' | 'time', command: string): string {
  return `${PREFIX}last_killed_${metric}{command="${command}",container="None",namespace="None",pod="None"}`;
}
