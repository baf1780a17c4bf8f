import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import path from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { CaptureClock } from '../../src/capture/clock.ts';
import type { CaptureMessage, Reader } from '../../src/capture/protocol.ts';
import { DEFAULT_PATHS, readHost } from '../../src/host.ts';
import type { Sighting } from '../../src/watch/kill-source.ts';
import { LogFileSource } from '../../src/watch/log-file.ts';
import type { LogPlace, Place } from '../../src/watch/place.ts';
import { captureOptions } from '../capture/capture-options.ts';
import { fixture, records } from '../kmsg-fixture.ts';

const HOST = readHost(DEFAULT_PATHS);

/** The source in a loop whose turns and clock are the test's: no inotify, no waiting. */
class Bench {
  readonly file: string;
  readonly sightings: Sighting[] = [];
  readonly posted: CaptureMessage[] = [];
  readonly counted = new Map<string, number>();
  place: LogPlace | undefined;
  untaken = 0;
  source: LogFileSource;
  now = 1_000;
  /** How long it takes to ask for the time, ms: work takes time. */
  tick = 0;

  constructor(t: TestContext, text?: string) {
    const folder = mkdtempSync(path.join(tmpdir(), 'oom-witness-log-'));
    t.after(() => {
      this.source.close();
      rmSync(folder, { recursive: true, force: true });
    });
    this.file = path.join(folder, 'messages');
    if (text !== undefined) writeFileSync(this.file, text);
    this.source = this.#make();
  }

  append(text: string | Buffer): void {
    appendFileSync(this.file, text);
  }

  turn(): void {
    this.source.read(() => false);
    this.source.understand();
    this.#tell();
  }

  /** Turns until everything that is there has been read, without time going by. */
  read(): void {
    this.now += 1_000;
    do this.turn();
    while (this.source.dueAt <= this.now);
  }

  /** And until the silence after it is long enough. */
  settle(): void {
    this.read();
    this.now += 1_000;
    this.turn();
  }

  pids(): number[] {
    return this.sightings.flatMap(({ report }) => report.victims.map(({ pid }) => pid));
  }

  /** An orderly end: the last of what was seen is told. */
  end(): void {
    this.source.end();
    this.#tell();
    this.#keep(this.source.place);
  }

  /** Another run, from what the store kept. */
  restart(): void {
    this.source.close();
    this.sightings.length = 0;
    this.source = this.#make();
    this.open();
  }

  open(): Reader {
    return this.source.open(this.place);
  }

  #tell(): void {
    const told = this.source.tell();
    this.sightings.push(...(told?.sightings ?? []));
    this.#keep(told?.place);
  }

  #keep(place: Place | undefined): void {
    if (place !== undefined && 'offset' in place) this.place = place;
  }

  #make(): LogFileSource {
    return new LogFileSource(
      {
        options: captureOptions({ host: HOST, logFile: this.file }),
        clock: new CaptureClock(() => (this.now += this.tick), Date.now),
        cgroupOf: () => undefined,
        silenceMs: () => 0,
        untaken: () => this.untaken,
        post: (message) => this.posted.push(message),
        untold: (_where, error) => assert.fail(error as Error),
        add: (name, n) => this.counted.set(name, (this.counted.get(name) ?? 0) + n),
      },
      undefined,
    );
  }
}

const two = (value: number) => String(value).padStart(2, '0');
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

