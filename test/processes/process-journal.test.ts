import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  appendFileSync,
  existsSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import type { WritingIo } from '../../src/kernel/background-file.ts';
import { ProcFiles } from '../../src/kernel/proc-files.ts';
import { JournalReplay } from '../../src/processes/journal-replay.ts';
import { ProcessJournalFile } from '../../src/processes/process-journal.ts';
import { FakeProc } from '../fake-proc.ts';
import { PATIENCE_MS } from '../patience.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import { EPOCH, EXITED, processesOf, SIGKILLED } from './processes.ts';

/** Writes at once, or not before it is told to, or while nobody waits for it. */
class SlowDisk implements WritingIo {
  isSlow = false;
  isAsynchronous = false;

  transfer(length: number) {
    const data = Buffer.alloc(length);
    let write: (() => number) | undefined;
    let looks = 0;
    return {
      data,
      write(fd: number, from: number, to: number, position: number) {
        write = () => writeSync(fd, data, from, to - from, position);
      },
      result: () => {
        looks++;
        return this.isSlow || (this.isAsynchronous && looks === 1) ? undefined : write?.();
      },
      free() {},
    };
  }
}

function setup(t: TestContext) {
  const folder = temporaryFolder(t, 'oom-witness-journal');
  const proc = new FakeProc(t);
  const file = path.join(folder, 'processes');
  const clock = { now: 60_000 };
  const redacted: string[] = [];
  const cost = { ms: 1 };
  const disk = new SlowDisk();
  /** Takes a while over each. */
  const redactor = {
    args: (args: readonly string[]) => {
      redacted.push(args[0] as string);
      clock.now += cost.ms;
      return { args: args.map((arg) => arg.replace('hunter2', '***')), count: 1 };
    },
  };
  /** A new run of the agent in the same or another boot. */
  const start = (bootId = 'boot-1', io?: SlowDisk) => {
    const files = new ProcFiles(proc.root);
    const { images, table, scan, events, lookup } = processesOf(files, () => 60_000, redactor);
    const journal = new ProcessJournalFile(
      file,
      bootId,
      images,
      files,
      () => clock.now,
      (error) => assert.fail(error),
      io,
    );
    const restored = journal.restore(new JournalReplay(table, images));
    scan.begin();
    scan.continue(1_000);
    journal.rewrite(table);
    return { journal, table, scan, events, lookup, restored };
  };
  return { proc, file, clock, redacted, cost, disk, start };
}

