/** The same code on Node.js 24, which has no `node:ffi`: the kernel's log is read as ever, processes are found by scans. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { AgentProcess, freshStateDir } from './agent-process.ts';
import { launch, makeCgroup, whyNoKills } from './kills/kills.ts';
import { cacheFolder } from './servers/cache.ts';
import { ADDRESS_OF_NOBODY } from './servers/free-ports.ts';
import { receiveUdp } from './servers/syslog-receiver.ts';
import { until } from './sinks/contract.ts';
import { Receiver } from './sinks/receiver.ts';

const INSTALL_LIMIT_MS = 300_000;

type InstalledNode = { readonly node: string } | { readonly missing: string };

/** Node.js 24 in the tests' cache, put there by npm the first time. */
async function installNode24(): Promise<InstalledNode> {
  const folder = path.join(cacheFolder(), 'node-24');
  const name = `node-linux-${process.arch}`;
  const program = path.join('node_modules', name, 'bin', 'node');
  if (existsSync(path.join(folder, program))) return { node: path.join(folder, program) };
  // The folder appears under its name only when it is complete.
  const part = `${folder}.${process.pid}`;
  try {
    await mkdir(part, { recursive: true });
    const npm = ['install', '--prefix', part, '--ignore-scripts', '--no-audit', '--no-fund', `${name}@24`];
    await promisify(execFile)('npm', npm, { cwd: part, timeout: INSTALL_LIMIT_MS });
    await rm(folder, { recursive: true, force: true });
    await rename(part, folder);
    return { node: path.join(folder, program) };
  } catch (error) {
    const said = (error as { stderr?: string }).stderr?.split('\n').find((line) => /^npm err/i.test(line));
    return { missing: `npm cannot fetch ${name}@24: ${said || (error as Error).message}` };
  } finally {
    await rm(part, { recursive: true, force: true });
  }
}

const installed = await installNode24();
const skip = 'missing' in installed ? installed.missing : (whyNoKills() ?? false);
const node = 'node' in installed ? installed.node : undefined;

function start(t: TestContext, args: readonly string[]): Promise<AgentProcess> {
  return AgentProcess.start(t, { ...(node && { node }), args });
}

/** Three kills; waits until they are told. */
async function kill(t: TestContext, agent: AgentProcess) {
  const group = makeCgroup(16 << 20);
  t.after(() => group.remove());
  const victims = await launch(group, { count: 3, parallel: 3, until: (pids) => agent.knows(pids) });
  const pids = victims.map(({ pid }) => pid);
  await agent.until(() => agent.of(pids).length === victims.length, 'telling three kills');
  return { victims, incidents: agent.of(pids) };
}

describe('on Node.js 24', { skip }, () => {
  it('tells real kills with the command lines that scans of /proc have found', async (t) => {
    const agent = await start(t, []);
    const { victims, incidents } = await kill(t, agent);
    for (const { pid, args } of victims) {
      const told = incidents.find((incident) => incident.process.pid === pid);
      assert.deepEqual(told?.process.command_args, args, `unknown: ${JSON.stringify(told?.unknown)}`);
      assert.equal(told?.victims[0]?.capture.source, 'scan');
    }
    assert.equal(await agent.terminate(), 0);
  });

  it('says at start and in /readyz what is missing and what that costs, and is ready', async (t) => {
    const agent = await start(t, ['--listen', '127.0.0.1:0']);
    const said = (msg: string) => agent.log.find((line) => line.msg === msg);
    await agent.until(() => said('listening') !== undefined, 'listening');
    await agent.until(() => said('process events: blind') !== undefined, 'telling what it cannot see');
    assert.match(`${said('started')?.node}`, /^24\./);
    assert.match(`${said('process events: blind')?.reason}`, /^Node\.js 24\.\S+ has no node:ffi/);
    assert.match(`${said('process events: blind')?.cost}`, /live for less than a scan/);

    const answer = await fetch(new URL('/readyz', `${said('listening')?.url}`));
    assert.equal(answer.status, 200);
    const { ready, parts } = (await answer.json()) as {
      ready: boolean;
      parts: readonly { name: string; works: boolean; problem?: string }[];
    };
    assert.equal(ready, true);
    const works = Object.fromEntries(parts.map(({ name, works }) => [name, works]));
    assert.deepEqual(works, { 'kernel log': true, 'process events': false, store: true });
    assert.match(parts.find(({ name }) => name === 'process events')?.problem ?? '', /node:ffi/);
    assert.equal(await agent.terminate(), 0);
  });

  it('delivers to file, webhook, Slack and syslog, and has a client for Elasticsearch', async (t) => {
    const file = path.join(freshStateDir(t), 'incidents.jsonl');
    const webhook = await Receiver.start(t);
    const slack = await Receiver.start(t);
    const syslog = await receiveUdp(t);
    const agent = await start(t, [
      ...['--file', file, '--webhook-url', webhook.url, '--slack-webhook', `${slack.url}/services/x`],
      ...['--syslog-server', `127.0.0.1:${syslog.port}`, '--drain-timeout', '1s'],
      ...['--elasticsearch-server', ADDRESS_OF_NOBODY, '--elasticsearch-index', 'oom'],
    ]);
    const { victims } = await kill(t, agent);
    const refused = () => agent.log.find(({ sink }) => sink === 'elasticsearch');
    await agent.until(() => refused() !== undefined, 'trying Elasticsearch');
    assert.match(`${refused()?.reason}`, /ECONNREFUSED/);
    const received = () => [
      readFileSync(file, 'utf8'),
      webhook.requests.map(({ body }) => body).join('\n'),
      syslog.messages.join('\n'),
    ];
    const isThere = (text: string) => victims.every(({ pid }) => new RegExp(`\\b${pid}\\b`).test(text));
    // Before the end, which waits for no more than a second.
    await until(() => received().every(isThere) && slack.requests.length > 0, 'the deliveries');
    assert.equal(await agent.terminate(), 0);
    const left = agent.log.find(({ elasticsearch }) => typeof elasticsearch === 'number');
    assert.partialDeepStrictEqual(left, { file: 0, slack: 0, stdout: 0, syslog: 0, webhook: 0 });
  });
});
