import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ProcFiles } from '../../src/kernel/proc-files.ts';
import { FakeProc } from '../fake-proc.ts';
import { processesOf, setup } from './processes.ts';

describe('scans of /proc', () => {
  it('notices in a scan that a pid has changed hands while events were lost', (t) => {
    const { proc, scan, lookup } = setup(t);
    proc.set(7, { args: ['first'], startTicks: 1_000 });
    scan.begin();
    assert.equal(scan.continue(10), false);
    proc.set(7, { args: ['second'], startTicks: 4_000 });
    scan.begin();
    scan.continue(10);
    assert.deepEqual(lookup.capture(7, 20_000)?.args, ['first']);
    assert.deepEqual(lookup.capture(7, 45_000)?.args, ['second']);
  });

  it('keeps what it knows of a zombie', (t) => {
    const { proc, clock, scan, events, lookup } = setup(t);
    proc.set(7, { args: ['java'] });
    events.exec(7, 50_000);
    proc.dropMemory(7);
    clock.now = 51_000;
    scan.refresh(10, true);
    assert.deepEqual(lookup.capture(7, 51_000)?.args, ['java']);
  });

  it('reads a process again that a scan found between its fork and its exec', (t) => {
    const { proc, clock, scan, lookup } = setup(t);
    proc.set(7, { args: ['sh'], startTicks: 5_000 });
    scan.findNew();
    proc.set(7, { args: ['java'], startTicks: 5_000 });
    clock.now = 50_100;
    scan.findNew();
    assert.deepEqual(lookup.capture(7, 50_100)?.args, ['java']);
  });

  it('finds new processes without events', (t) => {
    const { proc, scan, lookup } = setup(t);
    proc.set(7, { args: ['one'], startTicks: 4_000 });
    assert.equal(scan.findNew(), 1);
    assert.equal(scan.findNew(), 0);
    proc.set(8, { args: ['two'], startTicks: 4_500 });
    assert.equal(scan.findNew(), 1);
    proc.remove(7);
    scan.findNew();
    assert.deepEqual(lookup.capture(7, 45_000)?.args, ['one']);
    assert.deepEqual(lookup.capture(8, 45_000)?.args, ['two']);
  });

  it('gives way to process events after a while', (t) => {
    const proc = new FakeProc(t);
    for (let pid = 1; pid <= 100; pid++) proc.set(pid, { args: ['sh'] });
    let now = 50_000;
    let turns = 0;
    let known = 0;
    const { table, scan } = processesOf(new ProcFiles(proc.root), () => now++);
    scan.begin();
    while (scan.continue(100)) {
      assert.ok(table.size - known <= 20);
      known = table.size;
      turns++;
    }
    assert.equal(table.size, 100);
    assert.ok(turns > 1);
  });
});
