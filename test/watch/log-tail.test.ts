import assert from 'node:assert/strict';
import {
  appendFileSync,
  closeSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  renameSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { CHUNK_BYTES, LogTail } from '../../src/watch/log-tail.ts';
import { type LogPlace, parseLogPlace } from '../../src/watch/place.ts';

/** A log in a folder of its own, and a tail of it that is driven look by look. */
class Bench {
  readonly file: string;
  readonly changes: string[] = [];
  readonly gaps: string[] = [];
  tail: LogTail;

  constructor(t: TestContext, text?: string) {
    const folder = mkdtempSync(path.join(tmpdir(), 'oom-witness-log-'));
    t.after(() => {
      this.tail.close();
      rmSync(folder, { recursive: true, force: true });
    });
    this.file = path.join(folder, 'messages');
    if (text !== undefined) writeFileSync(this.file, text);
    this.tail = this.#make();
  }

  beside(name: string): string {
    return path.join(path.dirname(this.file), name);
  }

  append(text: string | Buffer, file = this.file): void {
    appendFileSync(file, text);
  }

  /** Everything that there is now. */
  read(): string {
    const chunks: Buffer[] = [];
    for (let chunk = this.tail.read(); chunk !== undefined; chunk = this.tail.read()) {
      assert.ok(chunk.length > 0 && chunk.length <= CHUNK_BYTES);
      chunks.push(Buffer.from(chunk));
    }
    return Buffer.concat(chunks).toString('latin1');
  }

  /** As another run of the agent would begin: with what the store kept. */
  restart(place = this.tail.place(this.tail.streamed)): void {
    this.tail.close();
    this.tail = this.#make();
    this.tail.open(place && parseLogPlace(JSON.stringify(place)));
  }

  #make(): LogTail {
    return new LogTail(this.file, {
      changed: (how) => this.changes.push(how),
      gap: (reason) => this.gaps.push(reason),
    });
  }
}

/** Lines as long as real ones, each of them another. */
const lines = (from: number, to: number) =>
  Array.from(
    { length: to - from },
    (_, index) => `Nov 21 03:14:15 node-7 kernel: [${from + index}.000000] ${'x'.repeat(60)}\n`,
  ).join('');

describe('the first start', () => {
  test('begins at the end, and knows what stands before it', (t) => {
    const bench = new Bench(t, lines(0, 10));
    assert.equal(bench.tail.open().toString(), lines(0, 10));
    assert.equal(bench.read(), '');
    bench.append(lines(10, 12));
    assert.equal(bench.read(), lines(10, 12));
  });

  test('a file that comes later is read from its start', (t) => {
    const bench = new Bench(t);
    assert.equal(bench.tail.open().length, 0);
    assert.match(bench.tail.problem ?? '', /messages: not there\. Name the file/);
    assert.equal(bench.tail.isAwaited, true);
    assert.equal(bench.read(), '');
    bench.append(lines(0, 3));
    assert.equal(bench.read(), lines(0, 3));
    assert.equal(bench.tail.problem, undefined);
    assert.deepEqual(bench.changes, ['made anew']);
  });

  test('what is no regular file is not opened, and that is said', (t) => {
    const bench = new Bench(t);
    mkdirSync(bench.file);
    bench.tail.open();
    assert.match(bench.tail.problem ?? '', /is no regular file\./);
    assert.equal(bench.tail.isAwaited, false);
    rmdirSync(bench.file);
    bench.append(lines(0, 1));
    assert.equal(bench.read(), lines(0, 1));
  });
});

