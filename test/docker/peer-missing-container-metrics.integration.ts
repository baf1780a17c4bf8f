/** Beside missing-container-metrics itself: the same containers, the same kills, the same series. */
import assert from 'node:assert/strict';
import { after, before, describe, it, type TestContext } from 'node:test';
import { AgentProcess } from '../agent-process.ts';
import { oomKills } from '../kills/kills.ts';
import { headings, seriesWith, shownFamilies } from '../metrics/exposition.ts';
import { Docker, dockerPackages } from '../servers/docker.ts';
import { freePort } from '../servers/free-ports.ts';
import { peerProgram } from '../servers/peer.ts';
import { startServer } from '../servers/process.ts';
import { until } from '../sinks/contract.ts';
import { importVictim, LIMIT } from './victim-image.ts';

const NAME = 'missing-container-metrics';
const peer = peerProgram(NAME);
const packages = 'missing' in peer ? peer : await dockerPackages();
const skip = 'missing' in packages && packages.missing;

type Values = Readonly<Record<string, number>>;

describe(`beside ${NAME}`, { skip }, () => {
  let docker: Docker;
  before(async () => {
    assert.ok('root' in packages);
    docker = await Docker.start(packages.root);
    await importVictim(docker);
  });
  after(() => docker?.[Symbol.asyncDispose]());

  /** Both, told of the containers of one Docker, and what their ports say. */
  async function both(t: TestContext) {
    assert.ok('executable' in peer);
    const port = await freePort();
    const theirUrl = `http://127.0.0.1:${port}/metrics`;
    const program = await startServer({
      command: peer.executable,
      args: [`--bind-address=127.0.0.1:${port}`, '--containerd=false'],
      env: { DOCKER_HOST: `unix://${docker.socket}` },
      probe: async () => (await fetch(theirUrl)).ok,
    });
    t.after(() => program.stop());
    const args = ['--replace', NAME, '--bind-address', '127.0.0.1:0', '--containerd', 'false'];
    const agent = await AgentProcess.start(t, { args: [...args, '--docker-socket', docker.socket] });
    const ourUrl = () => agent.log.find((line) => line.program === NAME)?.url;
    await agent.until(() => ourUrl() !== undefined, 'its port');
    await agent.until(() => agent.log.some(({ runtime }) => runtime === 'docker'), 'following Docker');
    const page = async (url: string) =>
      shownFamilies(await (await fetch(new URL('/metrics', url))).text(), 'container_');
    const pages = async () => ({ ours: await page(String(ourUrl())), theirs: await page(theirUrl) });
    return {
      pages,
      /** Waits until they say this of a container: names of metrics without `container_`. */
      async values(
        id: string,
        ours: Values,
        theirs: () => Promise<Values> = async () => ours,
      ): Promise<void> {
        let wanted = '';
        let shown = '';
        await until(
          async () => {
            const now = await pages();
            shown = JSON.stringify([now.ours, now.theirs].map((page) => valuesOf(seriesWith(page, id))));
            wanted = JSON.stringify([ours, await theirs()]);
            return shown === wanted;
          },
          () => `${wanted}, but it is ${shown}`,
          30_000,
        );
        t.diagnostic(`ours, theirs: ${shown}`);
      },
    };
  }

  async function run(t: TestContext, options: readonly string[], ...args: readonly string[]) {
    const own = ['--detach', '--interactive', '--network=none', '--memory', String(LIMIT)];
    const id = await docker.command('run', ...own, ...options, 'victim', '/victim', ...args);
    t.after(() => docker.command('rm', '--force', id));
    return id;
  }

  const killed = (container: string) => oomKills(`${docker.cgroup}/${container}`);

  it('nothing is shown without containers; then names, types, help and labels are the same', async (t) => {
    const { pages, values } = await both(t);
    assert.deepEqual(await pages(), { ours: {}, theirs: {} });
    const labels = [
      'io.kubernetes.container.name=shop',
      'io.kubernetes.pod.name=shop-5d8f7c-x2x',
      'io.kubernetes.pod.namespace=prod',
    ];
    const options = ['--name=k8s_shop', ...labels.map((label) => `--label=${label}`)];
    const id = await run(t, options, 'hog', '200');
    await values(id, { last_exit_code: 137, ooms: 1, restarts: 1 });
    const plain = await run(t, [], 'execs', '1000', '1');
    await values(plain, { last_exit_code: 0, ooms: 0, restarts: 1 });
    const { ours, theirs } = await pages();
    assert.deepEqual(headings(ours), headings(theirs));
    assert.equal(Object.keys(ours).length, 3);
    for (const container of [id, plain])
      assert.deepEqual(seriesWith(ours, container), seriesWith(theirs, container));

    // Both keep them for five minutes.
    await docker.command('rm', id);
    await until(async () => (await docker.events(id)).includes('destroy'), 'its removal');
    const later = await pages();
    assert.deepEqual(seriesWith(later.ours, id), seriesWith(ours, id));
    assert.deepEqual(seriesWith(later.theirs, id), seriesWith(ours, id));
  });

  it('containers that were there before: no start is counted, the exit code of an ended one is', async (t) => {
    const running = await run(t, ['--name=before'], 'parent', '/dev/null', '1000000');
    const ended = await run(t, [], 'nonsense', 'that', 'ends', 'with', '2');
    await until(async () => !(await docker.inspect(ended)).Running, 'its end');
    const { pages, values } = await both(t);
    await values(running, { last_exit_code: 0, ooms: 0, restarts: 0 });
    await values(ended, { last_exit_code: 2, ooms: 0, restarts: 0 });
    await docker.command('start', ended);
    await values(ended, { last_exit_code: 2, ooms: 0, restarts: 1 });
    await docker.command('kill', running);
    await values(running, { last_exit_code: 137, ooms: 0, restarts: 0 });
    const { ours, theirs } = await pages();
    assert.deepEqual(seriesWith(ours, 'container_id'), seriesWith(theirs, 'container_id'));
  });

  it('killed again and again by its restart policy: both count the first start, too', async (t) => {
    const { values } = await both(t);
    const id = await run(t, ['--restart=on-failure:3'], 'hog', '300');
    await values(id, { last_exit_code: 137, ooms: 4, restarts: 4 });
  });

  it('children killed one after another: the same; at once: it counts the events, the agent the kills', async (t) => {
    const { values } = await both(t);
    const id = await run(t, [], 'parent', '/dev/null', '1000000');
    await docker.command('exec', id, '/victim', 'launch', '/dev/null', '10', '1', 'exec', '20');
    assert.equal(killed(id), 10);
    await values(id, { last_exit_code: 0, ooms: 10, restarts: 1 });

    await docker.command('exec', id, '/victim', 'launch', '/dev/null', '5', '5', 'exec', '100');
    assert.equal(killed(id), 15);
    // On cgroup v1 each event is one of the cgroup, told once for every process that waits in it: 20 for 5, measured.
    await values(id, { last_exit_code: 0, ooms: 15, restarts: 1 }, async () => {
      const events = (await docker.events(id)).filter((event) => event === 'oom');
      return { last_exit_code: 0, ooms: events.length, restarts: 1 };
    });
  });
});

/** `container_ooms{…}` -> `ooms`. */
function valuesOf(series: Values): Values {
  return Object.fromEntries(
    Object.entries(series).map(([labels, value]) => [/^container_(\w+)/.exec(labels)![1], value]),
  );
}
