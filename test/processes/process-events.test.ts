import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { EXITED, SIGKILLED, setup } from './processes.ts';

describe('process events', () => {
  it('knows what a process executed, after it is dead', (t) => {
    const { proc, clock, events, lookup } = setup(t);
    events.fork(7, 1, 50_000);
    proc.set(7, { args: ['java', '-jar', 'shop.jar'], exe: '/usr/bin/java', cgroup: '0::/shop\n' });
    events.exec(7, 50_001);
    proc.remove(7);
    events.exit(7, SIGKILLED, 50_100);
    clock.now = 50_105;
    assert.deepEqual(lookup.capture(7, 50_099), {
      pid: 7,
      parentPid: 1,
      args: ['java', '-jar', 'shop.jar'],
      executable: '/usr/bin/java',
      cgroup: '/shop',
      startedAt: 1_050_000,
      source: 'exec',
      capturedAt: 1_050_001,
      truncated: false,
      redacted: 0,
    });
  });

  it('forgets what a process was when what it became cannot be read', (t) => {
    const { proc, events, lookup } = setup(t);
    proc.set(7, { args: ['sh', '-c', 'exec java'] });
    events.exec(7, 50_000);
    proc.dropMemory(7);
    events.exec(7, 50_001);
    const captured = lookup.capture(7, 50_002);
    assert.equal(captured?.args, undefined);
    assert.equal(captured?.source, 'kernel-comm');
    assert.match(captured?.missing ?? '', /dropped its memory/);
  });

  it('gives a forked child its parent’s command line until it says otherwise', (t) => {
    const { proc, clock, scan, events, lookup } = setup(t);
    proc.set(7, { args: ['gunicorn', 'app:app'] });
    events.exec(7, 50_000);
    events.fork(8, 7, 50_010);
    events.fork(9, 7, 50_010);
    proc.set(8, { args: ['gunicorn', 'app:app'] });
    proc.set(9, { cmdline: 'gunicorn: worker [9]\0\0\0' });
    assert.deepEqual(lookup.capture(8, 50_020)?.args, ['gunicorn', 'app:app']);
    assert.equal(lookup.capture(8, 50_020)?.source, 'inherited');
    assert.equal(lookup.capture(8, 50_020)?.parentPid, 7);
    clock.now = 50_600;
    scan.refresh(10, false);
    assert.deepEqual(lookup.capture(9, 50_600)?.args, ['gunicorn: worker [9]']);
    assert.equal(lookup.capture(9, 50_600)?.source, 'scan');
  });

  it('never mixes up two processes that had the same pid', (t) => {
    const { proc, events, lookup } = setup(t);
    events.fork(7, 1, 50_000);
    proc.set(7, { args: ['first'], startTicks: 5_000 });
    events.exec(7, 50_000);
    events.exit(7, SIGKILLED, 51_000);
    events.fork(7, 1, 51_200);
    proc.set(7, { args: ['second'], startTicks: 5_120 });
    events.exec(7, 51_201);
    assert.deepEqual(lookup.capture(7, 50_999)?.args, ['first']);
    assert.deepEqual(lookup.capture(7, 51_300)?.args, ['second']);
  });

  it('keeps a process whose first thread has exited while the others live', (t) => {
    const { proc, clock, table, events, lookup } = setup(t);
    proc.set(7, { args: ['java'], startTicks: 5_000 });
    events.fork(7, 1, 50_000);
    events.exec(7, 50_000);
    events.thread(7, 8);
    events.exit(7, EXITED, 50_100);
    clock.now = 90_000;
    table.forget();
    assert.deepEqual(lookup.capture(7, 90_000)?.args, ['java']);
    proc.remove(7);
    clock.now = 120_000;
    table.forget();
    assert.equal(table.size, 0);
  });

  it('reads a process whose first thread exited at once through another thread', (t) => {
    const { proc, events, lookup } = setup(t);
    proc.set(7, { args: [] });
    events.fork(7, 1, 50_000);
    events.exec(7, 50_001);
    proc.set(8, { args: ['server', '--threads'], threadGroup: 7 });
    events.thread(7, 8);
    events.exit(7, EXITED, 50_002);
    assert.deepEqual(lookup.capture(7, 50_100)?.args, ['server', '--threads']);
  });

  it('does not take a process for a thread that has had its number', (t) => {
    const { proc, events, lookup } = setup(t);
    proc.set(7, { args: [] });
    events.fork(7, 1, 50_000);
    events.exec(7, 50_001);
    proc.set(8, { args: ['somebody', 'else'] });
    events.thread(7, 8);
    assert.equal(lookup.capture(7, 50_100)?.args, undefined);
  });
});
