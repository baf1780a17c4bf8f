import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { incidentFromStatus } from '../src/cross-check/incident-from-status.ts';
import { CrossCheck } from '../src/cross-check.ts';
import type { Incident } from '../src/incident.ts';
import { PodTable } from '../src/inventory/pod-table.ts';
import { VirtualTime } from './deliver/virtual-time.ts';
import { containerKill, HOST, numbered, valid } from './incidents.ts';
import { containerId, oomKilled, pod, podContainer } from './inventory/pods.ts';

const START = '2026-11-21T03:00:00Z';
const ID = containerId('a');
const RUNNING = pod({ containers: [podContainer({ id: ID, running: true })] });

function ended(reason: string, exitCode: number, finishedAt = '2026-11-21T03:14:16Z') {
  const terminated = { ...oomKilled(ID, finishedAt), reason, exitCode };
  return pod({ containers: [podContainer({ id: ID, terminated })] });
}

function kill(sequence: number): Incident {
  const incident = numbered(containerKill(), sequence);
  return { ...incident, container: { ...incident.container, id: ID } };
}

/** The agent's part of it: a table of pods, a history, and what came out. */
function check() {
  const time = new VirtualTime();
  const history = new Map<string, Incident>();
  const untold: string[] = [];
  const unexplained: string[] = [];
  const said: string[] = [];
  const pods = new PodTable(time.now);
  const crossCheck = new CrossCheck({
    complete: ({ id, change }) => {
      const incident = history.get(id);
      if (incident) history.set(id, valid(change(incident)));
      return history.get(id);
    },
    untold: ({ name }) => untold.push(name),
    unexplained: (_, { name }, { finishedAt }) => unexplained.push(`${name} ${finishedAt}`),
    find: (id) => pods.byContainerId(id),
    observer: { stated: ({ id }, { says }) => said.push(`${id.split(':')[1]}: ${says}`) },
    since: START,
    sleep: time.sleep,
  });
  pods.listen(crossCheck);
  const witnessed = (incident: Incident) => {
    history.set(incident.id, incident);
    crossCheck.witnessed(incident);
  };
  return { time, history, untold, unexplained, said, pods, crossCheck, witnessed };
}

describe("the cluster's word on a kill that the kernel told of", () => {
  it('OOMKilled confirms it: the cluster is a witness, too', async () => {
    const { time, history, untold, said, pods, witnessed } = check();
    pods.apply(RUNNING);
    witnessed(kill(1));
    pods.apply(ended('OOMKilled', 137));
    assert.deepEqual(untold, []);
    await time.advance(60_000);
    const [incident] = history.values();
    assert.deepEqual(incident?.witness, ['kmsg', 'kubernetes']);
    assert.deepEqual(incident?.statements, [
      { by: 'kubernetes', agrees: true, says: 'OOMKilled, exit code 137', time: '2026-11-21T03:14:16Z' },
    ]);
    assert.deepEqual(said, ['1: OOMKilled, exit code 137']);
  });

  it('also where it came first', async () => {
    const { said, untold, unexplained, pods, witnessed, time } = check();
    pods.apply(ended('OOMKilled', 137));
    assert.deepEqual(untold, ['shop-5d8f7c-x2x']);
    witnessed(kill(1));
    await time.advance(60_000);
    assert.deepEqual(said, ['1: OOMKilled, exit code 137']);
    assert.deepEqual(unexplained, []);
  });

  for (const [reason, code] of [
    ['Error', 137],
    ['Completed', 0],
  ] as const)
    it(`${reason} disagrees, and the incident says so`, async () => {
      const { history, pods, witnessed } = check();
      pods.apply(RUNNING);
      witnessed(kill(1));
      pods.apply(ended(reason, code));
      const [incident] = history.values();
      assert.deepEqual(incident?.witness, ['kmsg']);
      assert.equal(incident?.statements?.[0]?.agrees, false);
      assert.equal(incident?.statements?.[0]?.says, `${reason}, exit code ${code}`);
    });

  it('where a child died there is none: that is said after a minute', async () => {
    const { said, pods, witnessed, time } = check();
    pods.apply(RUNNING);
    witnessed(kill(1));
    await time.advance(59_999);
    assert.deepEqual(said, []);
    await time.advance(1);
    assert.deepEqual(said, ['1: nothing: the container lives on']);
  });

  it('of two kills in one container it is about the one that ended it', async () => {
    const { said, pods, witnessed, time } = check();
    pods.apply(RUNNING);
    witnessed(kill(1));
    await time.advance(10_000);
    witnessed(kill(2));
    await time.advance(1000);
    pods.apply(ended('OOMKilled', 137));
    await time.advance(60_000);
    assert.deepEqual(said, ['1: nothing: the container lives on', '2: OOMKilled, exit code 137']);
  });

  it('a pod that is never heard of again', async () => {
    const { said, witnessed, time } = check();
    witnessed(kill(1));
    await time.advance(60_000);
    assert.deepEqual(said, ['1: nothing within 60 s']);
  });
});