describe('rotation', () => {
  test('rename and create: the old one is read to its end, then the new one', (t) => {
    const bench = new Bench(t, lines(0, 5));
    bench.tail.open();
    bench.append(lines(5, 6));
    renameSync(bench.file, bench.beside('messages.1'));
    bench.append(lines(6, 7), bench.beside('messages.1'));
    writeFileSync(bench.file, lines(7, 8));
    assert.equal(bench.read(), lines(5, 8));
    assert.deepEqual(bench.changes, ['renamed']);
    assert.deepEqual(bench.gaps, []);
  });

  test('the writer has the old file open until it is told: it is left only when the new one has something', (t) => {
    const bench = new Bench(t, lines(0, 5));
    bench.tail.open();
    renameSync(bench.file, bench.beside('messages.1'));
    writeFileSync(bench.file, '');
    assert.equal(bench.read(), '');
    bench.append(lines(5, 6), bench.beside('messages.1'));
    assert.equal(bench.read(), lines(5, 6));
    bench.append(lines(6, 7), bench.beside('messages.1'));
    bench.append(lines(7, 8));
    assert.equal(bench.read(), lines(6, 8));
  });

  test('three times between two looks: each file in its turn, and no file that only looks like one', (t) => {
    const bench = new Bench(t, lines(0, 5));
    bench.tail.open();
    bench.append(lines(5, 6));
    renameSync(bench.file, bench.beside('messages.3'));
    for (const [name, from, age] of [
      ['messages.4', 90, 400],
      ['messages.3', 5, 300],
      ['messages.2', 6, 200],
      ['messages.1', 7, 100],
      ['messages-of-others', 91, 50],
      ['messages.1.gz', 92, 50],
    ] as const) {
      if (from !== 5) writeFileSync(bench.beside(name), lines(from, from + 1));
      const time = new Date(Date.now() - age * 1000);
      utimesSync(bench.beside(name), time, time);
    }
    writeFileSync(bench.file, lines(8, 9));
    assert.equal(bench.read(), lines(5, 9));
    assert.deepEqual(bench.gaps, []);
  });

  test('a line that the old file did not end, ends with it', (t) => {
    const bench = new Bench(t, '');
    bench.tail.open();
    bench.append('torn');
    renameSync(bench.file, bench.beside('messages.1'));
    writeFileSync(bench.file, lines(0, 1));
    assert.equal(bench.read(), `torn\n${lines(0, 1)}`);
    assert.equal(bench.tail.streamed, `torn\n${lines(0, 1)}`.length);
    const place = bench.tail.place('torn\n'.length);
    assert.equal(place?.offset, 0, 'of the new file');
  });

  test('copytruncate: what was written before the copy and not read is read from the copy', (t) => {
    const bench = new Bench(t, lines(0, 20));
    bench.tail.open();
    bench.append(lines(20, 21));
    assert.equal(bench.read(), lines(20, 21));
    bench.append(lines(21, 23));
    copyFileSync(bench.file, bench.beside('messages-20261121'));
    truncateSync(bench.file);
    bench.append(lines(23, 24));
    assert.equal(bench.read(), lines(21, 24));
    assert.deepEqual(bench.changes, ['truncated']);
    assert.deepEqual(bench.gaps, []);
  });

  test('copytruncate within a line: it goes on in the copy', (t) => {
    const bench = new Bench(t, lines(0, 20));
    bench.tail.open();
    bench.append('one line in ');
    assert.equal(bench.read(), 'one line in ');
    bench.append('two parts\n');
    copyFileSync(bench.file, bench.beside('messages.1'));
    truncateSync(bench.file);
    bench.append(lines(23, 24));
    assert.equal(bench.read(), `two parts\n${lines(23, 24)}`);
  });

  test('truncated and grown past the old place between two looks: noticed', (t) => {
    const bench = new Bench(t, lines(0, 20));
    bench.tail.open();
    bench.append(lines(20, 21));
    assert.equal(bench.read(), lines(20, 21));
    truncateSync(bench.file);
    bench.append(lines(100, 150));
    assert.equal(bench.read(), lines(100, 150));
    assert.deepEqual(bench.changes, ['truncated']);
    assert.match(bench.gaps.join(), /in no file beside it/);
  });

  test('truncated to the very length that it had: noticed', (t) => {
    const bench = new Bench(t, lines(10, 30));
    bench.tail.open();
    truncateSync(bench.file);
    bench.append(lines(40, 60));
    assert.equal(bench.read(), lines(40, 60));
  });

  test('truncated to nothing: read from its start when something comes', (t) => {
    const bench = new Bench(t, lines(0, 20));
    bench.tail.open();
    truncateSync(bench.file);
    assert.equal(bench.read(), '');
    assert.equal(bench.read(), '');
    bench.append(lines(20, 21));
    assert.equal(bench.read(), lines(20, 21));
    assert.deepEqual(bench.changes, ['truncated'], 'once');
  });

  test('a writer that goes on at its old place leaves a hole of zero bytes: what follows it is a line', (t) => {
    const bench = new Bench(t, '');
    const writer = openSync(bench.file, 'w');
    t.after(() => closeSync(writer));
    bench.tail.open();
    writeSync(writer, lines(0, 20_000));
    assert.equal(bench.read(), lines(0, 20_000));
    truncateSync(bench.file);
    writeSync(writer, lines(20_000, 20_001));
    const [last, hole] = bench.read().split('\n').toReversed().filter(Boolean);
    assert.equal(`${last}\n`, lines(20_000, 20_001));
    assert.match(hole ?? '', /^\0+$/);
  });

  test('removed for a while: the old one is read to its end, then the one that is made anew', (t) => {
    const bench = new Bench(t, lines(0, 5));
    bench.tail.open();
    bench.append(lines(5, 6));
    rmSync(bench.file);
    assert.equal(bench.read(), lines(5, 6));
    assert.match(bench.tail.problem ?? '', /not there/);
    assert.equal(bench.read(), '');
    writeFileSync(bench.file, lines(6, 7));
    assert.equal(bench.read(), lines(6, 7));
    assert.equal(bench.tail.problem, undefined);
  });
});

