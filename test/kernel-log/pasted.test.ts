import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LogReports } from '../../src/kernel-log/log-reports.ts';

/** The victims in a log that is in no known format. */
function victims(log: string, pasted: boolean): number[] {
  const found: number[] = [];
  const reports = new LogReports({
    now: () => Date.parse('2026-11-22T00:00:00Z'),
    pasted,
    report: (report) => found.push(...report.victims.map(({ pid }) => pid)),
    noVictim: () => assert.fail(),
  });
  reports.push(Buffer.from(log));
  reports.end();
  return found;
}

const KILL = 'Out of memory: Killed process 7 (x) total-vm:8kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB';

test('in a file that programs write to, no line counts as the kernel’s for its words alone', () => {
  for (const line of [KILL, `kernel: ${KILL}`, `> [    1.000000] ${KILL}`]) {
    assert.deepEqual(victims(`Started.\n${line}\n`, false), [], line);
    assert.deepEqual(victims(`Started.\n${line}\n`, true), [7], line);
  }
});

test('endless lines cost no endless time', () => {
  for (const part of ['a ', 'a', '> ', 'syslog:', ': ', 'a: ', '\u001b[', '[', '1', '\u001b[1']) {
    const start = performance.now();
    victims(`${part.repeat(100_000)}Killed process 7 (x)\n${KILL}\n`, true);
    assert.ok(performance.now() - start < 5_000, JSON.stringify(part));
  }
});
