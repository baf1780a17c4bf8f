import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { PodTable } from '../../src/inventory/pod-table.ts';
import { containerId, oomKilled, pod, podContainer, UID } from './pods.ts';

const MINUTE = 60_000;

/** A table with a clock to set, and what it told, in order. */
function watched() {
  const clock = { ms: 0 };
  const table = new PodTable(() => clock.ms);
  const told: string[] = [];
  table.listen({
    containerSeen: (_, { name }) => told.push(`seen ${name}`),
    terminated: (_, { name }, { containerId }) => told.push(`ended ${name} ${containerId?.slice(0, 1)}`),
    restarted: (_, { name, restartCount }) => told.push(`restarted ${name} ${restartCount}`),
    gone: ({ name }) => told.push(`gone ${name}`),
    forgotten: ({ name }) => told.push(`forgotten ${name}`),
  });
  return { clock, table, told };
}

describe('a pod is found', () => {
  it('by its UID, and by the hash that a static pod has in its cgroup', () => {
    const { table } = watched();
    table.apply(pod({ configHash: '2b8c9d0e1f2a3b4c5d6e7f8091a2b3c4' }));
    assert.equal(table.byUid(UID)?.name, 'shop-5d8f7c-x2x');
    assert.equal(table.byUid('2b8c9d0e1f2a3b4c5d6e7f8091a2b3c4')?.uid, UID);
    assert.equal(table.byUid('another'), undefined);
  });

  it('by the id of any instance of its containers, also an earlier one', () => {
    const { table } = watched();
    table.apply(pod({ containers: [podContainer({ id: containerId('a'), running: true })] }));
    table.apply(
      pod({
        containers: [
          podContainer({ id: containerId('c'), restartCount: 2, previous: oomKilled(containerId('b')) }),
        ],
      }),
    );
    for (const digit of ['a', 'b', 'c'])
      assert.equal(table.byContainerId(containerId(digit))?.container.name, 'shop', digit);
    assert.equal(table.byContainerId(containerId('d')), undefined);
  });

  it('for ten minutes after it was deleted', () => {
    const { table, clock, told } = watched();
    table.apply(pod({ containers: [podContainer({ id: containerId('a') })] }));
    table.remove(UID);
    clock.ms = 10 * MINUTE - 1;
    table.apply(pod({ uid: 'other', name: 'other' }));
    assert.equal(table.byContainerId(containerId('a'))?.pod.uid, UID);
    clock.ms = 10 * MINUTE;
    table.apply(pod({ uid: 'other', name: 'other' }));
    assert.equal(table.byUid(UID), undefined);
    assert.equal(table.byContainerId(containerId('a')), undefined);
    assert.deepEqual(told.slice(-1), ['forgotten shop-5d8f7c-x2x']);
  });

  it('by whoever waits for it, as soon as it appears', async () => {
    const { table } = watched();
    const waiting = table.changed(UID, new AbortController().signal);
    table.apply(pod());
    await waiting;
  });

  it('or not, when the wait is aborted', async () => {
    const { table } = watched();
    const patience = new AbortController();
    const waiting = table.changed(UID, patience.signal);
    patience.abort();
    await waiting;
    assert.equal(table.byUid(UID), undefined);
  });
});

