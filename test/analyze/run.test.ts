import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable, Writable } from 'node:stream';
import { describe, type TestContext, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { type AnalyzeForm, runAnalyze } from '../../src/analyze/run.ts';
import { fixture, fixtures } from '../kmsg-fixture.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import { assertValidIncident } from '../validate-incident.ts';

const KILL = `${fixture('6.1/child').lines.join('\n')}\n`;

class Sink extends Writable {
  text = '';
  readonly isTTY: boolean;

  constructor(isTTY = false) {
    super();
    this.isTTY = isTTY;
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk;
    done();
  }
}

async function run(
  files: readonly string[],
  stdin: Readable = Readable.from([]),
  signal?: AbortSignal,
  { form, isTTY }: { form?: AnalyzeForm; isTTY?: boolean } = {},
) {
  const stdout = new Sink(isTTY);
  const stderr = new Sink();
  const exit = await runAnalyze(files, {
    form,
    stdin: () => stdin,
    stdout,
    stderr,
    now: () => 0,
    ...(signal && { signal }),
  });
  return { exit, stdout: stdout.text, stderr: stderr.text };
}

function file(t: TestContext, name: string, content: string | Buffer): string {
  const folder = temporaryFolder(t, 'analyze');
  writeFileSync(join(folder, name), content);
  return join(folder, name);
}

test('one incident per line on stdout, nothing on stderr', async (t) => {
  const { exit, stdout, stderr } = await run([
    file(t, 'a.kmsg', KILL),
    file(t, 'b.kmsg', fixture('6.1/lone').lines.join('\n')),
  ]);
  assert.equal(exit, 0);
  assert.equal(stderr, '');
  const lines = stdout.trimEnd().split('\n');
  assert.equal(lines.length, 11);
  for (const line of lines) assertValidIncident(JSON.parse(line));
});

test('text on a terminal, JSON otherwise, unless it is said', async (t) => {
  const path = file(t, 'a.kmsg', KILL);
  const told = async (form?: AnalyzeForm, isTTY?: boolean) =>
    (await run([path], undefined, undefined, { form, isTTY })).stdout;
  const text = await told(undefined, true);
  assert.match(text, /^--:--:-- {2}OOM KILL {2}container \w{12} \(pod uid .*\) on an unnamed machine\n/);
  assert.match(text, /\n {10}when {6}the log has no wall-clock time, only \d+\.\d{3} s since boot\n$/);
  assert.equal(await told('text'), text);
  assert.match(await told(), /^\{"schema":/);
  assert.match(await told('json', true), /^\{"schema":/);
});

test('the text says when the log names only whom the kernel chose', async (t) => {
  const log = '[ 1.000000] Out of memory: Kill process 9 (httpd) score 9 or sacrifice child\n';
  const { stdout } = await run([file(t, 'a.log', log)], undefined, undefined, { form: 'text' });
  assert.match(
    stdout,
    /died {6}httpd, pid 9 .*the log says whom the kernel chose, and not that it was killed: a child/,
  );
});

test('the text counts what was killed before, through all files', async (t) => {
  const log = (hour: number) =>
    file(
      t,
      `${hour}.log`,
      `2026-11-21T0${hour}:00:00Z node-7 kernel: Memory cgroup out of memory: Killed process 77 (java) total-vm:8kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB\n`,
    );
  const { stdout } = await run([log(3), log(1), log(4)], undefined, undefined, { form: 'text' });
  assert.deepEqual(stdout.match(/(?<=before {4}).*(?= \()|no earlier.*/g), [
    'no earlier kill of java on node-7 is known',
    'no earlier kill of java on node-7 is known',
    '3rd kill of java on node-7 in 3 h',
  ]);
});

describe('a kill that several files tell', () => {
  const pids = async (t: TestContext, ...logs: readonly string[]) => {
    const { stdout } = await run(logs.map((log, index) => file(t, `${index}.log`, log)));
    return stdout.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line).process.pid]));
  };
  const kill = (pid: number) =>
    `Killed process ${pid} (java) total-vm:8kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB`;
  const kern = (...kills: readonly [minute: number, pid: number][]) =>
    kills
      .map(
        ([minute, pid]) =>
          `2026-11-21T03:0${minute}:00.100000+00:00 node-7 kernel: [  ${minute}00.123456] Out of memory: ${kill(pid)}\n`,
      )
      .join('');
  const journal = (...kills: readonly [minute: number, pid: number][]) =>
    kern(...kills).replaceAll(/\.100000\+00:00|\[.*?\] /g, (found) => (found.startsWith('.') ? 'Z' : ''));

  test('is told once: syslog and kern.log, rotated files that overlap, other formats', async (t) => {
    const dmesg = kern([1, 71]).replace(/^.*kernel: /, '');
    const late = journal([1, 71]).replace(':00Z', ':01Z');
    for (const copy of [kern([1, 71]), journal([1, 71]), late, dmesg])
      assert.deepEqual(await pids(t, kern([1, 71]), copy), [71], copy);
    assert.deepEqual(await pids(t, kern([1, 71], [2, 72]), kern([2, 72], [3, 73])), [71, 72, 73]);
    assert.deepEqual(await pids(t, kern([2, 72], [3, 73]), kern([1, 71], [2, 72])), [72, 73, 71]);
  });

  test('is not one with any other', async (t) => {
    const one = kern([1, 71]);
    for (const other of [
      one.replace('node-7', 'node-8'),
      one.replace('anon-rss:4', 'anon-rss:5'),
      one.replace('(java)', '(node)'),
      one.replace('100.123456', '100.123457'),
      journal([2, 71]),
      `[  100.123457] Out of memory: ${kill(71)}\n`,
      `Out of memory: ${kill(71)}\n`,
    ])
      assert.deepEqual(await pids(t, one, other), [71, 71], other);
    const all = fixtures().map(({ lines }) => lines.join('\n'));
    const single = await Promise.all(all.map((log) => pids(t, log)));
    assert.deepEqual(await pids(t, ...all), single.flat());
  });
});

