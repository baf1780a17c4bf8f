/** The log file that the agent tails grows by 200 MB at once: time, CPU and memory, beside oom_messages_exporter's. */
import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fixture, records } from '../test/kmsg-fixture.ts';
import { BenchAgent } from './agent.ts';
import { percentile, printTable } from './table.ts';

const MB = 1e6;
const BYTES = 200 * MB;
const LINES_PER_KILL = 5_000;
const IDLE_MS = 20_000;
const PATIENCE_MS = 300_000;
const LONE_KILLS = 20;
const FIRST_PID = 1_000_000;

const HOST = hostname();
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

interface Load {
  readonly title: string;
  /** Measured on another run of the same machine (2 vCPU). */
  readonly peer: { readonly seconds: number; readonly cpuSeconds: number; readonly rss: number };
  /** One block of log with the kill of this process in it. */
  block(pid: number): string;
}

const LOADS: readonly Load[] = [
  {
    title: 'ordinary lines, a kill every 5,000',
    peer: { seconds: 16.4, cpuSeconds: 4.3, rss: 315 },
    block: (pid) => {
      const ordinary = `${prefix()} nginx[812]: 10.1.2.3 - - "GET /api/v1/items?page=7 HTTP/1.1" 200 5123 "-" "curl/7.88.1" 0.004 0.003 upstream\n`;
      return ordinary.repeat(LINES_PER_KILL) + kernel(pid / 10, killLine(pid));
    },
  },
  {
    title: "OOM killer's dumps, nothing else",
    peer: { seconds: 48.2, cpuSeconds: 11.8, rss: 371 },
    block: (pid) => {
      const dump = records(fixture('7.2/child').lines);
      const start = dump[0]?.timestampUs ?? 0;
      return dump
        .map(({ timestampUs, text }) =>
          kernel(pid + (timestampUs - start) / 1e6, text.replaceAll(/\b139\b/g, String(pid))),
        )
        .join('');
    },
  },
];

function prefix(): string {
  const at = new Date();
  const time = [at.getHours(), at.getMinutes(), at.getSeconds()].map((part) => String(part).padStart(2, '0'));
  return `${MONTHS[at.getMonth()]} ${String(at.getDate()).padStart(2)} ${time.join(':')} ${HOST}`;
}

const kernel = (seconds: number, text: string) =>
  `${prefix()} kernel: [${seconds.toFixed(6).padStart(12)}] ${text}\n`;

const killLine = (pid: number) =>
  `Memory cgroup out of memory: Killed process ${pid} (java) total-vm:17404kB, anon-rss:16256kB, file-rss:716kB, shmem-rss:0kB, UID:0 pgtables:68kB oom_score_adj:0`;

async function measure({ block }: Load) {
  const folder = mkdtempSync(path.join(tmpdir(), 'oom-witness-bench-'));
  const file = path.join(folder, 'messages');
  writeFileSync(file, `${prefix()} systemd[1]: Started.\n`);
  const { agent } = await BenchAgent.start({ args: ['--log-file', file] });
  try {
    await sleep(1_000);
    const idleBefore = agent.cpuMs();
    await sleep(IDLE_MS);
    const idleMs = agent.cpuMs() - idleBefore;
    const delays: number[] = [];
    for (let pid = 1; pid <= LONE_KILLS; pid++) {
      const at = process.hrtime.bigint();
      appendFileSync(file, kernel(pid, killLine(pid)));
      while (agent.told.length < pid) await sleep(5);
      delays.push(Number((agent.told[pid - 1]?.at ?? at) - at) / 1e6);
    }
    agent.told.length = 0;
    const before = agent.memory().rss;
    const cpuBefore = agent.cpuMs();
    const start = performance.now();
    let kills = 0;
    for (let bytes = 0; bytes < BYTES; kills++) {
      const text = block(FIRST_PID + kills);
      appendFileSync(file, text);
      bytes += text.length;
    }
    const writtenMs = performance.now() - start;
    while (agent.told.length < kills && performance.now() - start < PATIENCE_MS) await sleep(50);
    const toldMs = performance.now() - start;
    const cpuMs = agent.cpuMs() - cpuBefore;
    const peak =
      Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${agent.pid}/status`, 'utf8'))?.[1]) / 1024;
    return {
      size: statSync(file).size,
      kills,
      told: new Set(agent.told.map(({ incident }) => incident.process.pid)).size,
      idleMs,
      delay: percentile(delays, 0.5),
      writtenMs,
      toldMs,
      cpuMs,
      before,
      peak,
      after: agent.memory().rss,
    };
  } finally {
    await agent.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

for (const load of LOADS) {
  process.stderr.write(`log file: 200 MB of ${load.title} ...\n`);
  const seen = await measure(load);
  const seconds = (ms: number) => (ms / 1000).toFixed(1);
  printTable(
    `Log file: ${(seen.size / MB).toFixed(0)} MB of ${load.title}`,
    ['', 'oom-witness', 'oom_messages_exporter'],
    [
      ['kills in it', seen.kills, ''],
      ['kills told, each with its report', seen.told, 'the last one of a name'],
      [
        `until the last one is told, s (${seconds(seen.writtenMs)} of it writing)`,
        seconds(seen.toldMs),
        load.peer.seconds,
      ],
      ['CPU, s', seconds(seen.cpuMs), load.peer.cpuSeconds],
      ['RSS before, MB', seen.before.toFixed(0), 25],
      ['RSS at its highest, MB', seen.peak.toFixed(0), load.peer.rss],
      ['RSS after, MB', seen.after.toFixed(0), load.peer.rss],
      ['from line to told, alone, median, ms', seen.delay.toFixed(0), 'up to 1000'],
      [`CPU idle, ms in ${IDLE_MS / 1000} s`, seen.idleMs, 'under 10'],
    ],
  );
}
