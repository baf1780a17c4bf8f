import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { CaptureClock } from '../../src/capture/clock.ts';
import { Counters } from '../../src/capture/counters.ts';
import { ProcessWatch } from '../../src/capture/process-watch.ts';
import { DEFAULT_PATHS } from '../../src/host.ts';
import { FakeProc } from '../fake-proc.ts';
import { captureOptions } from './capture-options.ts';

const NO_EVENTS = { missing: 'there is no node:ffi' };

/** Watches the processes of a /proc that the test decides; there are no process events. */
function setup(t: TestContext, processRefreshMs = 5_000) {
  const proc = new FakeProc(t);
  const clock = { now: 100_000 };
  const counters = new Counters();
  /** A new run of the agent. */
  const start = () => {
    const watch = new ProcessWatch(
      captureOptions({
        paths: { ...DEFAULT_PATHS, proc: proc.root },
        host: { name: 'node-7', boot_id: 'boot-1', kernel: '6.12.9', arch: 'amd64', version_line: '' },
        journal: path.join(proc.root, 'journal'),
        processRefreshMs,
        counters: counters.shared,
      }),
      new CaptureClock(
        () => clock.now,
        () => clock.now,
      ),
      counters,
      (message) => assert.fail(JSON.stringify(message)),
    );
    watch.meet(NO_EVENTS);
    return watch;
  };
  return { proc, clock, counters, start };
}

/** What a real loop does until then. @returns when it scanned */
function turnUntil(clock: { now: number }, counters: Counters, watch: ProcessWatch, time: number): number[] {
  const scans: number[] = [];
  while (watch.dueAt <= time) {
    clock.now = Math.max(clock.now, watch.dueAt);
    const before = counters.get('scans');
    watch.turn(clock.now);
    if (counters.get('scans') > before) scans.push(clock.now);
  }
  return scans;
}

describe('watching processes without process events', () => {
  it('says why there are none, and knows who is there all the same', (t) => {
    const { proc, start } = setup(t);
    proc.set(7, { args: ['java', '--password=hunter2'] });
    const watch = start();
    assert.deepEqual(watch.status, {
      processEvents: {
        works: false,
        problem: 'there is no node:ffi',
        cost: 'command lines come from scans of /proc: processes that live for less than a scan are missed',
      },
      processes: 1,
      restored: 0,
    });
    assert.deepEqual(watch.lookup.capture(7, 100_000)?.args, ['java', '--password=***']);
  });

  it('gives a sign of life for every hundred processes that it finds at its start', (t) => {
    const { proc, counters, start } = setup(t);
    for (let pid = 1; pid <= 250; pid++) proc.set(pid, { args: ['java'] });
    const { mock } = t.mock.method(counters, 'set');
    start();
    const signs = mock.calls.filter(({ arguments: [name] }) => name === 'heartbeat');
    assert.equal(signs.length, 2);
  });

  it('scans ten times a second while processes come, and less and less often when none do', (t) => {
    const { proc, clock, counters, start } = setup(t);
    const watch = start();
    turnUntil(clock, counters, watch, 110_000);
    proc.set(7, { args: ['java'] });
    const scans = turnUntil(clock, counters, watch, 114_000);
    assert.deepEqual(scans, [111_000, 111_100, 111_300, 111_700, 112_500, 113_500]);
    assert.deepEqual(watch.lookup.capture(7, clock.now)?.args, ['java']);
  });

  it('scans no less often than it was asked to', (t) => {
    const { clock, counters, start } = setup(t, 300);
    const watch = start();
    const scans = turnUntil(clock, counters, watch, 101_000);
    assert.deepEqual(scans, [100_000, 100_300, 100_600, 100_900]);
  });

  it('tells how much it knows', (t) => {
    const { proc, clock, counters, start } = setup(t);
    for (const pid of [7, 8, 9]) proc.set(pid, { args: ['java'] });
    turnUntil(clock, counters, start(), 101_000);
    assert.equal(counters.get('tableEntries'), 3);
    assert.ok(counters.get('tableBytes') > 0);
  });

  it('knows after a restart who died meanwhile, if the one before was to keep it', (t) => {
    const { proc, clock, start } = setup(t);
    for (const [pid, keeps] of [
      [7, true],
      [8, false],
    ] as const) {
      proc.set(pid, { args: ['java'], startTicks: 5_000 });
      const first = start();
      first.startJournal(keeps);
      first.closeJournal();
      proc.remove(pid);
      clock.now += 1_000;
      assert.equal(start().lookup.capture(pid, clock.now)?.pid, keeps ? pid : undefined);
    }
  });

  it('looks at nobody where the processes have other numbers than in the kernel’s log', (t) => {
    const { proc, clock, counters, start } = setup(t);
    proc.set(1, { args: ['sh'] });
    mkdirSync(path.join(proc.root, '1', 'ns'));
    symlinkSync('pid:[4026532761]', path.join(proc.root, '1', 'ns', 'pid'));
    const watch = start();
    watch.startJournal(true);
    assert.deepEqual(turnUntil(clock, counters, watch, 103_000), []);
    assert.match(watch.status.processEvents.problem ?? '', /hostPID/);
    assert.equal(watch.foreign, watch.status.processEvents.problem);
    assert.equal(watch.status.processEvents.cost, 'no command line is known');
    assert.equal(watch.status.processes, 0);
  });
});
