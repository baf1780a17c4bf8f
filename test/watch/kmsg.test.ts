import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { CaptureClock } from '../../src/capture/clock.ts';
import { type KmsgDevice, KmsgReader } from '../../src/kernel/kmsg.ts';
import type { Sighting } from '../../src/watch/kill-source.ts';
import { KmsgSource } from '../../src/watch/kmsg.ts';
import { captureOptions } from '../capture/capture-options.ts';

/** The source on a log that the test writes, in a loop whose turns and clock are the test's. */
class Bench {
  readonly source: KmsgSource;
  readonly counted = new Map<string, number>();
  readonly untold: string[] = [];
  readonly told: Sighting[] = [];
  cgroupOf = (): string | undefined => undefined;
  now = 1_000;
  readonly #records: string[] = [];
  #written = 0;

  constructor() {
    const device: KmsgDevice = {
      fd: 42,
      read: (buffer) => {
        const record = this.#records.shift();
        if (record === undefined) throw Object.assign(new Error('EAGAIN: read'), { code: 'EAGAIN' });
        return buffer.write(record);
      },
      close: () => {},
    };
    this.source = new KmsgSource(
      {
        options: captureOptions({}),
        clock: new CaptureClock(() => this.now, Date.now),
        cgroupOf: () => this.cgroupOf(),
        silenceMs: () => 0,
        untaken: () => 0,
        post: () => {},
        untold: (where) => this.untold.push(where),
        add: (name, n) => this.counted.set(name, (this.counted.get(name) ?? 0) + n),
      },
      (_path, observer, after) => new KmsgReader(device, observer, after),
    );
  }

  write(records: number): void {
    for (let n = 0; n < records; n++, this.#written++)
      this.#records.push(`6,${this.#written},${this.#written},-;a record\n`);
  }

  /** In the kernel's own words. */
  say(text: string): void {
    this.#records.push(`6,${this.#written},${this.#written},-;${text}\n`);
    this.#written++;
  }

  turn(): void {
    this.source.read(() => true);
    this.source.understand();
    this.told.push(...(this.source.tell()?.sightings ?? []));
  }
}

describe("the kernel's log", () => {
  it('has a record that by a mistake of ours cannot be understood: that is said, and those after it are understood', () => {
    const bench = new Bench();
    bench.source.open(undefined);
    bench.cgroupOf = () => {
      throw new Error('a mistake');
    };
    const sizes =
      'total-vm:1kB, anon-rss:1kB, file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:1kB oom_score_adj:0';
    bench.say(`Memory cgroup out of memory: Killed process 7 (java) ${sizes}`);
    bench.say('Tasks in /a are going to be killed due to memory.oom.group set');
    bench.say(`Memory cgroup out of memory: Killed process 8 (java) ${sizes}`);
    bench.say(`Out of memory: Killed process 9 (java) ${sizes}`);
    bench.turn();
    bench.turn();
    assert.deepEqual(bench.untold, ['record 2']);
    assert.deepEqual(
      bench.told.flatMap(({ report }) => report.victims.map(({ pid }) => pid)),
      [7, 9],
    );
    assert.deepEqual(bench.source.place, { sequence: 3 });
  });

  it('is read on at once as long as there is more: without poll(2) nobody else says so', () => {
    const bench = new Bench();
    assert.deepEqual(bench.source.open(undefined), { works: true });
    bench.write(1_050);
    do bench.turn();
    while (bench.source.dueAt <= bench.now);
    assert.equal(bench.counted.get('kmsgRecords'), 1_050);
    assert.equal(bench.source.dueAt, Number.POSITIVE_INFINITY);
  });

  it('is read ahead without being understood: what was sent before may not have arrived', () => {
    const bench = new Bench();
    bench.source.open(undefined);
    const understood = () => bench.counted.get('kmsgRecords') ?? 0;
    bench.write(10);
    bench.source.read(() => true);
    bench.write(150);
    bench.source.readAhead(() => true);
    bench.source.readAhead(() => true);
    assert.deepEqual([understood(), bench.source.place], [0, undefined]);
    bench.source.understand();
    assert.deepEqual([understood(), bench.source.place], [10, { sequence: 9 }]);
    assert.deepEqual(bench.source.tell()?.place, { sequence: 9 });
    assert.equal(bench.source.dueAt, 0);
    bench.turn();
    assert.deepEqual([understood(), bench.source.place], [160, { sequence: 159 }]);
    assert.equal(bench.source.dueAt, Number.POSITIVE_INFINITY);
  });
});
