import { DEFAULT_PATHS } from '../../src/host.ts';
import { KmsgReader } from '../../src/kernel/kmsg.ts';
import { until } from '../sinks/contract.ts';

/** The kernel prints at most 10 headers in 5 s (oom_rs in mm/oom_kill.c), on the whole machine. */
const WINDOW_MS = 5_000;
const FEW = 5;
const PATIENCE_MS = 120_000;
const RECORDS = 1_000;

/** Waits until nobody's kills keep the kernel from printing limit, usage and candidates of the next one. */
export async function untilHeaderIsAllowed(): Promise<void> {
  const kmsg = KmsgReader.open(DEFAULT_PATHS.kmsg, { overrun() {}, lost() {} });
  let kills: number[] = [];
  const isAllowed = () => {
    let read: 'empty' | 'more';
    do
      read = kmsg.drain(({ text, timestampUs }) => {
        if (text.includes('Killed process')) kills.push(timestampUs / 1000);
      }, RECORDS);
    while (read === 'more');
    const now = Number(process.hrtime.bigint()) / 1e6;
    kills = kills.filter((time) => now - time < WINDOW_MS);
    return kills.length <= FEW;
  };
  try {
    await until(isAllowed, 'an end of the kills on this machine', PATIENCE_MS);
  } finally {
    kmsg.close();
  }
}
