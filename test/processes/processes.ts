/** A process table with all that feeds it and asks it, over a /proc and a clock that the test decides. */
import type { TestContext } from 'node:test';
import { ProcFiles } from '../../src/kernel/proc-files.ts';
import { type ArgumentRedactor, Images } from '../../src/processes/images.ts';
import { ProcScan } from '../../src/processes/proc-scan.ts';
import { ProcessEvents } from '../../src/processes/process-events.ts';
import { ProcessLookup } from '../../src/processes/process-lookup.ts';
import { ProcessTable } from '../../src/processes/process-table.ts';
import { FakeProc } from '../fake-proc.ts';

export const EXITED = 0;
export const SIGKILLED = 9;

/** What the wall clock shows at 0 of the monotonic one. */
export const EPOCH = 1_000_000;

const PLAIN: ArgumentRedactor = { args: (args) => ({ args, count: 0 }) };

export function setup(t: TestContext, files?: ProcFiles, redactor = PLAIN) {
  const proc = new FakeProc(t);
  const clock = { now: 50_000 };
  return { proc, clock, ...processesOf(files ?? new ProcFiles(proc.root), () => clock.now, redactor) };
}

export function processesOf(files: ProcFiles, now: () => number, redactor = PLAIN) {
  const images = new Images(files, redactor);
  const table = new ProcessTable(files, images, now);
  const scan = new ProcScan(table, files, images, now);
  const events = new ProcessEvents(table, files, images, scan, now);
  const lookup = new ProcessLookup(table, files, images, { now, wallTime: (time) => EPOCH + time });
  return { images, table, scan, events, lookup };
}
