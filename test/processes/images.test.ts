import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import type { ProcFiles } from '../../src/kernel/proc-files.ts';
import { newEntry } from '../../src/processes/process-entry.ts';
import { Redactor } from '../../src/redact.ts';
import { EXITED, SIGKILLED, setup as setupProcesses } from './processes.ts';

/** Whose redactions are counted. */
function setup(t: TestContext, { files, patterns }: { files?: ProcFiles; patterns?: RegExp[] } = {}) {
  const redactor = new Redactor(patterns);
  const { mock } = t.mock.method(redactor, 'args');
  return { redactions: () => mock.callCount(), ...setupProcesses(t, files, redactor) };
}

const ARGS = ['java', '--password=hunter2', '--token=x'];
const REDACTED = ['java', '--password=***', '--token=***'];

describe('the secrets in a command line', () => {
  it('cost nothing as long as nobody asks for it', (t) => {
    const { proc, clock, scan, events, lookup, redactions } = setup(t);
    proc.set(7, { args: ARGS, startTicks: 5_000 });
    proc.set(8, { args: ARGS, startTicks: 5_001, parentPid: 7 });
    events.fork(7, 1, 50_000);
    events.exec(7, 50_001);
    events.fork(8, 7, 50_010);
    events.thread(7, 9);
    clock.now = 51_000;
    scan.refresh(10, false);
    scan.begin();
    scan.continue(10);
    assert.equal(lookup.cgroup(7, 50_500), '/system.slice/x.service');
    events.exit(8, EXITED, 51_010);
    events.exit(7, SIGKILLED, 51_010);
    assert.equal(redactions(), 0);
  });

  it('are taken out once, for all who share it', (t) => {
    const { proc, events, lookup, redactions } = setup(t);
    proc.set(7, { args: ARGS });
    events.exec(7, 50_000);
    events.fork(8, 7, 50_010);
    for (const pid of [8, 7, 8]) {
      const captured = lookup.capture(pid, 50_020);
      assert.deepEqual([captured?.args, captured?.redacted], [REDACTED, 2]);
    }
    assert.equal(redactions(), 1);
  });

  it('make it no new one when it is read again', (t) => {
    const { proc, scan, events, lookup, redactions } = setup(t);
    proc.set(7, { args: ARGS });
    events.exec(7, 50_000);
    assert.deepEqual(lookup.capture(7, 50_010)?.args, REDACTED);
    scan.refresh(10, false);
    assert.equal(redactions(), 1);
    assert.equal(lookup.capture(7, 50_010)?.source, 'exec');
    proc.set(7, { args: ['java', '--password=another', '--token=x'] });
    scan.refresh(10, false);
    scan.refresh(10, false);
    assert.equal(lookup.capture(7, 50_010)?.source, 'exec', 'only a secret is another one');
  });

  it('are taken out once more after a restart, and then no more', (t) => {
    const { proc, images, table, scan, redactions } = setup(t);
    proc.set(7, { args: ARGS });
    const circumstances = { executable: '/usr/bin/x', cgroup: '/system.slice/x.service', truncated: false };
    const known = images.restore({ args: REDACTED, redacted: 2, readAt: 40_000, ...circumstances });
    table.add(newEntry(7, 1, 10_000, 'exec', known));
    for (let i = 0; i < 4; i++) scan.refresh(10, false);
    assert.equal(table.alive(7)?.source, 'exec');
    assert.equal(redactions(), 1);
  });

  it('are found by the user’s own patterns', (t) => {
    const { proc, events, lookup } = setup(t, { patterns: [/java (\S+)/] });
    proc.set(7, { args: ['java', 'own'] });
    events.exec(7, 50_000);
    assert.deepEqual(lookup.capture(7, 50_010)?.args, ['java', '***']);
  });

  it('count for the memory in use as long as they are there', (t) => {
    const { proc, clock, table, events, lookup } = setup(t);
    proc.set(7, { args: ARGS });
    events.exec(7, 50_000);
    events.fork(8, 7, 50_010);
    const before = table.bytes;
    lookup.capture(8, 50_020);
    assert.equal(table.bytes - before, REDACTED.join().length - ARGS.join().length);
    for (const pid of [7, 8]) events.exit(pid, EXITED, 50_030);
    clock.now = 60_000;
    proc.remove(7);
    table.forget();
    assert.equal(table.bytes, 0);
  });

  it('are gone before a command line is cut for want of room', (t) => {
    const withSecret = (length: number) => ['java', `postgres://shop:${'x'.repeat(length)}@db/shop`];
    const lines = new Map([
      [7, withSecret(2_000)],
      [8, withSecret(5_000)],
      [9, ['java', `${'x'.repeat(1_018)}${'\u{1f600}'.repeat(100)}`]],
    ]);
    const commandLine = (pid: number) => ({
      args: lines.get(pid) ?? ['y'.repeat(pid < 200 ? 128 << 10 : 1_100)],
      truncated: false,
    });
    const files = {
      commandLine,
      commandLineAtOnce: commandLine,
      executable: () => undefined,
      cgroup: () => undefined,
      stat: () => ({ parentPid: 1, start: 50_000 }),
    } as unknown as ProcFiles;
    const { events, lookup, redactions } = setup(t, { files });
    for (let pid = 100; pid < 400; pid++) events.exec(pid, 50_000);
    for (const [pid, args] of [
      [7, ['java', 'postgres://shop:***@db/shop']],
      [8, ['java']],
      [9, ['java', `${'x'.repeat(1_018)}\ufffd`]],
    ] as const) {
      const before = redactions();
      events.exec(pid, 50_000);
      assert.equal(redactions(), before);
      const captured = lookup.capture(pid, 50_010);
      assert.deepEqual(captured?.args, args);
      assert.equal(captured?.truncated, true);
    }
    assert.equal(lookup.capture(399, 50_010)?.args?.[0]?.length, 1_024);
  });

  it('are waited for in less of a command line where there are very many', (t) => {
    const java = ['java', '-Dx=y '.repeat(1_000)];
    const script = ['sh', '-c', `echo ${'hunter2 '.repeat(50)}| chpasswd${' -m'.repeat(1_000)}`];
    const commandLine = (pid: number) => ({ args: pid === 7 ? script : java, truncated: false });
    const files = {
      commandLine,
      commandLineAtOnce: commandLine,
      executable: () => undefined,
      cgroup: () => undefined,
      stat: () => ({ parentPid: 1, start: 50_000 }),
    } as unknown as ProcFiles;
    const { table, events, lookup } = setup(t, { files });
    for (let pid = 100; pid < 12_100; pid++) events.exec(pid, 50_000);
    assert.ok(table.bytes < (32 << 20) + 12_000 * (1_024 + 200), `${table.bytes}`);
    const captured = lookup.capture(12_099, 50_010);
    assert.deepEqual(captured?.args, ['java', '-Dx=y '.repeat(42).slice(0, 251)]);
    assert.equal(captured?.truncated, true);
    events.exec(7, 50_000);
    assert.deepEqual(lookup.capture(7, 50_010)?.args, [
      'sh',
      '-c',
      script[2]!.replaceAll('hunter2', '***').slice(0, 250),
    ]);
  });
});