test('- is standard input', async () => {
  const { exit, stdout } = await run(['-'], Readable.from([Buffer.from(KILL)]));
  assert.equal(exit, 0);
  assert.equal(JSON.parse(stdout).process.pid, 121);
});

test('what stands before the place where an input breaks off is told', async (t) => {
  // So that what follows the kill does not pack well and is cut.
  const rest = Array.from({ length: 500 }, (_, index) => `6,${index},1,-;${Math.sin(index)}\n`).join('');
  const packed = gzipSync(KILL + rest);
  const { exit, stdout, stderr } = await run([file(t, 'cut.gz', packed.subarray(0, -20))]);
  assert.equal(exit, 2);
  assert.equal(stdout, (await run([file(t, 'whole.gz', packed)])).stdout);
  assert.match(stderr, /: unexpected end of file\n$/);
});

test('gzip is unpacked', async (t) => {
  const { stdout } = await run([file(t, 'a.gz', gzipSync(KILL))]);
  assert.equal(JSON.parse(stdout).process.pid, 121);
});

test('what Windows made of it is read as text', async (t) => {
  const log = `\ufeff${KILL.replaceAll('\n', '\r\n')}`;
  for (const [name, bytes] of [
    ['utf-16.txt', Buffer.from(log, 'utf16le')],
    ['utf-8.txt', Buffer.from(log)],
  ] as const) {
    const { stdout } = await run([file(t, name, bytes)]);
    assert.equal(stdout, (await run([file(t, `${name}.unix`, KILL)])).stdout);
  }
});

test('no kill is no error: one line says how much was read', async (t) => {
  const log = 'Nov 21 03:14:15 node-7 kernel: usb 1-1: new device\n'.repeat(7);
  assert.deepEqual(await run([file(t, 'syslog', log)]), {
    exit: 0,
    stdout: '',
    stderr: 'oom-witness: 7 lines read, no OOM kill found\n',
  });
});

test('one is one', async (t) => {
  const { stderr } = await run([file(t, 'syslog', 'Nov 21 03:14:15 node-7 kernel: usb 1-1: new device')]);
  assert.equal(stderr, 'oom-witness: 1 line read, no OOM kill found\n');
});

test('nor is a log of something else, but it is said', async (t) => {
  const path = file(t, 'access.log', 'GET / 200\nGET /x 404\n');
  assert.deepEqual(await run([path]), {
    exit: 0,
    stdout: '',
    stderr: `oom-witness: 2 lines read, no OOM kill found; ${path} is in no known format of a kernel log\n`,
  });
});

test('kills in no known format are told, and it is said', async (t) => {
  const path = file(
    t,
    'ticket.txt',
    'Hello,\nKilled process 9 (x) total-vm:8kB, anon-rss:4kB, file-rss:0kB\n',
  );
  const { exit, stdout, stderr } = await run([file(t, 'a.kmsg', KILL), path]);
  assert.equal(exit, 0);
  assert.deepEqual(
    stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line).process.pid),
    [121, 9],
  );
  assert.equal(
    stderr,
    `oom-witness: ${path} is in no known format of a kernel log: each line was taken as its words\n`,
  );
});

test('a file that cannot be read is named, the others are read all the same', async (t) => {
  const broken = file(t, 'broken.gz', gzipSync(KILL).subarray(0, 200));
  const { exit, stdout, stderr } = await run(['/nowhere/a.log', tmpdir(), broken, file(t, 'a.kmsg', KILL)]);
  assert.equal(exit, 2);
  assert.equal(JSON.parse(stdout).process.pid, 121);
  assert.deepEqual(stderr.split('\n').slice(0, 2), [
    'oom-witness: cannot read /nowhere/a.log: no such file',
    `oom-witness: cannot read ${tmpdir()}: it is a directory`,
  ]);
  assert.match(
    stderr.split('\n')[2] ?? '',
    /^oom-witness: cannot read .*broken\.gz: unexpected end of file$/,
  );
});

test('a signal ends the reading of a pipe that goes on, and what was found is told', async () => {
  const pipe = new PassThrough();
  const stop = new AbortController();
  const running = run(['-'], pipe, stop.signal);
  pipe.write(KILL, () => setImmediate(() => stop.abort()));
  const { exit, stdout } = await running;
  assert.equal(exit, 0);
  assert.equal(JSON.parse(stdout).process.pid, 121);
  assert.ok(pipe.destroyed);
});
