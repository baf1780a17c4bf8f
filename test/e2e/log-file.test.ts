import assert from 'node:assert/strict';
import { appendFileSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import path from 'node:path';
import { describe, it } from 'node:test';
import { AgentProcess, freshStateDir } from '../agent-process.ts';
import { type Launched, launch, makeCgroup, whyNoKills } from '../kills/kills.ts';
import { Syslogd } from '../kills/syslogd.ts';
import { temporaryFolder } from '../temporary-folder.ts';

const skip = whyNoKills() ?? false;

async function assertTold(agent: AgentProcess, victims: readonly Launched[]): Promise<void> {
  const pids = victims.map(({ pid }) => pid);
  await agent.until(() => agent.of(pids).length >= pids.length, `telling ${pids.length} kills`);
  for (const { pid, args } of victims) {
    const [incident, ...more] = agent.of([pid]);
    assert.equal(more.length, 0, 'once');
    assert.deepEqual(incident?.process.command_args, args, `unknown: ${JSON.stringify(incident?.unknown)}`);
    assert.deepEqual(incident?.witness, ['log']);
    assert.match(incident?.id ?? '', /^log:[0-9a-f]{32}$/);
  }
}

describe('real kills in a log file', { skip }, () => {
  for (const [name, nodeOptions] of [
    ['watched with inotify', []],
    ['looked at again and again, without node:ffi', ['--no-experimental-ffi']],
  ] as const)
    it(`are told with their command lines, through a rotation: ${name}`, async (t) => {
      const group = makeCgroup(16 << 20);
      t.after(() => group.remove());
      const syslogd = new Syslogd(t);
      const agent = await AgentProcess.start(t, { args: ['--log-file', syslogd.file], nodeOptions });
      const until = (pids: readonly number[]) => agent.knows(pids);
      const first = await launch(group, { count: 3, until, text: ['--index=%d', 'two words', 'ü'] });
      syslogd.write();
      await assertTold(agent, first);
      syslogd.rotate();
      const second = await launch(group, { count: 3, parallel: 3, until });
      syslogd.write();
      await assertTold(agent, second);
      assert.equal(await agent.terminate(), 0);
    });

  it('are told after a restart, once, also when the log was rotated meanwhile', async (t) => {
    const group = makeCgroup(16 << 20);
    t.after(() => group.remove());
    const syslogd = new Syslogd(t);
    const options = { args: ['--log-file', syslogd.file], stateDir: freshStateDir(t) };
    const first = await AgentProcess.start(t, options);
    const before = await launch(group, { count: 1, until: (pids) => first.knows(pids) });
    syslogd.write();
    await assertTold(first, before);
    assert.equal(await first.terminate(), 0);
    const missed = await launch(group, { count: 1, liveMs: 100 });
    syslogd.write();
    syslogd.rotate();
    const second = await AgentProcess.start(t, options);
    const after = await launch(group, { count: 1, until: (pids) => second.knows(pids) });
    syslogd.write();
    await assertTold(second, after);
    const [late] = second.of(missed.map(({ pid }) => pid));
    assert.match(late?.unknown?.['process.command_line'] ?? '', /while the agent was down/);
    assert.deepEqual(second.of(before.map(({ pid }) => pid)), []);
  });
});

describe('a log file that cannot be read', () => {
  it('in a folder that is not there: one line names the option, exit code 1', async (t) => {
    const agent = AgentProcess.launch(t, { args: ['--log-file', '/nowhere/messages'] });
    assert.equal(await agent.exited(), 1);
    assert.match(JSON.stringify(agent.log.at(-1)), /--log-file \/nowhere\/messages: not there/);
  });
});

describe('in the place of oom_messages_exporter', () => {
  it('its metrics are on its port, on every path, for what is appended to its log', async (t) => {
    const folder = temporaryFolder(t, 'oom-witness-log');
    const file = path.join(folder, 'messages');
    writeFileSync(file, '');
    const agent = await AgentProcess.start(t, {
      args: ['--replace', 'oom-messages-exporter'],
      env: {
        oom_messages_exporter_MESSAGES_LOG: file,
        oom_messages_exporter_PORT: '0',
        oom_messages_exporter_TEST: 'yes',
      },
    });
    const url = () => agent.log.find(({ program }) => program === 'oom-messages-exporter')?.url;
    await agent.until(() => url() !== undefined, 'listening');
    const at = Math.floor(Date.now() / 1000);
    appendFileSync(
      file,
      `${new Date(at * 1000).toISOString()} ${hostname()} kernel: Out of memory: Killed process 3319125 (a b (c) d) total-vm:17404kB, anon-rss:16256kB, file-rss:716kB, shmem-rss:0kB\n`,
    );
    await agent.until(() => agent.incidents.length > 0, 'telling the kill');
    const { port } = new URL(String(url()));
    for (const where of ['/', '/metrics', '/any/other?path=1']) {
      const response = await fetch(`http://127.0.0.1:${port}${where}`);
      assert.equal(response.status, 200);
      assert.match(response.headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/);
      const text = await response.text();
      const labels = '{command="a b (c) d",container="None",namespace="None",pod="None"}';
      assert.ok(text.includes(`oom_messages_exporter_last_killed_pid${labels} 3319125\n`), text);
      assert.ok(text.includes(`oom_messages_exporter_last_killed_time${labels} ${at}\n`), text);
    }
    assert.ok(agent.log.some(({ note }) => String(note).startsWith('oom_messages_exporter_TEST')));
  });
});
