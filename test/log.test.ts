import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { describe, test } from 'node:test';
import { createLog, type LogOptions, lineWriter } from '../src/log.ts';
import { terminalBlock } from '../src/message/terminal.ts';
import { Redactor } from '../src/redact.ts';
import { containerKill, FIRST } from './incidents.ts';

process.env.TZ = 'UTC';

const NOW = Date.parse('2026-11-21T03:14:15.926Z');

function logTo(lines: string[], options: Partial<LogOptions> = {}) {
  const redactor = new Redactor();
  return createLog({
    level: 'info',
    readable: false,
    colour: false,
    write: (line) => lines.push(line),
    redact: (text) => redactor.text(text).text,
    now: () => NOW,
    ...options,
  });
}

describe('JSON, for machines', () => {
  test('one object per line, with level, time and message', () => {
    const lines: string[] = [];
    logTo(lines)('warn', 'trying again', { sink: 'kafka', wait_ms: 1200 });
    assert.deepEqual(lines, [
      '{"level":"warn","time":"2026-11-21T03:14:15.926Z","sink":"kafka","wait_ms":1200,"msg":"trying again"}\n',
    ]);
  });

  test('a field cannot pretend to be the level, the time or the message', () => {
    const lines: string[] = [];
    logTo(lines)('info', 'real', { msg: 'forged', level: 'error', time: 'never' });
    const entry = JSON.parse(lines[0]!);
    assert.equal(entry.msg, 'real');
    assert.equal(entry.level, 'info');
    assert.equal(lines[0]!.match(/"msg":/g)?.length, 1);
  });

  test('what a terminal obeys, and what ends a line for some readers, is escaped', () => {
    const lines: string[] = [];
    const reason = 'no\u009b2J\u2028{"level":"error"}';
    logTo(lines)('warn', 'trying again', { reason });
    assert.match(lines[0]!, /^[ -~]*\n$/);
    assert.equal(JSON.parse(lines[0]!).reason, reason);
  });

  test('only from the chosen level on', () => {
    const lines: string[] = [];
    const log = logTo(lines, { level: 'warn' });
    log('info', 'quiet');
    log('error', 'loud');
    assert.equal(lines.length, 1);
    logTo(lines, { level: 'silent' })('error', 'nothing');
    assert.equal(lines.length, 1);
  });

  test('secrets in messages, fields and errors are taken out', () => {
    const lines: string[] = [];
    logTo(lines)('error', 'cannot reach https://user:hunter2@host/', {
      reason: 'password=hunter2 refused',
      error: new Error('bad token=hunter2'),
    });
    assert.ok(!lines[0]?.includes('hunter2'), lines.join());
    assert.match(lines[0]!, /bad token=\*\*\*/);
  });
});

describe('text, for people', () => {
  test("the time is the machine's own, as in the incidents on the same terminal", () => {
    process.env.TZ = 'Asia/Kolkata';
    const lines: string[] = [];
    logTo(lines, { readable: true })('info', 'x');
    const block = terminalBlock(containerKill(), FIRST, { colour: false, now: NOW });
    process.env.TZ = 'UTC';
    assert.deepEqual([lines[0]?.slice(0, 10), block.slice(0, 10)], ['08:44:15  ', '08:44:15  ']);
  });

  test('time, level, message, key=value; what is not plain is quoted', () => {
    const lines: string[] = [];
    logTo(lines, { readable: true })('warn', 'trying again', { sink: 'kafka', reason: 'timed "out"', n: 3 });
    assert.deepEqual(lines, ['03:14:15  WARN   trying again sink=kafka reason="timed \\"out\\"" n=3\n']);
  });

  test('control characters cannot reach the terminal or forge a second line', () => {
    const lines: string[] = [];
    logTo(lines, { readable: true })('info', 'x\u001b[2J', { name: 'a\n03:14:15  ERROR  forged' });
    assert.deepEqual(lines, ['03:14:15  INFO   x\\x1b[2J name="a\\x0a03:14:15  ERROR  forged"\n']);
  });

  test('colour only when it is asked for', () => {
    const lines: string[] = [];
    logTo(lines, { readable: true, colour: true })('error', 'x');
    logTo(lines, { readable: true })('error', 'x');
    assert.deepEqual(lines, ['03:14:15  \u001b[31mERROR\u001b[0m  x\n', '03:14:15  ERROR  x\n']);
  });
});

describe('writing', () => {
  function refusal(code: string): Error {
    return Object.assign(new Error(code), { code });
  }

  test('what the descriptor takes in parts or only later arrives whole', () => {
    let written = '';
    let calls = 0;
    const write = lineWriter((bytes) => {
      if (++calls % 2 === 0) throw refusal('EAGAIN');
      written += Buffer.from(bytes.subarray(0, 3)).toString();
      return Math.min(3, bytes.length);
    });
    write('hello world\n');
    assert.equal(written, 'hello world\n');
  });

  test('a reader that stands still loses lines, which the next one says', () => {
    let written = '';
    let stuck = false;
    const write = lineWriter((bytes) => {
      if (stuck) throw refusal('EAGAIN');
      written += Buffer.from(bytes).toString();
      return bytes.length;
    });
    stuck = true;
    write('one\n');
    write('two\n');
    stuck = false;
    write('three\n');
    assert.equal(written, '{"level":"warn","msg":"log lines were lost","count":2}\nthree\n');
  });

  test('a reader that is gone is no reason to fail', () => {
    lineWriter(() => {
      throw refusal('EPIPE');
    })('x\n');
  });

  test('nothing is lost at exit', () => {
    const script = `
      import { writeSync } from 'node:fs';
      import { createLog, lineWriter } from './src/log.ts';
      const log = createLog({ level: 'info', readable: false, colour: false, now: Date.now, redact: (t) => t,
        write: lineWriter((bytes) => writeSync(1, bytes)) });
      for (let i = 0; i < 2000; i++) log('info', 'line', { i, filler: 'x'.repeat(100) });
      process.exit(0);`;
    const output = execFileSync(process.execPath, ['--input-type=module-typescript', '-e', script], {
      cwd: new URL('..', import.meta.url),
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const lines = output.trimEnd().split('\n');
    assert.equal(lines.length, 2000);
    assert.equal(JSON.parse(lines.at(-1)!).i, 1999);
  });
});
