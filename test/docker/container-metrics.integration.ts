/** The metrics of missing-container-metrics for real kills in real containers, against the kernel's own counters. */
import assert from 'node:assert/strict';
import { after, before, describe, it, type TestContext } from 'node:test';
import { AgentProcess } from '../agent-process.ts';
import { oomKills } from '../kills/kills.ts';
import { Docker, dockerPackages } from '../servers/docker.ts';
import { until } from '../sinks/contract.ts';
import { importVictim, LIMIT, runVictim, toldOf } from './victim-image.ts';

const packages = await dockerPackages();
const skip = 'missing' in packages && packages.missing;

describe('container_restarts, container_ooms, container_last_exit_code', { skip }, () => {
  let docker: Docker;
  before(async () => {
    assert.ok('root' in packages);
    docker = await Docker.start(packages.root);
    await importVictim(docker);
  });
  after(() => docker?.[Symbol.asyncDispose]());

  /** An agent in place of missing-container-metrics, and what its port says of a container. */
  async function replaced(t: TestContext, ...more: readonly string[]) {
    const args = [
      '--replace',
      'missing-container-metrics',
      '--bind-address',
      '127.0.0.1:0',
      '--containerd',
      'false',
    ];
    const agent = await AgentProcess.start(t, { args: [...args, '--docker-socket', docker.socket, ...more] });
    const url = () => agent.log.find(({ program }) => program === 'missing-container-metrics')?.url;
    await agent.until(() => url() !== undefined, 'its port');
    await agent.until(() => agent.log.some(({ runtime }) => runtime === 'docker'), 'following Docker');
    const scrape = async () => (await fetch(new URL('/metrics', String(url())))).text();
    const of = async (id: string) => {
      const lines = (await scrape())
        .split('\n')
        .filter((line) => line.includes(`container_id="docker://${id}"`));
      return Object.fromEntries(
        lines.map((line) => [line.slice(0, line.indexOf('{')), Number(line.split(' ').at(-1))]),
      );
    };
    return { agent, url: String(url()), scrape, of };
  }

  const killed = (container: string) => oomKills(`${docker.cgroup}/${container}`);

  it('PID 1 killed: one kill, exit code 137', async (t) => {
    const { of } = await replaced(t);
    const id = await runVictim(t, docker, 'hog', '200');
    await until(async () => (await of(id)).container_last_exit_code === 137, 'its end');
    await until(async () => (await of(id)).container_ooms === 1, 'its kill');
    assert.deepEqual(await of(id), {
      container_restarts: 1,
      container_ooms: 1,
      container_last_exit_code: 137,
    });
  });

  it('children killed, ten one after another and then five at once: fifteen, as the kernel says', async (t) => {
    const { of, agent } = await replaced(t);
    const id = await docker.command(
      ...['run', '--detach', '--interactive', '--network=none', '--memory', String(LIMIT), '--name=kids'],
      ...[
        '--label',
        'com.docker.compose.service=cart',
        '--label',
        'team=shop',
        '--label',
        'key=tr0ub4dor',
        'victim',
      ],
      ...['/victim', 'parent', '/dev/null', '1000000'],
    );
    t.after(() => docker.command('rm', '--force', id));
    await docker.command('exec', id, '/victim', 'launch', '/dev/null', '10', '1', 'exec', '20');
    await until(async () => (await of(id)).container_ooms === 10, 'ten kills');
    assert.equal(killed(id), 10);
    await docker.command('exec', id, '/victim', 'launch', '/dev/null', '5', '5', 'exec', '100');
    await until(async () => (await of(id)).container_ooms === killed(id), 'as many kills as the kernel says');
    assert.equal(killed(id), 15);
    assert.deepEqual(await of(id), {
      container_restarts: 1,
      container_ooms: 15,
      container_last_exit_code: 0,
    });
    await agent.until(() => toldOf(agent, id).length >= 15, 'telling fifteen kills');
    const { image, ...told } = toldOf(agent, id)[0]?.container ?? {};
    const labels = { 'com.docker.compose.service': 'cart', team: 'shop' };
    assert.deepEqual(told, { id, name: 'kids', runtime: 'docker', labels });
    assert.equal(image?.name, 'victim');
    assert.match(image?.id ?? '', /^sha256:[0-9a-f]{64}$/);

    // How many more Docker itself has seen depends on the kernel: each event is one of a cgroup, not one of a process.
    const events = (await docker.events(id)).filter((each) => each === 'oom').length;
    t.diagnostic(
      `the kernel killed 15, Docker told ${events} oom events, the agent ${toldOf(agent, id).length} incidents`,
    );
  });

  it('killed again and again by its restart policy: four starts, four kills', async (t) => {
    const { of } = await replaced(t);
    const id = await docker.command(
      ...['run', '--detach', '--network=none', '--restart=on-failure:3', '--memory', String(LIMIT)],
      ...['--name=again', 'victim', '/victim', 'hog', '50'],
    );
    t.after(() => docker.command('rm', '--force', id));
    const all = { container_restarts: 4, container_ooms: 4, container_last_exit_code: 137 };
    await until(async () => JSON.stringify(await of(id)) === JSON.stringify(all), 'the fourth end');
  });

  it('twenty containers killed at about the same time: one each', async (t) => {
    const { of } = await replaced(t);
    const ids = await Promise.all(Array.from({ length: 20 }, () => runVictim(t, docker, 'hog', '3000')));
    const all = { container_restarts: 1, container_ooms: 1, container_last_exit_code: 137 };
    for (const id of ids)
      await until(async () => JSON.stringify(await of(id)) === JSON.stringify(all), `the end of ${id}`);
  });

  it('without --replace the same on the own port, and the first start is no restart', async (t) => {
    const args = [
      '--metrics',
      'missing-container-metrics',
      '--listen',
      '127.0.0.1:0',
      '--docker-socket',
      docker.socket,
    ];
    const agent = await AgentProcess.start(t, { args });
    const url = () => agent.log.find(({ msg }) => msg === 'listening')?.url;
    await agent.until(() => url() !== undefined, 'listening');
    await agent.until(() => agent.log.some(({ runtime }) => runtime === 'docker'), 'following Docker');
    const id = await runVictim(t, docker, 'hog', '200');
    const page = async () => (await fetch(new URL('/metrics', String(url())))).text();
    await until(
      async () => new RegExp(`container_ooms\\{.*${id}.*\\} 1$`, 'm').test(await page()),
      'its kill',
    );
    const text = await page();
    assert.match(text, new RegExp(`container_restarts\\{.*${id}.*\\} 0$`, 'm'));
    assert.ok(!text.includes('oom_witness_'), text);
  });

  it('its port has nothing but /metrics', async (t) => {
    const { url } = await replaced(t);
    for (const page of ['/', '/healthz', '/metrics/', '/api/incidents'])
      assert.equal((await fetch(new URL(page, url))).status, 404, page);
    const { status, headers } = await fetch(new URL('/metrics?x=1', url));
    assert.equal(status, 200);
    assert.equal(headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8');
  });

  it('a socket that is not there costs nothing else, and is said', async (t) => {
    const args = ['--docker-socket', '/nonexistent/docker.sock', '--listen', '127.0.0.1:0'];
    const agent = await AgentProcess.start(t, { args });
    const url = () => agent.log.find(({ msg }) => msg === 'listening')?.url;
    await agent.until(() => url() !== undefined, 'listening');
    await agent.until(() => agent.log.some(({ runtime }) => runtime === 'docker'), 'the warning');
    const answer = await fetch(new URL('/readyz', String(url())));
    assert.equal(answer.status, 200);
    const { parts } = (await answer.json()) as {
      parts: { name: string; works: boolean; problem?: string }[];
    };
    assert.deepEqual(
      parts.find(({ name }) => name === 'Docker'),
      {
        name: 'Docker',
        works: false,
        problem: '/nonexistent/docker.sock: ENOENT. Mount it, or name another one by --docker-socket',
        cost: 'containers have no names but their ids, starts and ends are not counted',
      },
    );
  });
});
