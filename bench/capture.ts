/**
 * How many victims are told with their full command line, compared byte for byte with what was executed, and how late:
 * beside a C reader in the same run that reads /proc when the kernel names the victim, and beside oom-notifier where its
 * binary is given.
 */
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Cgroup, type Launched, type LaunchOptions, launch, makeCgroup } from '../test/kills/kills.ts';
import { BenchAgent } from './agent.ts';
import { KmsgReaderInC } from './kmsg-reader.ts';
import { OomNotifier } from './oom-notifier.ts';
import { percentile, printTable } from './table.ts';

const LIMIT = 16 << 20;
/** About 790 bytes, as command lines of Java services are. */
const TEXT = ['--index=%d', `--classpath=${randomBytes(360).toString('hex')}`, '--name=ü €'];
const BUSY = path.join(import.meta.dirname, 'busy-main-thread.ts');
const PATIENCE_MS = 15_000;

interface Scenario {
  readonly name: string;
  readonly target: string;
  readonly victims: LaunchOptions;
  readonly busy?: boolean;
}

const scenarios: readonly Scenario[] = [
  { name: '200 lone kills', target: '100 %', victims: { count: 200, liveMs: 100, text: TEXT } },
  {
    name: 'storm of 1,000',
    target: '>= 99.9 %',
    victims: { count: 1_000, parallel: 8, liveMs: 50, text: TEXT },
  },
  { name: '200 that live 20 ms', target: '>= 99.9 %', victims: { count: 200, liveMs: 20, text: TEXT } },
  {
    name: '100 prefork children',
    target: '100 %',
    victims: { count: 100, mode: 'fork', liveMs: 50, text: TEXT },
  },
  {
    name: '200 lone, main thread busy',
    target: '>= 99.9 %',
    victims: { count: 200, liveMs: 100, text: TEXT },
    busy: true,
  },
  {
    name: 'storm of 1,000, busy',
    target: '>= 99.9 %',
    victims: { count: 1_000, parallel: 8, liveMs: 50, text: TEXT },
    busy: true,
  },
];

export async function benchCapture(oomNotifier: string | undefined): Promise<void> {
  const captured: string[][] = [];
  const late: string[][] = [];
  for (const scenario of scenarios) {
    process.stderr.write(`capture: ${scenario.name} ...\n`);
    const { share, latency } = await run(scenario, oomNotifier);
    captured.push(share);
    late.push(latency);
  }
  printTable(
    'Full command line captured, byte for byte',
    ['victims', 'target', 'oom-witness', 'wrong', 'read /proc on the line (C)', 'oom-notifier'],
    captured,
  );
  printTable(
    'Latency from the kernel’s time stamp, ms: incident on stdout, beside a C program that only polls /dev/kmsg',
    ['victims', 'p50', 'p99', 'C p50', 'C p99', 'p50 - C'],
    late,
  );
}

async function run(
  { name, target, victims, busy }: Scenario,
  oomNotifier: string | undefined,
): Promise<{ share: string[]; latency: string[] }> {
  const group: Cgroup = makeCgroup(LIMIT);
  const reader = await KmsgReaderInC.start();
  const peer = oomNotifier === undefined ? undefined : await OomNotifier.start(oomNotifier);
  const { agent } = await BenchAgent.start(busy ? { preload: BUSY } : {});
  try {
    const launched = await launch(group, victims);
    const pids = new Set(launched.map(({ pid }) => pid));
    const end = Date.now() + PATIENCE_MS;
    while (agent.of(pids).length < launched.length && Date.now() < end) await sleep(20);
    await peer?.settle(launched.length);
    return {
      share: [name, target, ...shares(launched, agent, reader, peer)],
      latency: [name, ...latencies(agent.of(pids), reader)],
    };
  } finally {
    await agent.stop();
    await peer?.stop();
    await reader.stop();
    group.remove();
  }
}

function shares(
  launched: readonly Launched[],
  agent: BenchAgent,
  reader: KmsgReaderInC,
  peer: OomNotifier | undefined,
): string[] {
  const told = new Map(
    agent.told.flatMap(({ incident }) =>
      incident.victims.map(({ process }) => [process.pid, process.command_args]),
    ),
  );
  let right = 0;
  let wrong = 0;
  let onTheLine = 0;
  let byPeer = 0;
  for (const { pid, args } of launched) {
    const got = told.get(pid);
    if (got !== undefined && got.join('\0') === args.join('\0')) right++;
    else if (got !== undefined) wrong++;
    if (reader.read.get(pid)?.commandLine.equals(Buffer.from(`${args.join('\0')}\0`))) onTheLine++;
    if (peer?.commandLines.get(pid) === args.join(' ')) byPeer++;
  }
  const of = (count: number) =>
    `${((100 * count) / launched.length).toFixed(1)} % (${count}/${launched.length})`;
  return [of(right), String(wrong), of(onTheLine), peer === undefined ? '-' : of(byPeer)];
}

function latencies(told: ReturnType<BenchAgent['of']>, reader: KmsgReaderInC): string[] {
  const ours: number[] = [];
  const theirs: number[] = [];
  for (const { incident, at } of told) {
    const read = reader.read.get(incident.process.pid);
    if (read === undefined) continue;
    ours.push(Number(at - read.killedAt) / 1e6);
    theirs.push(Number(read.readAt - read.killedAt) / 1e6);
  }
  const [p50, p99, c50, c99] = [
    percentile(ours, 0.5),
    percentile(ours, 0.99),
    percentile(theirs, 0.5),
    percentile(theirs, 0.99),
  ];
  return [p50, p99, c50, c99, p50 - c50].map((ms) => ms.toFixed(1));
}
