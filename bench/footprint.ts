/** Memory, CPU and start of the agent as it ships, without a network sink. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { launch, makeCgroup, victimProgram } from '../test/kills/kills.ts';
import { BenchAgent, type Memory, memory } from './agent.ts';
import { compile } from './compile.ts';
import { percentile, printTable } from './table.ts';

const IDLE_MS = 60_000;
/** The agent looks once a minute whether there is memory to give back. */
const STORM_REST_MS = 65_000;
const STARTS = 10;
/** What no agent with a capture thread can do without. */
const BARE = `
  new (require('node:worker_threads').Worker)('setInterval(() => {}, 1e6)', { eval: true })
    .on('online', () => console.log());
  setInterval(() => {}, 1e6);
`;
const EXECS_PER_SECOND = 1_000;
const EXEC_SECONDS = 10;

export async function benchFootprint(): Promise<void> {
  process.stderr.write('footprint: start, 60 s idle, storm ...\n');
  const starts: number[] = [];
  const bareStarts: number[] = [];
  for (let run = 0; run < STARTS; run++) {
    const bare = await startBare();
    bareStarts.push(bare.ms);
    bare.end();
    const { agent, armedMs } = await BenchAgent.start({ stdout: 'off' });
    starts.push(armedMs);
    await agent.stop();
  }
  const { agent } = await BenchAgent.start({ stdout: 'off', args: ['--listen', '127.0.0.1:0'] });
  const bare = await startBare();
  await sleep(IDLE_MS);
  const idle = agent.memory();
  const least = bare.memory();
  bare.end();
  const before = agent.cpuMs();
  await sleep(IDLE_MS);
  const idleShare = (agent.cpuMs() - before) / IDLE_MS;
  const group = makeCgroup(16 << 20);
  await launch(group, { count: 1_000, parallel: 8, liveMs: 20 });
  group.remove();
  await sleep(STORM_REST_MS);
  const after = agent.memory();
  await agent.stop();
  const bareStart = percentile(bareStarts, 0.5);
  const row = (what: string, ours: number, bare: number, target = '') => [
    what,
    ours.toFixed(1),
    bare.toFixed(1),
    (ours / bare).toFixed(2),
    target,
  ];
  printTable(
    'Footprint, beside a Node.js that has one thread and does nothing',
    ['', 'oom-witness', 'bare', 'ratio', 'target'],
    [
      row('start to armed, median of 10, ms', percentile(starts, 0.5), bareStart, '100'),
      row('start to armed, slowest, ms', Math.max(...starts), Math.max(...bareStarts)),
      row('RSS after 60 s idle, MB', idle.rss, least.rss, '55'),
      row('anonymous after 60 s idle, MB', idle.anonymous, least.anonymous, '13'),
      row('RSS a minute after a storm of 1,000, MB', after.rss, least.rss),
      row('anonymous a minute after a storm of 1,000, MB', after.anonymous, least.anonymous),
      ['CPU idle, % of a core', (100 * idleShare).toFixed(2), '', '', '0.2'],
    ],
  );
}

/** From its start until its thread runs. */
async function startBare(): Promise<{ ms: number; memory: () => Memory; end: () => void }> {
  const startedAt = performance.now();
  const child = spawn(process.execPath, ['--max-semi-space-size=1', '-e', BARE], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, MALLOC_ARENA_MAX: '1' },
  });
  await once(child.stdout, 'data');
  const ms = performance.now() - startedAt;
  return { ms, memory: () => memory(child.pid as number), end: () => child.kill() };
}

/** CPU for each exec event beside a C program that makes the same system calls, under the same load at the same time. */
export async function benchExecCost(): Promise<void> {
  process.stderr.write(`exec cost: ${EXECS_PER_SECOND} exec/s for ${EXEC_SECONDS} s ...\n`);
  const { agent } = await BenchAgent.start({ stdout: 'off' });
  const reader = spawn(compile('exec-reader.c'), { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: reader.stdout })[Symbol.asyncIterator]();
  await lines.next();
  const idleBefore = agent.cpuMs();
  await sleep(2_000);
  const idlePerSecond = (agent.cpuMs() - idleBefore) / 2;
  const before = agent.cpuMs();
  const start = performance.now();
  const load = spawn(victimProgram(), [
    'execs',
    String(EXECS_PER_SECOND),
    String(EXECS_PER_SECOND * EXEC_SECONDS),
  ]);
  await new Promise((resolve) => load.once('exit', resolve));
  await sleep(500);
  const seconds = (performance.now() - start) / 1000;
  const ours = agent.cpuMs() - before - idlePerSecond * seconds;
  reader.stdin.end();
  const [execs = 0, cpuUs = 0] = String((await lines.next()).value)
    .split(' ')
    .map(Number);
  await agent.stop();
  const perExec = (1000 * ours) / execs;
  printTable(
    `CPU for each exec event (fork, exec and exit of ${execs} processes in ${seconds.toFixed(1)} s)`,
    ['', 'µs', 'ratio', 'target'],
    [
      ['C, the same system calls', (cpuUs / execs).toFixed(1), '1.0', ''],
      ['oom-witness', perExec.toFixed(1), (perExec / (cpuUs / execs)).toFixed(1), '2.5'],
    ],
  );
}
