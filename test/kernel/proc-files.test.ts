import assert from 'node:assert/strict';
import path from 'node:path';
import { describe, it } from 'node:test';
import { LONGEST_COMMAND_LINE, ProcFiles } from '../../src/kernel/proc-files.ts';
import { FakeProc } from '../fake-proc.ts';
import { threadCpuClock } from '../thread-cpu-time.ts';

describe('the files of a process', () => {
  it('gives every argument as it was, empty ones and line breaks too', (t) => {
    const proc = new FakeProc(t);
    const args = ['python3', '-c', 'print(1)\nprint(2)', '', '--name=naïve', '', ''];
    proc.set(7, { args });
    assert.deepEqual(new ProcFiles(proc.root).commandLine(7), { args, truncated: false });
  });

  it('takes a title that was written over the arguments without its padding', (t) => {
    const proc = new FakeProc(t);
    proc.set(7, { cmdline: `nginx: worker process${'\0'.repeat(9)}` });
    assert.deepEqual(new ProcFiles(proc.root).commandLine(7)?.args, ['nginx: worker process']);
  });

  it('shows bytes that are no UTF-8, and leaves the rest as it is', (t) => {
    const proc = new FakeProc(t);
    proc.set(7, { cmdline: Buffer.from([0x61, 0xff, 0xc3, 0xbc, 0xc3, 0, 0xef, 0xbf, 0xbd, 0]) });
    assert.deepEqual(new ProcFiles(proc.root).commandLine(7)?.args, ['a\\xffü\\xc3', '\ufffd']);
  });

  it('takes for UTF-8 what the standard does, whatever the first two bytes', (t) => {
    const proc = new FakeProc(t);
    const files = new ProcFiles(proc.root);
    const strict = new TextDecoder('utf-8', { fatal: true });
    const isValid = (bytes: Buffer) => {
      try {
        return strict.decode(bytes).length > 0;
      } catch {
        return false;
      }
    };
    const beginnings = Array.from({ length: 128 << 8 }, (_, index) => [0x80 + (index >> 8), index & 0xff]);
    const sequences = beginnings
      .filter(([, second]) => second !== 0)
      .map(([lead = 0, second = 0]) => {
        const rest = [0x80, 0x80].slice(0, lead < 0xe0 ? 0 : lead < 0xf0 ? 1 : 2);
        return Buffer.from([lead, second, ...rest]);
      });
    for (const piece of [sequences.slice(0, 16_000), sequences.slice(16_000)]) {
      proc.set(7, { cmdline: Buffer.concat(piece.map((bytes) => Buffer.concat([bytes, Buffer.of(0)]))) });
      const { args = [] } = files.commandLine(7) ?? {};
      const told = args.map((argument) => !argument.includes('\\x'));
      assert.deepEqual(told, piece.map(isValid));
    }
  });

  it('shows 100,000 bytes that are no UTF-8 in little time', (t) => {
    const proc = new FakeProc(t);
    proc.set(7, { cmdline: Buffer.alloc(100_000, 0xc3) });
    const files = new ProcFiles(proc.root);
    const clock = threadCpuClock();
    const times = Array.from({ length: 5 }, () => {
      const before = clock();
      files.commandLine(7);
      return clock() - before;
    });
    // It is what anybody can make the agent do by an exec; with an exception for each byte it took 300 ms.
    assert.ok(Math.min(...times) < 50, times.join(' '));
  });

  it('reads long command lines whole and cuts only what is longer than the limit', (t) => {
    const proc = new FakeProc(t);
    proc.set(7, { args: ['java', 'x'.repeat(100_000)] });
    proc.set(8, { args: ['java', 'x'.repeat(LONGEST_COMMAND_LINE * 2)] });
    const files = new ProcFiles(proc.root);
    assert.deepEqual(files.commandLine(7), { args: ['java', 'x'.repeat(100_000)], truncated: false });
    const cut = files.commandLine(8);
    assert.equal(cut?.truncated, true);
    assert.equal(cut?.args.join('\0').length, LONGEST_COMMAND_LINE);
  });

  it('knows no command line of a process that is gone or has dropped its memory', (t) => {
    const proc = new FakeProc(t);
    proc.set(7, { args: [] });
    const files = new ProcFiles(proc.root);
    assert.equal(files.commandLine(7), undefined);
    assert.equal(files.commandLine(8), undefined);
    assert.equal(files.stat(8), undefined);
    assert.equal(files.executable(8), undefined);
    assert.equal(files.cgroup(8), undefined);
  });

  it("prefers the memory controller's cgroup to the unified one, and climbs out of no namespace", (t) => {
    const proc = new FakeProc(t);
    proc.set(1, { cgroup: '9:pids:/p\n4:memory:/docker/abc\n0::/u\n' });
    proc.set(2, { cgroup: '0::/kubepods.slice/a.scope\n' });
    proc.set(3, { cgroup: '0::/../../kubepods.slice/a.scope (deleted)\n' });
    const files = new ProcFiles(proc.root);
    assert.equal(files.cgroup(1), '/docker/abc');
    assert.equal(files.cgroup(2), '/kubepods.slice/a.scope');
    assert.equal(files.cgroup(3), '/kubepods.slice/a.scope');
  });

  it('does not believe that an exiting process is in the root cgroup, as cgroup v1 shows it', (t) => {
    const proc = new FakeProc(t);
    proc.set(7, { cgroup: '4:memory:/\n0::/\n', exiting: true });
    proc.set(8, { cgroup: '4:memory:/\n0::/\n' });
    const files = new ProcFiles(proc.root);
    assert.equal(files.cgroup(7), undefined);
    assert.equal(files.cgroup(8), '/');
  });

  it('reads parent and start behind a name that looks like more fields', (t) => {
    const proc = new FakeProc(t);
    proc.set(7, { name: 'a) S 999 (b', parentPid: 42, startTicks: 1234 });
    assert.deepEqual(new ProcFiles(proc.root).stat(7), { parentPid: 42, start: 12_340 });
  });

  it('tells starts by a clock that stands still in suspend, as process events do', (t) => {
    const proc = new FakeProc(t);
    proc.set(7, { startTicks: 1234 });
    assert.equal(new ProcFiles(proc.root, () => 2_000).stat(7)?.start, 10_340);
  });

  it('agrees with the real /proc about this very process', () => {
    const files = new ProcFiles('/proc');
    assert.equal(path.resolve(files.commandLine(process.pid)?.args.at(-1) ?? ''), process.argv.at(-1));
    assert.equal(files.stat(process.pid)?.parentPid, process.ppid);
    assert.equal(files.threadGroup(process.pid), process.pid);
    assert.ok(files.pids().includes(process.pid));
    assert.ok(files.uptime() > (files.stat(process.pid)?.start ?? Number.POSITIVE_INFINITY));
  });
});
