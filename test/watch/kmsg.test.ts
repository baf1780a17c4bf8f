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
    for (let index = 0; index < records; index++) this.#records.push(`6,${index},${index},-;a record\n`);
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
});
