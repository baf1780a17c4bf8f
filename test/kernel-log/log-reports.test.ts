import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';

const HEADER = 'x invoked oom-killer: gfp_mask=0x0, order=0, oom_score_adj=0';

for (const [what, first] of [
  ['lines that look like kills and are none', 'a line'],
  ['a report that never ends', HEADER],
] as const)
  test(`a log that is full of ${what} takes no memory`, () => {
    const source = import.meta.resolve('../../src/kernel-log/log-reports.ts');
    const head = 'Nov 21 03:14:15 node-7 kernel: ';
    const run = `
      const { LogReports } = await import(${JSON.stringify(source)});
      const fail = () => { throw new Error('told'); };
      const reports = new LogReports({ now: Date.now, report: fail, noVictim: fail });
      reports.push(Buffer.from(${JSON.stringify(`${head}${first}\n`)}));
      const chunk = Buffer.from(${JSON.stringify(`${head}Kill\n`)}.repeat(5_000));
      for (let i = 0; i < 50; i++) reports.push(chunk);`;
    const args = ['--disable-warning=ExperimentalWarning', '--max-old-space-size=24', '--input-type=module'];
    const { status, signal, stderr } = spawnSync(process.execPath, [...args, '--eval', run]);
    assert.deepEqual([status, signal], [0, null], String(stderr).slice(0, 1_000));
  });