describe('a status that no kernel record explains', () => {
  it('is unexplained after the kernel had ten seconds', async () => {
    const { unexplained, pods, time } = check();
    pods.apply(RUNNING);
    pods.apply(ended('OOMKilled', 137));
    await time.advance(9999);
    assert.deepEqual(unexplained, []);
    await time.advance(1);
    assert.deepEqual(unexplained, ['shop 2026-11-21T03:14:16Z']);
  });

  it('is explained by a kill that is stored and has no names yet', async () => {
    const { time, unexplained, pods, crossCheck } = check();
    crossCheck.recall([kill(1)]);
    pods.apply(ended('OOMKilled', 137));
    await time.advance(60_000);
    assert.deepEqual(unexplained, []);
  });

  it('is old news when the container ended before the agent watched', async () => {
    const { unexplained, pods, time } = check();
    pods.apply(ended('OOMKilled', 137, '2026-11-21T02:59:59Z'));
    await time.advance(60_000);
    assert.deepEqual(unexplained, []);
  });

  it('is explained by what an earlier run stored', async () => {
    const { unexplained, pods, time, crossCheck } = check();
    crossCheck.recall([kill(1)]);
    pods.apply(ended('OOMKilled', 137));
    await time.advance(60_000);
    assert.deepEqual(unexplained, []);
  });

  it('is not explained by what was told of the container as a running one', async () => {
    const { unexplained, pods, time, witnessed } = check();
    witnessed({ ...kill(1), kind: 'oom_restart' });
    pods.apply(ended('OOMKilled', 137));
    await time.advance(60_000);
    assert.equal(unexplained.length, 1);
  });

  it('is told once, and is no statement about itself', async () => {
    const { said, pods, time, witnessed } = check();
    witnessed({ ...kill(1), witness: ['kubernetes'] });
    pods.apply(ended('OOMKilled', 137));
    await time.advance(60_000);
    assert.deepEqual(said, []);
  });

  it('is none when it says anything but OOMKilled', async () => {
    const { unexplained, pods, time } = check();
    pods.apply(ended('Error', 137));
    await time.advance(60_000);
    assert.deepEqual(unexplained, []);
  });

  it('is told at once where it does not say which instance of the container it was', () => {
    const { unexplained, pods } = check();
    const without = (reason: string, finishedAt: string) => {
      const { containerId: _, ...terminated } = { ...oomKilled(ID, finishedAt), reason };
      return pod({ containers: [podContainer({ terminated })] });
    };
    pods.apply(without('Error', '2026-11-21T03:14:16Z'));
    pods.apply(without('OOMKilled', '2026-11-21T02:59:59Z'));
    assert.deepEqual(unexplained, []);
    pods.apply(without('OOMKilled', '2026-11-21T03:14:17Z'));
    assert.deepEqual(unexplained, ['shop 2026-11-21T03:14:17Z']);
  });

  it('is not explained by what an earlier run stored of the container as a running one', async () => {
    const { time, unexplained, pods, crossCheck } = check();
    crossCheck.recall([{ ...kill(1), kind: 'oom_restart' }]);
    pods.apply(ended('OOMKilled', 137));
    await time.advance(60_000);
    assert.equal(unexplained.length, 1);
  });

  it('becomes an incident whose id is the same whoever reads it', () => {
    const container = podContainer({ id: ID, limits: { memory: '64Mi' }, restartCount: 2 });
    // The agent knows more of its host than an incident has.
    const host = { ...HOST, version_line: 'Linux version 6.12.9' };
    const make = () =>
      valid(incidentFromStatus(pod(), container, oomKilled(ID), { deployment: { name: 'shop' } }, host, 0));
    const incident = make();
    assert.equal(incident.id, `kubernetes:${pod().uid}:shop:${ID}`);
    assert.deepEqual(make(), incident);
    assert.deepEqual(incident.witness, ['kubernetes']);
    assert.equal(incident.time, '2026-11-21T03:14:16.000Z');
    assert.equal(incident.k8s?.deployment?.name, 'shop');
    assert.equal(incident.container?.id, ID);
    assert.equal(incident.process.pid, 0);
  });
});