describe('the journal of processes', () => {
  it('tells the next run of processes that died while nobody looked', (t) => {
    const { proc, start } = setup(t);
    const first = start();
    proc.set(7, { args: ['java', '-jar', 'shop.jar'], startTicks: 5_000 });
    first.events.fork(7, 1, 50_000);
    first.events.exec(7, 50_001);
    first.events.fork(8, 7, 50_002);
    proc.set(9, { args: ['other'], startTicks: 5_000 });
    first.events.exec(9, 50_003);
    first.events.exit(9, SIGKILLED, 52_500);
    first.journal.flush(first.table, Number.POSITIVE_INFINITY);
    for (const pid of [7, 8, 9]) proc.remove(pid);

    // A run that dies before it has told anything must not take what it was told to the grave.
    start();
    const second = start();
    assert.deepEqual(second.lookup.capture(7, 55_000)?.args, ['java', '-jar', 'shop.jar']);
    assert.equal(second.lookup.capture(7, 55_000)?.source, 'exec');
    assert.equal(second.lookup.capture(8, 55_000)?.source, 'inherited');
    assert.deepEqual(second.lookup.capture(9, 52_400)?.args, ['other']);
  });

  it('does not believe that a child was still what its parent is when it had no time to tell', (t) => {
    const { proc, start } = setup(t);
    const first = start();
    proc.set(7, { args: ['sh'], startTicks: 5_000 });
    first.events.exec(7, 50_001);
    first.events.fork(8, 7, 50_002);
    first.journal.flush(first.table, Number.POSITIVE_INFINITY);
    proc.remove(7);
    const captured = start().lookup.capture(8, 55_000);
    assert.equal(captured?.args, undefined);
    assert.match(captured?.missing ?? '', /may have executed/);
  });

  it('believes a scan that saw something else than the parent, however young', (t) => {
    const { proc, start } = setup(t);
    proc.set(6, { args: ['sh'], startTicks: 1_000 });
    proc.set(7, { args: ['java'], parentPid: 6, startTicks: 5_990 });
    proc.set(8, { args: ['sh'], parentPid: 6, startTicks: 5_990 });
    start();
    proc.remove(7);
    proc.remove(8);
    const second = start();
    assert.deepEqual(second.lookup.capture(7, 59_950)?.args, ['java']);
    assert.equal(second.lookup.capture(8, 59_950)?.args, undefined);
  });

  it('does not take a successor for the process that it knew', (t) => {
    const { proc, start } = setup(t);
    const first = start();
    proc.set(7, { args: ['old'], startTicks: 5_000 });
    first.events.fork(7, 1, 50_000);
    first.events.exec(7, 50_001);
    first.journal.flush(first.table, Number.POSITIVE_INFINITY);
    proc.set(7, { args: ['new'], startTicks: 5_900 });
    const second = start();
    assert.deepEqual(second.lookup.capture(7, 55_000)?.args, ['old']);
    assert.deepEqual(second.lookup.capture(7, 59_500)?.args, ['new']);
  });

  it('tells the next run who a successor is, also where only scans have seen it', (t) => {
    const { proc, start } = setup(t);
    proc.set(7, { args: ['old'], parentPid: 3, startTicks: 5_000 });
    const { journal, table, scan } = start();
    proc.set(7, { args: ['new'], parentPid: 4, startTicks: 5_800 });
    scan.refresh(10, true);
    journal.flush(table, Number.POSITIVE_INFINITY);
    proc.remove(7);
    const { lookup } = start();
    for (const [time, args, parentPid, start] of [
      [55_000, ['old'], 3, 50_000],
      [59_500, ['new'], 4, 58_000],
    ] as const) {
      const captured = lookup.capture(7, time);
      assert.deepEqual(captured?.args, args);
      assert.deepEqual([captured?.parentPid, captured?.startedAt], [parentPid, EPOCH + start]);
    }
  });

  it('writes nothing of a process that came and went by itself, unless somebody came from it', (t) => {
    const { proc, file, start } = setup(t);
    proc.set(1, { args: ['init'] });
    const { journal, table, events } = start();
    proc.set(7, { args: ['sh', '-c', 'true'], startTicks: 5_000 });
    for (const pid of [7, 8]) events.fork(pid, 1, 50_000);
    events.exec(7, 50_001);
    events.fork(9, 8, 50_002);
    events.exit(7, 0, 50_010);
    events.exit(8, 0, 50_010);
    const before = readFileSync(file, 'utf8');
    journal.flush(table, 0);
    assert.equal(readFileSync(file, 'utf8'), before, 'not due yet');
    journal.flush(table, Number.POSITIVE_INFINITY);
    const written = readFileSync(file, 'utf8').slice(before.length);
    assert.doesNotMatch(written, /,7,/);
    assert.match(written, /^\["fork",9,8,/m);
  });

  it('takes secrets out of what it writes, and only then', (t) => {
    const { proc, file, redacted, start } = setup(t);
    proc.set(1, { args: ['init'] });
    const { journal, table, events } = start();
    redacted.length = 0;
    for (const pid of [7, 8, 9]) {
      proc.set(pid, { args: [`p${pid}`, '--password=hunter2'] });
      events.fork(pid, 1, 50_000);
      events.exec(pid, 50_001);
    }
    events.exit(8, EXITED, 50_010);
    events.exit(9, SIGKILLED, 50_010);
    assert.deepEqual(redacted, []);
    journal.flush(table, Number.POSITIVE_INFINITY);
    assert.deepEqual(redacted, ['p7', 'p9']);
    const text = readFileSync(file, 'utf8');
    assert.match(text, /"p7","--password=\*\*\*"/);
    assert.doesNotMatch(text, /hunter2|p8/);
    for (const pid of [7, 8, 9]) proc.remove(pid);
    proc.remove(1);
    const captured = start().lookup.capture(9, 50_005);
    assert.deepEqual([captured?.args, captured?.redacted], [['p9', '--password=***'], 1]);
    assert.deepEqual(redacted, ['p7', 'p9'], 'not once more after a restart');
  });

  it('spends a few milliseconds on each flush, keeps the order, and never comes to those who are gone by then', (t) => {
    const { proc, file, redacted, clock, start } = setup(t);
    proc.set(1, { args: ['init'] });
    const { journal, table, events, lookup } = start();
    redacted.length = 0;
    const pids = Array.from({ length: 20 }, (_, index) => 100 + index);
    for (const pid of pids) {
      proc.set(pid, { args: [`p${pid}`], startTicks: 5_000 });
      events.fork(pid, 1, 50_000);
      events.exec(pid, 50_001);
    }
    clock.now = journal.dueAt;
    journal.flush(table, clock.now);
    assert.equal(redacted.length, 4);
    for (const pid of [103, 119]) events.exit(pid, EXITED, 50_010);
    assert.equal(lookup.capture(118, 50_005)?.args?.[0], 'p118', 'does not wait for the journal');
    events.exit(118, SIGKILLED, 50_010);
    for (let flushes = 1; journal.dueAt < Number.POSITIVE_INFINITY; flushes++) {
      assert.ok(journal.dueAt - clock.now >= 15, 'others have their turn');
      clock.now = journal.dueAt;
      const before = clock.now;
      journal.flush(table, clock.now);
      assert.ok(clock.now - before <= 4);
      assert.ok(flushes <= 5);
    }
    assert.ok(!redacted.includes('p119'));
    const lines = readFileSync(file, 'utf8').trimEnd().split('\n').slice(2);
    const told = lines.map((line) => JSON.parse(line).slice(0, 2).join(' '));
    const born = pids.slice(0, -1).flatMap((pid) => [`fork ${pid}`, `is ${pid}`]);
    assert.deepEqual(told, [...born, 'exit 103', 'exit 118']);
    for (const pid of pids) proc.remove(pid);
    const second = start();
    for (const pid of pids.slice(0, -1))
      assert.equal(second.lookup.capture(pid, 50_005)?.args?.[0], `p${pid}`);
  });

  it('leaves most of the time to others, however long a line takes', (t) => {
    const { proc, clock, cost, start } = setup(t);
    const { journal, table, events } = start();
    proc.set(7, { args: ['java'] });
    events.exec(7, 50_001);
    cost.ms = 50;
    clock.now = 60_100;
    journal.flush(table, clock.now);
    assert.equal(clock.now, 60_150);
    events.exit(7, SIGKILLED, 50_010);
    assert.equal(journal.dueAt, 60_350);
  });

  it('does not keep the agent from ending, however much is left to write', (t) => {
    const { proc, clock, cost, start } = setup(t);
    const { journal, table, events } = start();
    for (let pid = 100; pid < 150; pid++) {
      proc.set(pid, { args: ['daemon'] });
      events.exec(pid, 50_001);
    }
    cost.ms = 100;
    const before = clock.now;
    journal.flush(table, Number.POSITIVE_INFINITY);
    assert.equal(clock.now - before, 1_000);
  });

  it('counts for the memory in use what it has not written yet', (t) => {
    const { proc, start } = setup(t);
    const { journal, table, events } = start();
    proc.set(7, { args: ['java'] });
    events.exec(7, 50_001);
    events.exit(7, EXITED, 50_010);
    proc.remove(7);
    table.forget();
    assert.equal(table.size, 0);
    assert.equal(table.bytes, 'java'.length);
    journal.flush(table, Number.POSITIVE_INFINITY);
    assert.equal(table.bytes, 0);
  });

  it('keeps the old journal until a new one is complete, which takes no longer at once than a flush', (t) => {
    const { proc, file, redacted, clock, start } = setup(t);
    const first = start();
    proc.set(7, { args: ['victim'], startTicks: 5_000 });
    first.events.fork(7, 1, 50_000);
    first.events.exec(7, 50_001);
    first.events.exit(7, SIGKILLED, 50_010);
    first.journal.flush(first.table, Number.POSITIVE_INFINITY);
    proc.remove(7);
    for (let pid = 100; pid < 200; pid++) proc.set(pid, { args: ['daemon'], startTicks: 1_000 });
    redacted.length = 0;
    const before = readFileSync(file, 'utf8');
    start();
    assert.equal(redacted.length, 4);
    assert.equal(readFileSync(file, 'utf8'), before);
    // That one was killed before it had written all.
    const third = start();
    assert.deepEqual(third.lookup.capture(7, 50_005)?.args, ['victim']);
    while (third.journal.dueAt < Number.POSITIVE_INFINITY) {
      clock.now = third.journal.dueAt;
      third.journal.flush(third.table, clock.now);
    }
    for (let pid = 100; pid < 200; pid++) proc.remove(pid);
    const { lookup } = start();
    for (const pid of [7, 100, 199])
      assert.equal(lookup.capture(pid, 50_005)?.source === 'kernel-comm', false);
  });

  for (const [what, exits, execs] of [
    ['lines', 110_000, 0],
    ['command lines', 95_000, 20],
  ] as const)
    it(`is written afresh instead when too many ${what} wait`, (t) => {
      const { proc, file, clock, start } = setup(t);
      const { journal, table, events } = start();
      const daemons = Array.from({ length: 10 }, (_, index) => 100 + index);
      for (const pid of daemons) {
        proc.set(pid, { args: ['daemon', 'x '.repeat(50_000)], startTicks: 1_000 });
        events.exec(pid, 50_001);
      }
      for (let i = 0; i < exits; i++) journal.exit(7, SIGKILLED, 50_000);
      for (let i = 0; i < execs; i++) events.exec(109, 50_001);
      clock.now = journal.dueAt;
      journal.flush(table, clock.now);
      assert.ok(table.bytes < 1_100_000, 'what waits is in the table, too');
      journal.flush(table, Number.POSITIVE_INFINITY);
      const lines = readFileSync(file, 'utf8').trimEnd().split('\n').slice(1);
      assert.deepEqual(
        lines.map((line) => JSON.parse(line)[1]),
        daemons,
      );
    });

  it('waits for no disk, and writes later what that has not taken', (t) => {
    const { proc, file, clock, disk, start } = setup(t);
    disk.isSlow = true;
    const { journal, table, events } = start('boot-1', disk);
    proc.set(7, { args: ['java'], startTicks: 5_000 });
    for (let turn = 0; turn < 3; turn++) {
      events.fork(7, 1, 50_000);
      events.exec(7, 50_001);
      events.exit(7, SIGKILLED, 50_010);
      assert.ok(journal.dueAt > clock.now, 'in a while');
      clock.now = journal.dueAt;
      journal.flush(table, clock.now);
    }
    assert.equal(existsSync(file), false);
    disk.isSlow = false;
    while (journal.dueAt < Number.POSITIVE_INFINITY) {
      clock.now = journal.dueAt;
      journal.flush(table, clock.now);
    }
    const lines = readFileSync(file, 'utf8').trimEnd().split('\n').slice(1);
    assert.deepEqual(
      lines.map((line) => JSON.parse(line)[0]),
      Array.from({ length: 3 }, () => ['is', 'is', 'exit']).flat(),
    );
  });

  it('is written afresh after a disk took so long that more waited than there is room for', (t) => {
    const { proc, file, clock, disk, start } = setup(t);
    const { journal, table, events } = start('boot-1', disk);
    proc.set(7, { args: ['java'], startTicks: 5_000 });
    events.exec(7, 50_001);
    disk.isSlow = true;
    const flush = () => {
      clock.now = journal.dueAt;
      journal.flush(table, clock.now);
    };
    flush();
    for (let i = 0; i < 110_000; i++) journal.exit(8, SIGKILLED, 50_000);
    flush();
    assert.equal(table.bytes < 1_000, true);
    events.exit(7, SIGKILLED, 50_010);
    disk.isSlow = false;
    while (journal.dueAt < Number.POSITIVE_INFINITY) flush();
    const lines = readFileSync(file, 'utf8').trimEnd().split('\n').slice(1);
    assert.deepEqual(
      lines.map((line) => JSON.parse(line).slice(0, 2)),
      [
        ['is', 7],
        ['exit', 7],
      ],
    );
  });

  it('does not believe that a number is still whose it was when the kernel has come past it since', (t) => {
    const { proc, clock, start } = setup(t);
    proc.givenPids({ count: 100_000, last: 5_000, most: 32_768, taken: 90 });
    for (const pid of [4_990, 5_400, 5_900, 9_000])
      proc.set(pid, { args: ['long-lived', `${pid}`], startTicks: 1_000 });
    const first = start();
    proc.set(5_002, { args: ['young'], startTicks: 6_010 });
    first.events.fork(5_002, 1, 60_100);
    first.events.exec(5_002, 60_101);
    first.journal.flush(first.table, Number.POSITIVE_INFINITY);
    for (const pid of [4_990, 5_002, 5_400, 9_000]) proc.remove(pid);
    proc.givenPids({ count: 101_000, last: 6_003, most: 32_768, taken: 90 });

    clock.now = 70_000;
    const { lookup } = start();
    for (const pid of [4_990, 9_000])
      assert.deepEqual(lookup.capture(pid, 65_000)?.args, ['long-lived', `${pid}`]);
    assert.deepEqual(lookup.capture(5_002, 65_000)?.args, ['young']);
    const successor = lookup.capture(5_400, 65_000);
    assert.match(successor?.missing ?? '', /may have gone to another/);
    assert.deepEqual(
      [successor?.args, successor?.parentPid, successor?.startedAt, successor?.cgroup],
      [undefined, undefined, undefined, undefined],
    );
    const survivor = lookup.capture(5_900, 65_000);
    assert.deepEqual(survivor?.args, ['long-lived', '5900']);
    assert.deepEqual([survivor?.parentPid, survivor?.startedAt], [1, EPOCH + 10_000]);
  });

  it('belongs to one boot only', (t) => {
    const { proc, start } = setup(t);
    const first = start();
    proc.set(7, { args: ['old'] });
    first.events.exec(7, 50_001);
    first.journal.flush(first.table, Number.POSITIVE_INFINITY);
    proc.remove(7);
    assert.equal(start('boot-2').lookup.capture(7, 55_000), undefined);
  });

  it('survives a line that was torn by a kill, and rubbish', (t) => {
    const { proc, file, start } = setup(t);
    const first = start();
    proc.set(7, { args: ['kept'] });
    first.events.exec(7, 50_001);
    first.journal.flush(first.table, Number.POSITIVE_INFINITY);
    proc.remove(7);
    appendFileSync(
      file,
      `null
[]
{"x":1}
["is",7]
["is",7,1,5000,"exec",50002,"rubbish",null,null,false,0]
["is",7,1,5000,"exec",50002,["rubbish",{}],null,null,false,0]
["is",7,1,5000,"exec",50002,["rubbish"],null,["a"],false,0]
["is",7,1,5000,"rubbish",50002,["rubbish"],null,null,false,0]
["exit",7,9]
["is",7,1,1e400,"exec",50002,["rubbish"],null,null,false,0]
["is",7,1,5000,"exec",-1e16,["rubbish"],null,null,false,0]
["is",8,null`,
    );
    assert.deepEqual(start().lookup.capture(7, 55_000)?.args, ['kept']);
  });

  it('is not held up by a pipe in its place', (t) => {
    const { file } = setup(t);
    execFileSync('mkfifo', [file, `${file}.new`]);
    const source = import.meta.resolve('../../src/processes/process-journal.ts');
    const run = `
      const { ProcessJournalFile } = await import(${JSON.stringify(source)});
      const none = { givenPids() {}, pidLimits() {} };
      const journal = new ProcessJournalFile(process.argv[1], 'boot-1', {}, none, Date.now, (error) => { throw error; });
      if (journal.restore({}) !== 0) throw new Error('restored');
      journal.rewrite({ tell() {} });`;
    const args = ['--disable-warning=ExperimentalWarning', '--input-type=module', '--eval', run, file];
    const { status, signal, stderr } = spawnSync(process.execPath, args, { timeout: PATIENCE_MS });
    assert.deepEqual([status, signal], [0, null], String(stderr));
    assert.match(readFileSync(file, 'utf8'), /boot-1/);
  });

  it('writes into no other file by way of a link', (t) => {
    const { file, start } = setup(t);
    const other = `${file}.other`;
    writeFileSync(other, 'precious');
    symlinkSync(other, `${file}.new`);
    start();
    assert.equal(readFileSync(other, 'utf8'), 'precious');
    assert.match(readFileSync(file, 'utf8'), /boot-1/);
  });

  it('is written afresh when it has grown, also where each look finds the disk at work', (t) => {
    const { file, clock, disk, start } = setup(t);
    disk.isAsynchronous = true;
    const { journal, table } = start('boot-1', disk);
    let largest = 0;
    for (let round = 0; round < 600; round++) {
      for (let i = 0; i < 1_000; i++) journal.exit(8, SIGKILLED, 50_000);
      clock.now = journal.dueAt;
      journal.flush(table, clock.now);
      for (const each of [file, `${file}.new`])
        if (existsSync(each)) largest = Math.max(largest, statSync(each).size);
    }
    assert.ok(largest > 4 << 20, `${largest} bytes`);
    assert.ok(largest < 5 << 20, `${largest} bytes`);
  });

  it('stays small however many processes come and go, and is nobody else’s to read', (t) => {
    const { file, clock, start } = setup(t);
    const { journal, table, events } = start();
    for (let pid = 2; pid < 120_000; pid++) {
      events.fork(pid, 1, 50_000);
      events.exit(pid, 0, 50_000);
      if (pid % 1_000 !== 0) continue;
      clock.now = journal.dueAt;
      journal.flush(table, clock.now);
    }
    assert.ok(statSync(file).size < 5 << 20);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.match(readFileSync(file, 'utf8').split('\n')[0] ?? '', /boot-1/);
  });
});