describe('a restart', () => {
  test('goes on where the earlier run stopped', (t) => {
    const bench = new Bench(t, lines(0, 5));
    bench.tail.open();
    bench.append(lines(5, 7));
    bench.read();
    bench.append(lines(7, 8));
    bench.restart();
    assert.equal(bench.read(), lines(7, 8));
    assert.deepEqual(bench.gaps, []);
  });

  test('goes back to what was not complete', (t) => {
    const bench = new Bench(t, lines(0, 5));
    bench.tail.open();
    bench.append(lines(5, 7));
    bench.read();
    bench.restart(bench.tail.place(lines(5, 6).length));
    assert.equal(bench.read(), lines(6, 7));
  });

  test('and to the end of a file that was renamed meanwhile', (t) => {
    const bench = new Bench(t, lines(0, 5));
    bench.tail.open();
    bench.append(lines(5, 7));
    bench.read();
    renameSync(bench.file, bench.beside('messages.1'));
    writeFileSync(bench.file, lines(7, 8));
    assert.equal(bench.read(), lines(7, 8));
    bench.restart(bench.tail.place(lines(5, 6).length));
    assert.equal(bench.read(), lines(6, 8));
    assert.deepEqual(bench.gaps, []);
  });

  for (const [name, rotate] of [
    ['renamed', (from: string, to: string) => renameSync(from, to)],
    [
      'copied and truncated',
      (from: string, to: string) => {
        copyFileSync(from, to);
        truncateSync(from);
      },
    ],
  ] as const)
    test(`${name} while nobody looked: nothing is lost`, (t) => {
      const bench = new Bench(t, lines(0, 5));
      bench.tail.open();
      bench.append(lines(5, 6));
      bench.read();
      const place = bench.tail.place(bench.tail.streamed);
      bench.append(lines(6, 7));
      rotate(bench.file, bench.beside('messages-20261121'));
      bench.append(lines(7, 90));
      bench.restart(place);
      assert.equal(bench.read(), lines(6, 90));
      assert.deepEqual(bench.gaps, []);
    });

  test('an empty file is known by its inode', (t) => {
    const bench = new Bench(t, '');
    bench.tail.open();
    const place = bench.tail.place(0);
    bench.append(lines(0, 1));
    renameSync(bench.file, bench.beside('messages.1'));
    writeFileSync(bench.file, lines(1, 2));
    bench.restart(place);
    assert.equal(bench.read(), lines(0, 2));
  });

  test('a file with the same inode and other bytes is another file', (t) => {
    const bench = new Bench(t, lines(0, 20));
    bench.tail.open();
    const place = bench.tail.place(0) as LogPlace;
    truncateSync(bench.file);
    bench.append(lines(50, 80));
    bench.restart(place);
    assert.equal(bench.read(), lines(50, 80));
    assert.match(bench.gaps.join(), /not there any more/);
  });

  test('a file beside it that cannot be looked at is passed over', (t) => {
    const bench = new Bench(t, lines(0, 50));
    symlinkSync('messages.loop', bench.beside('messages.loop'));
    bench.tail.open();
    renameSync(bench.file, bench.beside('messages.1'));
    writeFileSync(bench.file, '');
    bench.restart();
    bench.append(lines(50, 60), bench.beside('messages.1'));
    bench.append(lines(60, 70));
    assert.equal(bench.read(), lines(50, 70));
    assert.deepEqual(bench.gaps, []);
  });

  test('what is stored holds nothing of the log', (t) => {
    const bench = new Bench(t, 'password=hunter2\n');
    bench.tail.open();
    assert.doesNotMatch(JSON.stringify(bench.tail.place(0)), /hunter2/);
  });

  test('a stored place that makes no sense is none', () => {
    const place: LogPlace = { inode: 7, offset: 10, end: 20, fingerprint: 'f' };
    assert.deepEqual(parseLogPlace(JSON.stringify(place)), place);
    // Some network file systems number files with all 64 bits.
    const large = { ...place, inode: 2 ** 63 + 4096 };
    assert.deepEqual(parseLogPlace(JSON.stringify(large)), large);
    for (const wrong of [
      '',
      'null',
      '[]',
      JSON.stringify({ ...place, inode: '7' }),
      JSON.stringify({ ...place, offset: 21 }),
      JSON.stringify({ ...place, offset: -1 }),
      JSON.stringify({ ...place, end: 1.5 }),
      JSON.stringify({ ...place, fingerprint: 7 }),
    ])
      assert.equal(parseLogPlace(wrong), undefined, wrong);
  });
});
