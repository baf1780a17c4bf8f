/** Kills inside real Docker containers, seen by an agent on the host. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { AgentProcess, freshStateDir } from '../agent-process.ts';
import { Docker, dockerPackages } from '../servers/docker.ts';
import { startServer } from '../servers/process.ts';
import { until } from '../sinks/contract.ts';
import { untilHeaderIsAllowed } from './kernel-header.ts';
import { firstOf, importVictim, killWaiting, LIMIT, runVictim, toldOf } from './victim-image.ts';

const packages = await dockerPackages();
const skip = 'missing' in packages && packages.missing;
const MAIN = path.join(import.meta.dirname, '../../src/main.ts');

describe('Docker containers', { skip }, () => {
  let docker: Docker;
  before(async () => {
    assert.ok('root' in packages);
    docker = await Docker.start(packages.root);
    await importVictim(docker);
  });
  after(() => docker?.[Symbol.asyncDispose]());

  it('killed as PID 1: told with its full command line, its container and whose limit it was', async (t) => {
    const agent = await AgentProcess.start(t);
    const args = ['hog', 'SIGTERM', '--jvm=-Xmx2g', 'two words', '', 'ü€\n', 'x'.repeat(5_000)];
    const container = await runVictim(t, docker, ...args);
    await killWaiting(docker, container, untilHeaderIsAllowed);
    const { oom, process, victims, container: told } = await firstOf(agent, container);
    assert.deepEqual(process.command_args, ['/victim', ...args]);
    assert.equal(process.command_line, ['/victim', ...args].join(' '));
    assert.equal(process.name, 'victim');
    assert.equal(victims[0]?.capture.source, 'exec');
    assert.match(container, /^[0-9a-f]{64}$/);
    assert.deepEqual(told, { id: container, runtime: 'docker' });
    assert.equal(process.cgroup, `${docker.cgroup}/${container}`);
    assert.equal(oom.limit_cgroup, process.cgroup);
    assert.equal(oom.limit_owner, 'container');
    assert.equal(oom.limit, LIMIT);

    await until(async () => !(await docker.inspect(container)).Running, 'its end');
    const { ExitCode, OOMKilled } = await docker.inspect(container);
    assert.equal(ExitCode, 137);
    // On a busy machine Docker may hear of the death first (7 of 30 times, measured): then it never sets its own flag.
    t.diagnostic(`OOMKilled, as Docker says: ${OOMKilled}`);
    assert.equal(toldOf(agent, container).length, 1);
  });

  it('a child killed in one that lives on: told, and that the container does', async (t) => {
    const agent = await AgentProcess.start(t);
    const terminal = await startServer({
      command: process.execPath,
      args: [
        ...['--disable-warning=ExperimentalWarning', MAIN, '--stdout', 'text', '--listen', 'off'],
        ...['--state-dir', freshStateDir(t)],
      ],
      ready: (line) => line.includes('"armed"'),
    });
    t.after(() => terminal.stop());
    const command = ['parent', '/dev/null', 'SIGTERM', '--page=%d', 'photo.tiff'];
    const container = await runVictim(t, docker, ...command);
    await killWaiting(docker, container, untilHeaderIsAllowed);
    const { process: died, victims } = await firstOf(agent, container);
    assert.deepEqual(died.command_args, ['victim', 'hog', 'SIGTERM', '--page=0', 'photo.tiff']);
    assert.equal(victims[0]?.capture.source, 'exec');
    assert.equal(victims.length, 1);
    const state = await docker.inspect(container);
    assert.equal(state.Running, true);
    assert.equal(died.parent_pid, state.Pid);

    await until(() => terminal.log().includes(`pid ${died.pid}:`), 'the kill on the terminal');
    await terminal.stop();
    const incidents = terminal.log().split(/^(?=\S+ +OOM KILL)/m);
    const block = incidents.find((text) => text.includes(`pid ${died.pid}:`)) ?? '';
    assert.ok(block.includes(`OOM KILL  container ${container.slice(0, 12)} `), terminal.log());
    assert.ok(
      block.includes(
        `victim, pid ${died.pid}: victim hog SIGTERM --page=0 photo.tiff (the container lives on)`,
      ),
      block,
    );
  });

  it('a prefork child has the command line of its parent, and no secret of it is anywhere', async (t) => {
    const secrets = ['tr0ub4dor-one', 'tr0ub4dor-two', 'tr0ub4dor-three', 'tr0ub4dor-four'];
    const args = [
      '--password=tr0ub4dor-one',
      '--api-token',
      'tr0ub4dor-two',
      'postgres://shop:tr0ub4dor-three@db/shop',
      'SECRET_KEY=tr0ub4dor-four',
      '--shop=marker-of-this-test',
    ];
    const stateDir = freshStateDir(t);
    const agent = await AgentProcess.start(t, { stateDir, args: ['--listen', '127.0.0.1:0'] });
    const launch = ['launch', '/dev/null', '1', '1', 'fork', 'SIGTERM', ...args];
    const container = await runVictim(t, docker, ...launch);
    const journal = path.join(stateDir, 'processes.jsonl');
    const isKnown = () => readIfThere(journal).includes('marker-of-this-test');
    await until(isKnown, 'the parent in the journal');
    await killWaiting(docker, container);
    const incident = await firstOf(agent, container);
    assert.equal(incident.victims[0]?.capture.source, 'inherited');

    const url = () => agent.log.find(({ msg }) => msg === 'listening')?.url;
    await agent.until(() => url() !== undefined, 'listening');
    const pages = ['/', '/api/incidents', '/metrics'].map(async (page) =>
      (await fetch(new URL(page, String(url())))).text(),
    );
    const [page = '', api = '', metrics = ''] = await Promise.all(pages);
    // Read while the agent runs, when SQLite's log beside the database still holds the newest.
    const files = readdirSync(stateDir, { recursive: true, withFileTypes: true }).filter((file) =>
      file.isFile(),
    );
    const places = {
      stdout: JSON.stringify(agent.incidents),
      log: agent.stderr.concat(JSON.stringify(agent.log)).join('\n'),
      ...{ page, api, metrics },
      ...Object.fromEntries(
        files.map(({ name, parentPath }) => [name, readIfThere(path.join(parentPath, name))]),
      ),
    };
    for (const [place, text] of Object.entries(places))
      for (const secret of secrets) assert.ok(!text.includes(secret), `${secret} is in ${place}`);

    const holders = Object.keys(places).filter((place) =>
      places[place as keyof typeof places].includes('marker-of-this-test'),
    );
    for (const holder of ['stdout', 'page', 'api', 'processes.jsonl'])
      assert.ok(holders.includes(holder), `the same command line is in ${holder}`);
    assert.ok(
      holders.some((name) => name.includes('.db')),
      holders.join(),
    );
    assert.equal(incident.victims[0]?.capture.redacted, secrets.length);
  });
});

/** The agent replaces and removes files of its own. */
function readIfThere(file: string): string {
  try {
    return readFileSync(file, 'latin1');
  } catch {
    return '';
  }
}
