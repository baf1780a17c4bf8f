/** SIGHUP: what a terminal means by it that goes away, and what logrotate means by it. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { AgentProcess, freshStateDir } from '../agent-process.ts';
import { until } from '../sinks/contract.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import { KillLog } from './kill-log.ts';

const MAIN = path.join(import.meta.dirname, '../../src/main.ts');
const PATIENCE_MS = 60_000;
/** Of util-linux: a terminal for a program. */
const probe = spawnSync('script', ['--quiet', '--command', 'true', '/dev/null'], { stdio: 'ignore' });
const skip = probe.status === 0 ? false : 'script (util-linux) makes no terminal here';

/** One that nobody has reaped yet has ended. */
function isAlive(pid: number): boolean {
  const stat = `/proc/${pid}/stat`;
  return existsSync(stat) && !readFileSync(stat, 'utf8').includes(') Z ');
}

/** The agent on a terminal of its own; what it logs goes to a file. */
async function startOnTerminal(t: TestContext, log: KillLog) {
  const at = (name: string) => path.join(folder, name);
  const folder = temporaryFolder(t, 'oom-witness-terminal');
  const args = [
    '--stdout',
    'text',
    '--listen',
    'off',
    '--log-file',
    log.file,
    '--state-dir',
    freshStateDir(t),
  ];
  const command = `echo $$ >${at('pid')}; exec ${process.execPath} ${MAIN} ${args.join(' ')} 2>${at('log')}`;
  const terminal = spawn('script', ['--quiet', '--flush', '--command', command, '/dev/null'], {
    env: { PATH: process.env.PATH, SHELL: '/bin/sh' },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let shown = '';
  terminal.stdout.setEncoding('utf8').on('data', (text) => (shown += text));
  const logged = () => (existsSync(at('log')) ? readFileSync(at('log'), 'utf8') : '');
  await until(() => logged().includes('"armed"'), 'an agent on a terminal', PATIENCE_MS);
  const pid = Number(readFileSync(at('pid'), 'utf8'));
  t.after(() => {
    terminal.kill('SIGKILL');
    if (isAlive(pid)) process.kill(pid, 'SIGKILL');
  });
  return { pid, terminal, logged, shown: () => shown };
}

describe('SIGHUP', () => {
  it('does not end an agent that has no file to open anew', async (t) => {
    const log = new KillLog(t);
    const agent = await AgentProcess.start(t, { args: ['--log-file', log.file] });
    agent.signal('SIGHUP');
    log.kill();
    await agent.until(() => agent.incidents.length === 1, 'telling a kill');
    assert.equal(await agent.terminate(), 0);
  });

  it('ends it when its terminal has gone, and not before', { skip }, async (t) => {
    const log = new KillLog(t);
    const { pid, terminal, logged, shown } = await startOnTerminal(t, log);
    process.kill(pid, 'SIGHUP');
    log.kill();
    await until(() => shown().includes('OOM KILL'), 'an incident on the terminal', PATIENCE_MS);

    terminal.kill('SIGKILL');
    await until(() => !isAlive(pid), 'the end of the agent', PATIENCE_MS);
    assert.match(logged(), /"SIGHUP"/);
  });
});