function rfc3164(at: Date): string {
  const time = [at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join(':');
  return `${MONTHS[at.getMonth()]} ${String(at.getDate()).padStart(2)} ${time}`;
}

interface Style {
  readonly at?: Date;
  readonly host?: string;
  readonly stamp?: boolean;
}

/** What a syslog daemon makes of the kernel's records. */
function syslog(name: string, { at = new Date(), host = hostname(), stamp = true }: Style = {}): string {
  return records(fixture(name).lines)
    .map(
      ({ timestampUs, text }) =>
        `${rfc3164(at)} ${host} kernel: ${stamp ? `[${(timestampUs / 1e6).toFixed(6)}] ` : ''}${text.replaceAll('\n', '#012')}\n`,
    )
    .join('');
}

const other = (from: number, count: number) =>
  Array.from(
    { length: count },
    (_, index) =>
      `${rfc3164(new Date())} ${hostname()} sshd[${from + index}]: Kill Bill, says session ${from}\n`,
  ).join('');

describe('kills in a log file', () => {
  test('those that are appended, in order, once', (t) => {
    const bench = new Bench(t, syslog('6.1/child') + other(0, 50));
    assert.deepEqual(bench.open(), { works: true });
    bench.settle();
    assert.deepEqual(bench.pids(), [], 'history is no news');
    bench.append(other(100, 10) + syslog('6.1/group') + other(200, 3_000) + syslog('7.2/child'));
    bench.settle();
    assert.deepEqual(bench.pids(), [115, 116, 117, 139]);
    bench.settle();
    assert.equal(bench.sightings.length, 2);
    assert.ok(bench.sightings.every(({ witness, missed }) => witness === 'log' && !missed));
  });

  test('a storm without any other line, its last kill after a silence', (t) => {
    const bench = new Bench(t, other(0, 1));
    bench.open();
    bench.append(syslog('6.1/storm'));
    bench.read();
    // The last record may go on in another line, and the kill before it may be of a group.
    assert.equal(bench.sightings.length, 198);
    bench.settle();
    assert.equal(new Set(bench.pids()).size, 200);
    assert.equal(new Set(bench.sightings.map(({ id }) => id)).size, 200);
  });

  test('what is read in one go is told in one go, and its part that is understood before the end of the agent', (t) => {
    const bench = new Bench(t, other(0, 1));
    bench.open();
    bench.read();
    bench.append(syslog('6.1/storm'));
    bench.tick = 1;
    bench.now += 1_000;
    for (let turn = 0; turn < 3; turn++) bench.turn();
    assert.deepEqual(bench.pids(), [], 'not all of it is understood');
    bench.end();
    const before = bench.pids();
    assert.ok(before.length > 0 && before.length < 200, `${before.length} of 200`);
    bench.restart();
    bench.settle();
    assert.deepEqual(
      [...before, ...bench.pids()],
      fixture('6.1/storm').truth.killed_by_kernel.map(({ pid }) => pid),
    );
  });

  test('a line that is written in parts', (t) => {
    const bench = new Bench(t, other(0, 1));
    bench.open();
    const text = syslog('6.1/nodump');
    for (let at = 0; at < text.length; at += 100) {
      bench.append(text.slice(at, at + 100));
      bench.settle();
    }
    assert.deepEqual(
      bench.pids(),
      fixture('6.1/nodump').truth.killed_by_kernel.map(({ pid }) => pid),
    );
  });

  test('bytes that are no UTF-8, holes and lines without end do no harm', (t) => {
    const bench = new Bench(t, other(0, 1));
    bench.open();
    bench.append(Buffer.from([0x4b, 0x69, 0x6c, 0x6c, 0xff, 0xfe, 0x80, 0x0a, 0xc3, 0x0a]));
    bench.append(syslog('6.1/child'));
    bench.append(Buffer.alloc(3 << 20));
    bench.append(syslog('6.1/nodump'));
    bench.append(`${'Kill'.repeat(1 << 20)}\n`);
    bench.append(syslog('6.1/group'));
    bench.settle();
    const truth = ['6.1/child', '6.1/nodump', '6.1/group'].flatMap((name) =>
      fixture(name).truth.killed_by_kernel.map(({ pid }) => pid),
    );
    assert.deepEqual(bench.pids(), truth);
  });

  test('a report over a rotation is one', (t) => {
    const bench = new Bench(t, other(0, 5));
    bench.open();
    const text = syslog('6.1/child');
    const half = text.indexOf('\n', text.length / 2) + 1;
    bench.append(text.slice(0, half));
    bench.settle();
    renameSync(bench.file, `${bench.file}.1`);
    writeFileSync(bench.file, text.slice(half));
    bench.settle();
    assert.equal(bench.sightings.length, 1);
    assert.equal(bench.sightings[0]?.report.oom.header_seen, true);
    assert.equal(bench.counted.get('logFileChanges'), 1);
  });

  test('the lines of other hosts are told, and nobody here is taken for their victims', (t) => {
    const bench = new Bench(t, other(0, 1));
    bench.open();
    bench.append(syslog('6.1/child', { host: 'database-3' }));
    bench.append(syslog('7.2/child', { host: `${hostname().toUpperCase()}.example.org` }));
    bench.settle();
    const [theirs, ours] = bench.sightings;
    assert.equal(theirs?.host.name, 'database-3');
    assert.equal(theirs?.host.boot_id, undefined);
    assert.match(theirs?.stranger ?? '', /another machine \(database-3\)/);
    assert.equal(ours?.host.boot_id, HOST.boot_id);
    assert.equal(ours?.stranger, undefined);
  });
});

describe('when', () => {
  const told = (t: TestContext, style: Style): Sighting => {
    const bench = new Bench(t, other(0, 1));
    bench.open();
    bench.append(syslog('6.1/nodump', style));
    bench.settle();
    return bench.sightings[0] as Sighting;
  };

  test('the time is the log’s', (t) => {
    const at = new Date(Date.now() - 60_000);
    const { wallTime, report } = told(t, { at });
    assert.equal(wallTime, Math.floor(at.getTime() / 1000) * 1000);
    assert.match(report.unknown.time ?? '', /time zone/);
  });

  test('a line from another time zone is told when it came', (t) => {
    const before = Date.now();
    const { wallTime, report } = told(t, { at: new Date(before - 2 * 3_600_000) });
    // The clock of the bench goes on by a second or two.
    assert.ok(wallTime > before - 5_000 && wallTime <= Date.now(), String(wallTime));
    assert.match(report.unknown.time ?? '', /fits the arrival/);
  });

  test('a kill before the machine was started is nobody’s that lives now', (t) => {
    const bench = new Bench(t, other(0, 1));
    bench.open();
    bench.settle();
    bench.append(syslog('6.1/nodump', { at: new Date(Date.now() - 40 * 86_400_000) }));
    bench.restart();
    bench.settle();
    assert.equal(bench.sightings[0]?.missed, true);
    assert.match(bench.sightings[0]?.stranger ?? '', /before this machine was started/);
  });
});

describe('a restart', () => {
  test('what came meanwhile is missed, what was told is not told again', (t) => {
    const bench = new Bench(t, other(0, 1));
    bench.open();
    bench.append(syslog('6.1/child'));
    bench.settle();
    assert.equal(bench.sightings.length, 1);
    bench.append(syslog('6.1/group'));
    bench.restart();
    bench.append(other(0, 1));
    bench.settle();
    assert.deepEqual(bench.pids(), [115, 116, 117]);
    assert.equal(bench.sightings[0]?.missed, true);
    bench.append(syslog('7.2/child'));
    bench.settle();
    assert.equal(bench.sightings[1]?.missed, false);
  });

  test('wherever it comes, each kill has one id and none is lost', (t) => {
    const text = syslog('6.1/burst12') + other(0, 20) + syslog('6.1/group');
    const whole = new Bench(t, other(0, 1));
    whole.open();
    whole.append(text);
    whole.settle();
    const ids = whole.sightings.map(({ id }) => id);
    assert.equal(ids.length, new Set(ids).size);
    for (let cut = 0; cut < text.length; cut += 997) {
      const bench = new Bench(t, other(0, 1));
      bench.open();
      bench.append(text.slice(0, cut));
      bench.read();
      const before = bench.sightings.map(({ id }) => id);
      bench.restart();
      bench.append(text.slice(cut));
      bench.settle();
      const seen = new Set([...before, ...bench.sightings.map(({ id }) => id)]);
      assert.deepEqual([...seen].sort(), ids.toSorted(), `cut at ${cut}`);
    }
  });
});

describe('trouble', () => {
  test('a file that is not there is waited for; its absence is told after a while, its return at once', (t) => {
    const bench = new Bench(t);
    const { works, waits, problem } = bench.open();
    assert.deepEqual([works, waits], [false, true]);
    assert.match(problem ?? '', /^--log-file .*messages: not there\. Name/);
    bench.append(syslog('6.1/child'));
    bench.settle();
    assert.deepEqual(bench.posted.at(-1), { type: 'kernel-log', reader: { works: true } });
    assert.equal(bench.sightings.length, 1);
    rmSync(bench.file);
    bench.posted.length = 0;
    bench.read();
    assert.deepEqual(bench.posted, []);
    for (let second = 0; second < 6; second++) bench.read();
    assert.partialDeepStrictEqual(bench.posted, [{ type: 'kernel-log', reader: { works: false } }]);
    assert.equal(bench.posted.length, 1, 'once');
  });

  test('a folder that is not there is no file to wait for', (t) => {
    const bench = new Bench(t);
    rmSync(path.dirname(bench.file), { recursive: true });
    assert.partialDeepStrictEqual(bench.open(), { works: false });
    assert.equal(bench.open().waits, undefined);
  });

  test('lines that were lost by a truncation are counted and told', (t) => {
    const bench = new Bench(t, other(0, 100));
    bench.open();
    bench.read();
    truncateSync(bench.file);
    bench.append(other(100, 1));
    bench.read();
    assert.equal(bench.counted.get('logFileGaps'), 1);
    assert.partialDeepStrictEqual(bench.posted, [{ type: 'log-changed' }, { type: 'log-gap' }]);
  });

  test('it does not run away from who takes its incidents', (t) => {
    const bench = new Bench(t, other(0, 1));
    bench.open();
    bench.read();
    bench.untaken = 500;
    bench.append(syslog('6.1/child'));
    bench.now += 1_000;
    for (let turn = 0; turn < 10; turn++) bench.turn();
    assert.equal(bench.counted.get('logFileBytes'), undefined);
    bench.untaken = 0;
    bench.settle();
    assert.equal(bench.sightings.length, 1);
  });
});