describe('what happens to containers is told once', () => {
  it('an end that is seen as the newest state and then as the one before it', () => {
    const { table, told } = watched();
    const end = oomKilled(containerId('a'));
    table.apply(pod({ containers: [podContainer({ id: containerId('a'), running: true })] }));
    table.apply(pod({ containers: [podContainer({ id: containerId('a'), terminated: end })] }));
    const restarted = podContainer({ id: containerId('b'), running: true, restartCount: 1, previous: end });
    table.apply(pod({ containers: [restarted] }));
    table.apply(pod({ containers: [restarted], ready: false }));
    assert.deepEqual(told, ['seen shop', 'ended shop a', 'restarted shop 1']);
  });

  it('a restart is told when the container runs, not while it waits in its back-off', () => {
    const { table, told } = watched();
    const previous = oomKilled(containerId('a'));
    table.apply(pod({ containers: [podContainer({ restartCount: 1, previous })] }));
    assert.deepEqual(told, ['seen shop', 'ended shop a']);
    table.apply(pod({ containers: [podContainer({ restartCount: 1, previous, running: true })] }));
    assert.deepEqual(told.slice(2), ['restarted shop 1']);
  });

  it('each instance that runs is told once, the first one too', () => {
    const { table } = watched();
    const started: unknown[] = [];
    table.listen({ started: (_, { id }) => started.push(id?.slice(0, 1)) });
    const container = podContainer({ id: containerId('a') });
    table.apply(pod({ containers: [container] }));
    table.apply(pod({ containers: [{ ...container, running: true }] }));
    table.apply(pod({ containers: [{ ...container, running: true }], ready: false }));
    table.apply(pod({ containers: [{ ...container, id: containerId('b'), running: true }] }));
    assert.deepEqual(started, ['a', 'b']);
  });

  it('the last state of a deleted pod may bring an end that no update had', () => {
    const { table, told } = watched();
    table.apply(pod());
    table.remove(UID, pod({ containers: [podContainer({ terminated: oomKilled(containerId('a')) })] }));
    assert.deepEqual(told, ['seen shop', 'ended shop a', 'gone shop-5d8f7c-x2x']);
  });

  it('what a new list no longer has is gone', () => {
    const { table, told } = watched();
    table.apply(pod());
    table.apply(pod({ uid: 'other', name: 'other' }));
    table.retain(new Set(['other']));
    table.retain(new Set(['other']));
    assert.deepEqual(told.slice(2), ['gone shop-5d8f7c-x2x']);
  });
});

describe('memory stays bounded', () => {
  it('of a container that crashes for ever the newest 64 instances are known', () => {
    const { table } = watched();
    for (let restart = 0; restart < 200; restart++)
      table.apply(pod({ containers: [podContainer({ id: `instance-${restart}`, restartCount: restart })] }));
    assert.equal(table.byContainerId('instance-135'), undefined);
    assert.equal(table.byContainerId('instance-136')?.pod.uid, UID);
  });

  it('of pods that are gone the newest 2,000', () => {
    const { table } = watched();
    for (let n = 0; n < 3000; n++) {
      table.apply(pod({ uid: `pod-${n}` }));
      table.remove(`pod-${n}`);
    }
    assert.equal(table.size, 2000);
    assert.equal(table.byUid('pod-999'), undefined);
    assert.equal(table.byUid('pod-1000')?.uid, 'pod-1000');
  });
});

describe('a pod that took the place of another', () => {
  const OTHER = '1f6c1f0e-7d3c-4d7a-9b1e-3a5f7c9d1e2b';

  it('a static pod made anew in the API keeps its hash and its running container', () => {
    const { table, clock } = watched();
    const containers = [podContainer({ id: containerId('a'), running: true })];
    table.apply(pod({ configHash: 'd'.repeat(32), containers }));
    table.remove(UID);
    table.apply(pod({ uid: OTHER, configHash: 'd'.repeat(32), containers }));
    clock.ms += 10 * MINUTE + 1;
    table.apply(pod({ uid: OTHER, configHash: 'd'.repeat(32), containers }));
    assert.equal(table.size, 1);
    assert.equal(table.byUid('d'.repeat(32))?.uid, OTHER);
    assert.equal(table.byContainerId(containerId('a'))?.pod.uid, OTHER);
  });

  it('its name is not forgotten with the earlier one', () => {
    const { table, clock } = watched();
    const forgotten: string[] = [];
    table.listen({ forgotten: ({ uid }) => forgotten.push(uid) });
    table.apply(pod());
    table.remove(UID);
    table.apply(pod({ uid: OTHER }));
    clock.ms += 10 * MINUTE + 1;
    table.apply(pod({ uid: OTHER }));
    assert.deepEqual(forgotten, []);
    table.remove(OTHER);
    clock.ms += 10 * MINUTE + 1;
    table.apply(pod({ uid: 'x', name: 'another' }));
    assert.deepEqual(forgotten, [OTHER]);
  });
});
