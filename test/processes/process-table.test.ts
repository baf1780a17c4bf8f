import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { ProcFiles } from '../../src/kernel/proc-files.ts';
import { ProcessTable } from '../../src/processes/process-table.ts';
import { FakeProc } from '../fake-proc.ts';

const EXITED = 0;
const SIGKILLED = 9;

function setup(t: TestContext, files?: ProcFiles) {
  const proc = new FakeProc(t);
  const clock = { now: 50_000 };
  const table = new ProcessTable({
    files: files ?? new ProcFiles(proc.root),
    redactor: { args: (args) => ({ args, count: 0 }) },
    now: () => clock.now,
    suspended: () => 0,
    wallTime: (monotonic) => 1_000_000 + monotonic,
  });
  return { proc, clock, table };
}

describe('the process table', () => {
  it('knows what a process executed, after it is dead', (t) => {
    const { proc, clock, table } = setup(t);
    table.fork(7, 1, 50_000);
    proc.set(7, { args: ['java', '-jar', 'shop.jar'], exe: '/usr/bin/java', cgroup: '0::/shop\n' });
    table.exec(7, 50_001);
    proc.remove(7);
    table.exit(7, SIGKILLED, 50_100);
    clock.now = 50_105;
    assert.deepEqual(table.capture(7, 50_099), {
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
    const { proc, table } = setup(t);
    proc.set(7, { args: ['sh', '-c', 'exec java'] });
    table.exec(7, 50_000);
    proc.dropMemory(7);
    table.exec(7, 50_001);
    const captured = table.capture(7, 50_002);
    assert.equal(captured?.args, undefined);
    assert.equal(captured?.source, 'kernel-comm');
    assert.match(captured?.missing ?? '', /dropped its memory/);
  });

  it('gives a forked child its parent’s command line until it says otherwise', (t) => {
    const { proc, clock, table } = setup(t);
    proc.set(7, { args: ['gunicorn', 'app:app'] });
    table.exec(7, 50_000);
    table.fork(8, 7, 50_010);
    table.fork(9, 7, 50_010);
    proc.set(8, { args: ['gunicorn', 'app:app'] });
    proc.set(9, { cmdline: 'gunicorn: worker [9]\0\0\0' });
    assert.deepEqual(table.capture(8, 50_020)?.args, ['gunicorn', 'app:app']);
    assert.equal(table.capture(8, 50_020)?.source, 'inherited');
    assert.equal(table.capture(8, 50_020)?.parentPid, 7);
    clock.now = 50_600;
    table.refresh(10, false);
    assert.deepEqual(table.capture(9, 50_600)?.args, ['gunicorn: worker [9]']);
    assert.equal(table.capture(9, 50_600)?.source, 'scan');
  });

  it('never mixes up two processes that had the same pid', (t) => {
    const { proc, table } = setup(t);
    table.fork(7, 1, 50_000);
    proc.set(7, { args: ['first'], startTicks: 5_000 });
    table.exec(7, 50_000);
    table.exit(7, SIGKILLED, 51_000);
    table.fork(7, 1, 51_200);
    proc.set(7, { args: ['second'], startTicks: 5_120 });
    table.exec(7, 51_201);
    assert.deepEqual(table.capture(7, 50_999)?.args, ['first']);
    assert.deepEqual(table.capture(7, 51_300)?.args, ['second']);
  });

  it('notices in a scan that a pid has changed hands while events were lost', (t) => {
    const { proc, table } = setup(t);
    proc.set(7, { args: ['first'], startTicks: 1_000 });
    table.beginScan();
    assert.equal(table.continueScan(10), false);
    proc.set(7, { args: ['second'], startTicks: 4_000 });
    table.beginScan();
    table.continueScan(10);
    assert.deepEqual(table.capture(7, 20_000)?.args, ['first']);
    assert.deepEqual(table.capture(7, 45_000)?.args, ['second']);
  });

  it('keeps what it knows of a zombie', (t) => {
    const { proc, clock, table } = setup(t);
    proc.set(7, { args: ['java'] });
    table.exec(7, 50_000);
    proc.dropMemory(7);
    clock.now = 51_000;
    table.refresh(10, true);
    assert.deepEqual(table.capture(7, 51_000)?.args, ['java']);
  });

  it('has a last look at /proc for whoever it has never heard of, but not at a successor', (t) => {
    const { proc, clock, table } = setup(t);
    clock.now = 60_000;
    proc.set(7, { args: ['late'], startTicks: 5_000 });
    assert.deepEqual(table.capture(7, 59_000)?.args, ['late']);
    assert.equal(table.capture(7, 59_000)?.source, 'live');
    assert.equal(table.capture(7, 40_000), undefined);
    assert.equal(table.capture(8, 40_000), undefined);
  });

  it('remembers those who exited for seconds and those who were killed for minutes', (t) => {
    const { proc, clock, table } = setup(t);
    for (const pid of [7, 8]) {
      proc.set(pid, { args: [`p${pid}`], startTicks: 5_000 });
      table.fork(pid, 1, 50_000);
      table.exec(pid, 50_000);
      proc.remove(pid);
    }
    table.exit(7, EXITED, 50_100);
    table.exit(8, SIGKILLED, 50_100);
    clock.now = 56_000;
    table.refresh(10, false);
    assert.equal(table.capture(7, 50_050), undefined);
    assert.deepEqual(table.capture(8, 50_050)?.args, ['p8']);
    clock.now = 700_000;
    table.refresh(10, false);
    assert.equal(table.capture(8, 50_050), undefined);
    assert.equal(table.size, 0);
    assert.equal(table.bytes, 0);
  });

  it('keeps a process whose first thread has exited while the others live', (t) => {
    const { proc, clock, table } = setup(t);
    proc.set(7, { args: ['java'], startTicks: 5_000 });
    table.fork(7, 1, 50_000);
    table.exec(7, 50_000);
    table.thread(7, 8);
    table.exit(7, EXITED, 50_100);
    clock.now = 90_000;
    table.refresh(10, false);
    assert.deepEqual(table.capture(7, 90_000)?.args, ['java']);
    proc.remove(7);
    clock.now = 120_000;
    table.refresh(10, false);
    assert.equal(table.size, 0);
  });

  it('reads a process whose first thread exited at once through another thread', (t) => {
    const { proc, table } = setup(t);
    proc.set(7, { args: [] });
    table.fork(7, 1, 50_000);
    table.exec(7, 50_001);
    proc.set(8, { args: ['server', '--threads'], threadGroup: 7 });
    table.thread(7, 8);
    table.exit(7, EXITED, 50_002);
    assert.deepEqual(table.capture(7, 50_100)?.args, ['server', '--threads']);
  });

  it('does not take a process for a thread that has had its number', (t) => {
    const { proc, table } = setup(t);
    proc.set(7, { args: [] });
    table.fork(7, 1, 50_000);
    table.exec(7, 50_001);
    proc.set(8, { args: ['somebody', 'else'] });
    table.thread(7, 8);
    assert.equal(table.capture(7, 50_100)?.args, undefined);
  });

  it('stays bounded when every process has the longest command line', (t) => {
    setFlagsFromString('--expose-gc');
    const collectGarbage = runInNewContext('gc') as () => void;
    let served = 0;
    const files = {
      commandLine: () => ({
        args: ['java', `${served++}`.repeat(100_000).slice(0, 120_000)],
        truncated: false,
      }),
      executable: () => '/usr/bin/java',
      cgroup: () => '/shop',
      stat: () => ({ parentPid: 1, start: 50_000 }),
    } as unknown as ProcFiles;
    const { table } = setup(t, files);
    collectGarbage();
    const before = process.memoryUsage().heapUsed;
    for (let pid = 2; pid < 1_002; pid++) table.exec(pid, 50_000);
    collectGarbage();
    const grown = process.memoryUsage().heapUsed - before;
    assert.ok(grown < 24 << 20, `${grown >> 20} MiB`);
    assert.equal(table.capture(1_001, 50_100)?.truncated, true);
    assert.equal(table.capture(2, 50_100)?.truncated, false);
  });

  it('stays bounded when processes come and go without end', (t) => {
    const { proc, table } = setup(t);
    proc.set(1, { args: ['make', 'x'.repeat(2_000)] });
    table.exec(1, 50_000);
    for (let pid = 2; pid < 60_000; pid++) {
      table.fork(pid, 1, 50_000 + pid);
      table.exit(pid, pid % 2 === 0 ? SIGKILLED : EXITED, 50_000 + pid);
    }
    assert.ok(table.size < 20_000, `${table.size} entries`);
    assert.ok(table.bytes < 5 << 20, `${table.bytes} bytes`);
  });

  it('reads a process again that a scan found between its fork and its exec', (t) => {
    const { proc, clock, table } = setup(t);
    proc.set(7, { args: ['sh'], startTicks: 5_000 });
    table.scanForNew();
    proc.set(7, { args: ['java'], startTicks: 5_000 });
    clock.now = 50_100;
    table.scanForNew();
    assert.deepEqual(table.capture(7, 50_100)?.args, ['java']);
  });

  it('finds new processes without events', (t) => {
    const { proc, table } = setup(t);
    proc.set(7, { args: ['one'], startTicks: 4_000 });
    assert.equal(table.scanForNew(), 1);
    assert.equal(table.scanForNew(), 0);
    proc.set(8, { args: ['two'], startTicks: 4_500 });
    assert.equal(table.scanForNew(), 1);
    proc.remove(7);
    table.scanForNew();
    assert.deepEqual(table.capture(7, 45_000)?.args, ['one']);
    assert.deepEqual(table.capture(8, 45_000)?.args, ['two']);
  });
});
