import assert from 'node:assert/strict';
import { beforeEach, describe, it, type TestContext } from 'node:test';
import { DockerEngine } from '../../src/docker/engine-api.ts';
import { ContainerTable } from '../../src/inventory/container-table.ts';
import { DockerWatch } from '../../src/watch/docker.ts';
import { until } from '../sinks/contract.ts';
import { event, FakeDocker } from './fake-docker.ts';
import { FeedDiary } from './feed-diary.ts';

const A = 'a'.repeat(64);
const B = 'b'.repeat(64);
const START = Date.parse('2026-11-21T03:15:00Z');

describe('the watch of Docker, where Docker misbehaves', () => {
  let docker: FakeDocker;
  let table: ContainerTable;
  let diary: FeedDiary;
  let watch: DockerWatch;
  let now: number;
  /** Waits that are not over. */
  let waits: (() => void)[];

  beforeEach(async (t) => {
    docker = await FakeDocker.start(t as TestContext);
    table = new ContainerTable({ now: () => now, kernelSees: () => false });
    now = START;
    diary = new FeedDiary();
    waits = [];
    watch = new DockerWatch({
      engine: new DockerEngine(docker.socket),
      table,
      observer: diary,
      chosenLabels: new Set(['team']),
      now: () => now,
      sleep: (_ms, signal) =>
        new Promise((resolve) => {
          waits.push(resolve);
          signal.addEventListener('abort', () => resolve());
        }),
      random: () => 0.5,
    });
    (t as TestContext).after(() => watch.stop());
  });

  async function following(times = 1): Promise<void> {
    await until(() => diary.follows.length === times && docker.streams === 1, `stock-taking ${times}`);
  }

  async function reconnect(): Promise<void> {
    const times = diary.follows.length + 1;
    await until(() => waits.length > 0, 'the wait');
    waits.pop()!();
    await following(times);
  }

  it('counts what is told again once, and asks for what came since', async () => {
    watch.start();
    await following();
    const told = [
      event('create', A, 1),
      event('start', A, 1.5),
      event('oom', A, 2),
      event('die', A, 2.5, { exitCode: '137' }),
      event('start', A, 3.000000001),
    ];
    docker.say(told.join(''));
    await until(() => table.get(A)?.starts === 2, 'two starts');
    docker.hangUp('broken');
    await reconnect();
    assert.deepEqual(docker.asked, [null, `${START / 1000 + 2}.000000000`]);
    docker.say(told.slice(2).join('') + event('die', A, 4, { exitCode: '1' }) + event('start', A, 5));
    await until(() => table.get(A)?.starts === 3, 'the third start');
    const { restarts, oomKills, exitCode, name, image } = table.get(A)!;
    assert.deepEqual(
      { restarts, oomKills, exitCode, name, image },
      { restarts: 2, oomKills: 1, exitCode: 1, name: 'shop', image: { name: 'redis:7' } },
    );
  });

  it('tells two events apart that differ in nothing but a nanosecond', async () => {
    watch.start();
    await following();
    docker.say(
      event('create', A, 1) +
        event('oom', A, 2) +
        event('oom', A, 2.000000001) +
        event('oom', A, 2.000000001),
    );
    docker.say(event('start', A, 3));
    await until(() => table.get(A)?.starts === 1, 'the start');
    assert.equal(table.get(A)?.oomKills, 2);
  });

  it('waits longer from failure to failure, and says why', async () => {
    docker.status = 500;
    watch.start();
    for (let failures = 1; failures <= 8; failures++) {
      await until(() => diary.lost.length === failures && waits.length > 0, `failure ${failures}`);
      assert.deepEqual(watch.status, { works: false, problem: 'HTTP 500 {"message":"not now"}' });
      if (failures === 8) docker.status = 200;
      waits.pop()!();
    }
    await following();
    assert.deepEqual(watch.status, { works: true });
    assert.deepEqual(diary.delays, [250, 500, 1000, 2000, 4000, 8000, 15_000, 15_000]);
  });

  it('goes on behind what nobody can read', async () => {
    watch.start();
    await following();
    docker.say(event('create', A, 1));
    for (const nonsense of [
      '{"Action":"start"',
      'null',
      '[]',
      '{"Action":"start","Actor":null}',
      '{"Action":"explode"}',
    ])
      docker.say(`${nonsense}\n`);
    docker.say(event('start', '../../etc/passwd', 1));
    docker.say(event('start', B, 1, { label: 'x'.repeat(2 << 20) }));
    docker.say(event('start', A, 2));
    await until(() => table.get(A)?.starts === 1, 'the start');
    assert.equal(diary.skipped.filter((reason) => reason === 'no event of a container').length, 5);
    assert.deepEqual(diary.skipped.slice(5), ['longer than 1 MiB']);
    assert.equal(table.size, 1);
  });

  it('takes an event in pieces', async () => {
    watch.start();
    await following();
    for (const piece of event('start', A, 2, { name: 'ü€' }).match(/.{1,7}\n?/gs)!) docker.say(piece);
    await until(() => table.get(A)?.name === 'ü€', 'the start');
  });

  for (const [what, list] of Object.entries({ 'no JSON': 'hello', 'no list': '{"a":1}', nothing: '' }))
    it(`does not follow a daemon whose list is ${what}`, async () => {
      docker.list = list;
      watch.start();
      await until(() => diary.lost.length === 1, 'the loss');
      assert.match(diary.lost[0] ?? '', /no JSON|no list/);
      assert.equal(watch.status.works, false);
    });

  it('takes what a container says of itself for anything', async () => {
    docker.list = JSON.stringify([null, {}, { Id: 7 }, { Id: A }, { Id: B }, { Id: '../x' }]);
    docker.containers.set(A, {
      Id: A,
      Name: 7,
      Image: [],
      Config: { Labels: [] },
      State: { StartedAt: {}, ExitCode: '' },
    });
    docker.containers.set(B, {
      Id: B,
      State: {
        Running: true,
        StartedAt: '2026-11-21T03:10:00Z',
        FinishedAt: '0001-01-01T00:00:00Z',
        ExitCode: 0,
      },
    });
    watch.start();
    await following();
    assert.deepEqual(
      [...table.values()].map(({ id }) => id),
      [A, B],
    );
    assert.deepEqual(docker.inspected, [A, B]);
    const { running, exitCode, exitedAt, startedAt } = table.get(B)!;
    assert.deepEqual(
      { running, exitCode, exitedAt, startedAt },
      { running: true, exitCode: undefined, exitedAt: undefined, startedAt: START - 300_000 },
    );
  });

  it('takes as gone what is no longer listed after a gap', async () => {
    docker.containers.set(A, { Id: A, Name: '/shop' });
    watch.start();
    await following();
    docker.containers.clear();
    now += 1000;
    docker.hangUp('in order');
    await reconnect();
    assert.deepEqual(diary.lost, ['Docker ended the stream of events']);
    assert.ok(table.get(A)?.goneAt !== undefined);
  });

  it('says that there is no socket, and ends when it is told to, whatever it waits for', async () => {
    const nowhere = new DockerWatch({
      engine: new DockerEngine(`${docker.socket}.not`),
      table,
      observer: diary,
      chosenLabels: new Set(['team']),
      now: () => START,
      sleep: () => new Promise(() => {}),
      random: () => 0.5,
    });
    nowhere.start();
    await until(() => diary.lost.length === 1, 'the loss');
    assert.deepEqual(nowhere.status, { works: false, problem: 'ENOENT' });
    watch.start();
    await following();
    await watch.stop();
    await until(() => docker.streams === 0, 'the end of the connection');
  });
});
