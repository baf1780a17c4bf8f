import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { CaptureClock } from '../../src/capture/clock.ts';

const MINUTE = 60_000;

/** A clock whose two sources stand still until the test moves them; ms. */
function clockAt(monotonic: number, wall = 1_700_000_000_000) {
  const time = { monotonic, wall };
  const clock = new CaptureClock(
    () => time.monotonic,
    () => time.wall,
  );
  return { time, clock };
}

describe('wall time', () => {
  it('is as far from now as the monotonic time is', () => {
    const { time, clock } = clockAt(5_000);
    assert.equal(clock.now(), 5_000);
    assert.equal(clock.wallTime(5_000), time.wall);
    assert.equal(clock.wallTime(4_000), time.wall - 1_000);
    assert.equal(clock.wallTime(6_000), time.wall + 1_000);
  });

  it('follows a wall clock that was set', () => {
    const { time, clock } = clockAt(5_000);
    time.wall -= 3_600_000;
    assert.equal(clock.wallTime(4_000), 1_700_000_000_000 - 3_601_000);
  });
});

describe('the kernel log’s clock', () => {
  it('is taken for CLOCK_MONOTONIC until a live record was seen', () => {
    assert.equal(clockAt(5_000).clock.ofKernel(2_000_500), 2_000.5);
  });

  it('is as far off as the first live record says', () => {
    const { clock } = clockAt(10_000);
    clock.observe(7_000_000);
    assert.equal(clock.ofKernel(7_000_000), 10_000);
    assert.equal(clock.ofKernel(6_999_500), 9_999.5);
  });

  it('may be ahead, too', () => {
    const { clock } = clockAt(7_000);
    clock.observe(10_000_000);
    assert.equal(clock.ofKernel(9_000_000), 6_000);
  });

  it('is known best by the record that was read soonest', () => {
    const { time, clock } = clockAt(10_000);
    clock.observe(9_950_000);
    assert.equal(clock.ofKernel(0), 50);
    time.monotonic += 100;
    clock.observe(10_098_000);
    assert.equal(clock.ofKernel(0), 2);
  });

  it('is hardly moved by a record that was read late: 1 ms a minute at most', () => {
    const { time, clock } = clockAt(10_000);
    clock.observe(10_000_000);
    time.monotonic += MINUTE;
    clock.observe((time.monotonic - 500) * 1_000);
    assert.equal(clock.ofKernel(0), 1);
    // The minute counts once, however many late records come.
    clock.observe((time.monotonic - 500) * 1_000);
    assert.equal(clock.ofKernel(0), 1);
  });

  it('is followed where it drifts by 10 ppm, up or down', () => {
    for (const drift of [10e-6, -10e-6]) {
      const { time, clock } = clockAt(0);
      const kernelMs = () => time.monotonic * (1 - drift);
      for (let minute = 0; minute <= 1_440; minute++) {
        time.monotonic = minute * MINUTE;
        clock.observe(kernelMs() * 1_000);
      }
      const error = clock.ofKernel(kernelMs() * 1_000) - time.monotonic;
      assert.ok(Math.abs(error) < 0.01, `${drift}: off by ${error} ms after a day`);
    }
  });
});
