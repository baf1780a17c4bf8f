import { readdirSync, readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import type { NoVictim } from '../src/assemble/kill-report.ts';
import type { AssembledReport } from '../src/assemble/report-draft.ts';
import { Assembler, type AssemblerOptions } from '../src/assemble.ts';
import { type KernelRecord, parseKmsgRecord } from '../src/kernel/kmsg-record.ts';

/** What really happened, as the lab that recorded the fixture knows it (see the fixtures' README). */
export interface Truth {
  readonly scenario: string;
  readonly kernel: string;
  readonly oom_group: boolean;
  /** `the cgroup of the victim`, `global`, or a path. */
  readonly oom_memcg: string;
  readonly kmsg_records: number;
  /** In the order of their deaths. */
  readonly killed_by_kernel: readonly TrueVictim[];
}

export interface TrueVictim {
  readonly pid: number;
  readonly exe: string;
  readonly comm?: string;
  readonly cgroup: string;
  readonly uid: number;
  readonly oom_score_adj: number;
  readonly mark_victim_mono_s: number;
}

export interface Fixture {
  /** `6.1/lone` */
  readonly name: string;
  readonly scenario: string;
  readonly lines: readonly string[];
  readonly truth: Truth;
}

const FOLDER = new URL('./fixtures/kmsg/', import.meta.url);

/** Every recorded scenario of every kernel. */
export function fixtures(): Fixture[] {
  return readdirSync(FOLDER, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .flatMap(({ name: kernel }) =>
      readdirSync(new URL(`${kernel}/`, FOLDER))
        .filter((file) => file.endsWith('.truth.json'))
        .map((file) => fixture(`${kernel}/${file.slice(0, -'.truth.json'.length)}`)),
    );
}

export function fixture(name: string): Fixture {
  const truth: Truth = JSON.parse(readFileSync(new URL(`${name}.truth.json`, FOLDER), 'utf8'));
  const killed = truth.killed_by_kernel.toSorted((a, b) => a.mark_victim_mono_s - b.mark_victim_mono_s);
  return {
    name,
    scenario: name.slice(name.indexOf('/') + 1),
    lines: readKmsg(name).toString('latin1').split('\n').filter(Boolean),
    truth: { ...truth, killed_by_kernel: killed },
  };
}

function readKmsg(name: string): Buffer {
  try {
    return readFileSync(new URL(`${name}.kmsg`, FOLDER));
  } catch {
    return gunzipSync(readFileSync(new URL(`${name}.kmsg.gz`, FOLDER)));
  }
}

export function records(lines: readonly string[]): KernelRecord[] {
  return lines.map(parseKmsgRecord).filter((record) => record !== undefined);
}

export interface Assembled {
  readonly reports: AssembledReport[];
  readonly noVictims: NoVictim[];
}

/** All that the records tell. */
export function assemble(lines: readonly string[], options: Partial<AssemblerOptions> = {}): Assembled {
  const reports: AssembledReport[] = [];
  const noVictims: NoVictim[] = [];
  const assembler = new Assembler({
    report: (report) => reports.push(report),
    noVictim: (none) => noVictims.push(none),
    ...options,
  });
  for (const record of records(lines)) assembler.push(record);
  assembler.end();
  return { reports, noVictims };
}

/** The kernel's name of a process in the recordings. */
export function comm(victim: TrueVictim): string {
  return victim.comm ?? (victim.exe.split('/').at(-1) as string).slice(0, 15);
}
