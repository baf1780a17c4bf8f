import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable, Writable } from 'node:stream';
import { type TestContext, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { runAnalyze } from '../../src/analyze/run.ts';
import { fixture } from '../kmsg-fixture.ts';
import { assertValidIncident } from '../validate-incident.ts';

const KILL = `${fixture('6.1/child').lines.join('\n')}\n`;

class Sink extends Writable {
  text = '';
  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk;
    done();
  }
}

async function run(files: readonly string[], stdin: Readable = Readable.from([]), signal?: AbortSignal) {
  const stdout = new Sink();
  const stderr = new Sink();
  const exit = await runAnalyze(files, {
    stdin: () => stdin,
    stdout,
    stderr,
    now: () => 0,
    ...(signal && { signal }),
  });
  return { exit, stdout: stdout.text, stderr: stderr.text };
}

function file(t: TestContext, name: string, content: string | Buffer): string {
  const folder = mkdtempSync(join(tmpdir(), 'analyze-'));
  t.after(() => rmSync(folder, { recursive: true }));
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

test('- is standard input', async () => {
  const { exit, stdout } = await run(['-'], Readable.from([Buffer.from(KILL)]));
  assert.equal(exit, 0);
  assert.equal(JSON.parse(stdout).process.pid, 121);
});

test('gzip is unpacked', async (t) => {
  const { stdout } = await run([file(t, 'a.gz', gzipSync(KILL))]);
  assert.equal(JSON.parse(stdout).process.pid, 121);
});

test('no kill is no error: one line says how much was read', async (t) => {
  const log = 'Nov 21 03:14:15 node-7 kernel: usb 1-1: new device\n'.repeat(7);
  assert.deepEqual(await run([file(t, 'syslog', log)]), {
    exit: 0,
    stdout: '',
    stderr: 'oom-witness: 7 lines read, no OOM kill found\n',
  });
});

test('nor is a log of something else, but it is said', async (t) => {
  const path = file(t, 'access.log', 'GET / 200\nGET /x 404\n');
  assert.deepEqual(await run([path]), {
    exit: 0,
    stdout: '',
    stderr: `oom-witness: 2 lines read, no OOM kill found; ${path} is in no known format of a kernel log\n`,
  });
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
