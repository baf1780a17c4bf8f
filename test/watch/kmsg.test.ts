import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { CaptureClock } from '../../src/capture/clock.ts';
import { type KmsgDevice, KmsgReader } from '../../src/kernel/kmsg.ts';
import { KmsgSource } from '../../src/watch/kmsg.ts';
import { captureOptions } from '../capture/capture-options.ts';

/** The source on a log that the test writes, in a loop whose turns and clock are the test's. */
class Bench {
  readonly source: KmsgSource;
  readonly counted = new Map<string, number>();
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
        cgroupOf: () => undefined,
        silenceMs: () => 0,
        untaken: () => 0,
        post: () => {},
        add: (name, n) => this.counted.set(name, (this.counted.get(name) ?? 0) + n),
      },
      (_path, observer, after) => new KmsgReader(device, observer, after),
    );
  }

  write(records: number): void {
    for (let n = 0; n < records; n++, this.#written++)
      this.#records.push(`6,${this.#written},${this.#written},-;a record\n`);
  }

  turn(): void {
    this.source.read(() => true);
    this.source.understand();
    this.source.tell();
  }
}

describe("the kernel's log", () => {
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
