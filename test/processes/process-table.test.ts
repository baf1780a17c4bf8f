import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { ProcFiles } from '../../src/kernel/proc-files.ts';
import { EXITED, SIGKILLED, setup } from './processes.ts';

describe('the process table', () => {
  it('remembers those who exited for seconds and those who were killed for minutes', (t) => {
    const { proc, clock, table, events, lookup } = setup(t);
    for (const pid of [7, 8]) {
      proc.set(pid, { args: [`p${pid}`], startTicks: 5_000 });
      events.fork(pid, 1, 50_000);
      events.exec(pid, 50_000);
      proc.remove(pid);
    }
    events.exit(7, EXITED, 50_100);
    events.exit(8, SIGKILLED, 50_100);
    clock.now = 56_000;
    table.forget();
    assert.equal(lookup.capture(7, 50_050), undefined);
    assert.deepEqual(lookup.capture(8, 50_050)?.args, ['p8']);
    clock.now = 700_000;
    table.forget();
    assert.equal(lookup.capture(8, 50_050), undefined);
    assert.equal(table.size, 0);
    assert.equal(table.bytes, 0);
  });

  it('stays bounded when every process has the longest command line', (t) => {
    setFlagsFromString('--expose-gc');
    const collectGarbage = runInNewContext('gc') as () => void;
    let served = 0;
    const commandLine = () => ({
      args: ['java', `${served++}`.repeat(100_000).slice(0, 120_000)],
      truncated: false,
    });
    const files = {
      commandLine,
      commandLineAtOnce: commandLine,
      executable: () => '/usr/bin/java',
      cgroup: () => '/shop',
      stat: () => ({ parentPid: 1, start: 50_000 }),
    } as unknown as ProcFiles;
    const { events, lookup } = setup(t, files);
    collectGarbage();
    const before = process.memoryUsage().heapUsed;
    for (let pid = 2; pid < 1_002; pid++) events.exec(pid, 50_000);
    collectGarbage();
    const grown = process.memoryUsage().heapUsed - before;
    assert.ok(grown < 24 << 20, `${grown >> 20} MiB`);
    assert.equal(lookup.capture(1_001, 50_100)?.truncated, true);
    assert.equal(lookup.capture(2, 50_100)?.truncated, false);
  });

  it('stays bounded when processes come and go without end', (t) => {
    const { proc, table, events } = setup(t);
    proc.set(1, { args: ['make', 'x'.repeat(2_000)] });
    events.exec(1, 50_000);
    for (let pid = 2; pid < 60_000; pid++) {
      events.fork(pid, 1, 50_000 + pid);
      events.exit(pid, pid % 2 === 0 ? SIGKILLED : EXITED, 50_000 + pid);
    }
    assert.ok(table.size < 20_000, `${table.size} entries`);
    assert.ok(table.bytes < 5 << 20, `${table.bytes} bytes`);
  });

  it('has nothing to do any more with a child for which it has no room', (t) => {
    const lines = new Map([[100_001, 'child']]);
    const commandLine = (pid: number) => ({ args: [lines.get(pid) ?? 'daemon'], truncated: false });
    const files = {
      commandLine,
      commandLineAtOnce: commandLine,
      executable: () => undefined,
      cgroup: () => undefined,
      stat: () => ({ parentPid: 1, start: 50_000 }),
    } as unknown as ProcFiles;
    const { clock, table, scan, events } = setup(t, files);
    for (let pid = 1; pid <= 100_000; pid++) events.exec(pid, 50_000);
    const before = table.bytes;
    events.fork(100_001, 1, 50_000);
    clock.now = 51_000;
    scan.refresh(0, false);
    assert.equal(table.size, 100_000);
    assert.equal(table.bytes, before);
  });
});