it('after the end nothing is waited for', async () => {
  const { time, said, pods, crossCheck, witnessed } = check();
  pods.apply(RUNNING);
  crossCheck.close();
  witnessed(kill(1));
  await time.rest();
  assert.equal(time.timers, 0);
  assert.deepEqual(said, []);
});

describe('ends that nobody told of', () => {
  const AT = Date.parse('2026-11-21T03:14:16Z');
  const ends = ({ crossCheck }: ReturnType<typeof check>, from: number, to: number) =>
    crossCheck.untoldEnds(from, to).map(({ id, at, container }) => [id, at, container.name]);

  it('are those of the time that is asked for, its first and last millisecond included', () => {
    const checked = check();
    checked.pods.apply(ended('OOMKilled', 137));
    assert.deepEqual(ends(checked, AT, AT), [[ID, AT, 'shop']]);
    assert.deepEqual(ends(checked, AT + 1, AT + 1000), []);
    assert.deepEqual(ends(checked, AT - 1000, AT - 1), []);
  });

  it('are none of a container in which somebody told of a kill, or that ended otherwise', () => {
    const told = check();
    told.pods.apply(ended('OOMKilled', 137));
    told.witnessed(kill(1));
    assert.deepEqual(ends(told, AT, AT), []);
    const otherwise = check();
    otherwise.pods.apply(ended('Error', 137));
    assert.deepEqual(ends(otherwise, AT, AT), []);
  });
});

describe('however many are killed', () => {
  const containerOf = (number: number) => `${number}`.padStart(64, '0');
  const inContainer = (number: number): Incident => ({
    ...kill(number),
    container: { ...kill(number).container, id: containerOf(number) },
  });

  it('the statements of 1024 at a time are waited for', async () => {
    const { time, said, crossCheck } = check();
    for (let number = 0; number < 1100; number++) crossCheck.witnessed(inContainer(number));
    assert.equal(time.timers, 1024);
    await time.advance(60_000);
    assert.deepEqual(said, []);
    crossCheck.witnessed(inContainer(2000));
    assert.equal(time.timers, 1, 'there is room again');
    crossCheck.close();
  });

  it('the newest 4096 containers are remembered', async () => {
    const { time, unexplained, pods, crossCheck } = check();
    crossCheck.recall(Array.from({ length: 4097 }, (_, number) => inContainer(number)));
    for (const number of [0, 1]) {
      const terminated = oomKilled(containerOf(number));
      pods.apply(pod({ uid: `u${number}`, containers: [podContainer({ name: `c${number}`, terminated })] }));
    }
    await time.advance(60_000);
    assert.deepEqual(unexplained, ['c0 2026-11-21T03:14:16Z']);
  });
});

it('where the pod is not known no statement is waited for', () => {
  const { time, crossCheck } = check();
  const { k8s: _, ...rest } = kill(1);
  crossCheck.witnessed(rest);
  assert.equal(time.timers, 0);
});
