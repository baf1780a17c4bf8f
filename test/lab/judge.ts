/** Compares what the agent said with what happened. */
import { isDeepStrictEqual } from 'node:util';
import type { Incident } from '../../src/incident.ts';
import { visibleText } from '../../src/kernel/visible-text.ts';
import { assertValidIncident } from '../validate-incident.ts';
import type { AgentRun, Evidence, ExpectedIncident, ExpectedVictim } from './evidence.ts';

export interface Verdict {
  readonly kernel: string;
  readonly scenario: string;
  /** What was wrong; empty: the scenario has passed. */
  readonly problems: readonly string[];
  readonly victims: number;
  readonly told: number;
  /** Victims whose command line somebody could have read. */
  readonly knowable: number;
  /** Of those, the ones with their command line byte for byte. */
  readonly exact: number;
  /** Where the command lines came from -> how many. */
  readonly sources: Readonly<Record<string, number>>;
  /** From the kernel's time stamp of the (last) kill to the incident on stdout, ms, ascending. */
  readonly latencies: readonly number[];
  /** `armed`, or why not, for each run of the agent. */
  readonly processEvents: readonly string[];
  readonly startMs: readonly number[];
  readonly memory: Readonly<Record<string, number>>;
  /** Lines of the agent's log above `info`. */
  readonly warnings: readonly string[];
}

interface Told {
  readonly at: number;
  readonly incident: Incident;
}

/** @param architecture of the guest, as the agent must call it */
export function judge(evidence: Evidence, architecture: string): Verdict {
  const problems = [...evidence.troubles];
  const told = evidence.runs.flatMap((run) => incidentsOf(run, problems));
  for (const [id, count] of counted(told.map(({ incident }) => incident.id)))
    if (count > 1) problems.push(`incident ${id} is told ${count} times`);

  const matched = new Set<Told>();
  const sources: Record<string, number> = {};
  const latencies: number[] = [];
  let exact = 0;
  let found = 0;
  for (const expected of evidence.expected) {
    for (const { pid, signal } of expected.victims)
      if (signal !== 9) problems.push(`${pid} was to be killed and ended by signal ${signal}`);
    const pids = expected.victims.map(({ pid }) => pid);
    const telling = told.filter(({ incident }) =>
      incident.victims.some(({ process }) => pids.includes(process.pid)),
    );
    for (const each of telling) matched.add(each);
    if (telling.length !== 1)
      problems.push(`the kill of ${pids} is told in ${telling.length} incidents, not in one`);
    const [first] = telling;
    if (first === undefined) continue;
    found += expected.victims.length;
    compare(expected, architecture, first.incident, problems);
    exact += knowable(expected).filter((victim) => isExact(victim, first.incident)).length;
    for (const { capture } of first.incident.victims)
      sources[capture.source] = (sources[capture.source] ?? 0) + 1;
    const killedAt = Math.max(
      ...evidence.killLines.filter(({ pid }) => pids.includes(pid)).map(({ at }) => at),
    );
    if (Number.isFinite(killedAt)) latencies.push(first.at - killedAt);
  }
  for (const { incident } of told.filter((each) => !matched.has(each)))
    problems.push(`${describe(incident)} is told and was not expected`);
  for (const decoy of evidence.decoys)
    for (const { incident } of told)
      if (incident.victims.some(({ process }) => isDeepStrictEqual(process.command_args, decoy)))
        problems.push(`${describe(incident)} has somebody else's command line`);
  const events = evidence.runs.map(processEvents);
  for (const each of events)
    if (evidence.blind ? !/hostPID/.test(each) : each !== 'armed') problems.push(`process events: ${each}`);
  for (const run of evidence.runs)
    if (run.ended !== 0 && run.ended !== 'SIGKILL') problems.push(`the agent ended with ${run.ended}`);

  return {
    kernel: evidence.kernel,
    scenario: evidence.scenario,
    problems,
    victims: evidence.expected.reduce((sum, { victims }) => sum + victims.length, 0),
    told: found,
    knowable: evidence.expected.flatMap(knowable).length,
    exact,
    sources,
    latencies: latencies.sort((a, b) => a - b),
    processEvents: events,
    startMs: evidence.runs.map(({ startedAt, armedAt }) => (armedAt ?? Number.NaN) - startedAt),
    memory: Object.assign({}, ...evidence.runs.map(({ memory }) => memory)),
    warnings: evidence.runs.flatMap((run) =>
      run.err.map(({ text }) => text).filter((text) => !text.includes('"level":"info"')),
    ),
  };
}

function incidentsOf(run: AgentRun, problems: string[]): Told[] {
  const told: Told[] = [];
  for (const [index, { at, text }] of run.out.entries()) {
    try {
      const incident: unknown = JSON.parse(text);
      assertValidIncident(incident);
      told.push({ at, incident });
    } catch (error) {
      const torn = run.ended === 'SIGKILL' && index === run.out.length - 1;
      if (!torn) problems.push(`line ${index + 1} of stdout: ${(error as Error).message}`);
    }
  }
  return told;
}

function compare(
  expected: ExpectedIncident,
  architecture: string,
  incident: Incident,
  problems: string[],
): void {
  const what = describe(incident);
  const { oom } = incident;
  const differ = (field: string, seen: unknown, wanted: unknown) => {
    if (!isDeepStrictEqual(seen, wanted))
      problems.push(`${what}: ${field} is ${JSON.stringify(seen)}, not ${JSON.stringify(wanted)}`);
  };
  differ('host.arch', incident.host.arch, architecture);
  differ('oom.scope', oom.scope, expected.scope);
  differ('oom.group_kill', oom.group_kill, expected.groupKill);
  // With its header the kernel's rate limit takes away the name of the limit.
  if (oom.header_seen) differ('oom.limit_cgroup', oom.limit_cgroup, expected.limitCgroup);
  differ(
    'victims',
    incident.victims.map(({ process }) => process.pid).sort(),
    expected.victims.map(({ pid }) => pid).sort(),
  );
  for (const victim of expected.victims) {
    const told = incident.victims.find((each) => each.process.pid === victim.pid);
    if (told === undefined) continue;
    const { process, memory } = told;
    // The kernel prints pages there and kB here. It may have grown in between.
    const candidate = incident.tasks?.find(({ pid }) => pid === victim.pid);
    const [there, here] = [candidate?.total_vm, memory?.total_vm];
    if (there && here && (there > 2 * here || here > 2 * there))
      problems.push(`${what}: total_vm is ${there} in tasks and ${here} in victims`);
    const known = expected.commandLine === 'known';
    const { command_args, cgroup } = process;
    const early = victim.before !== undefined;
    if (!early || (command_args !== undefined && !isDeepStrictEqual(command_args, victim.before)))
      differ('command_args', command_args, known ? victim.args : undefined);
    if ((known && !early) || cgroup !== undefined) differ('process.cgroup', cgroup, victim.cgroup);
    if (victim.name !== undefined) differ('process.name', process.name, nameOf(victim.name));
  }
}

function knowable({ commandLine, victims }: ExpectedIncident): readonly ExpectedVictim[] {
  return commandLine === 'known' ? victims.filter(({ before }) => before === undefined) : [];
}

function isExact(victim: ExpectedVictim, incident: Incident): boolean {
  const told = incident.victims.find(({ process }) => process.pid === victim.pid);
  return isDeepStrictEqual(told?.process.command_args, victim.args);
}

function nameOf(written: string): string {
  const bytes = Buffer.from(
    written.replace(/\\x(..)/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16))),
    'latin1',
  );
  return visibleText(bytes.subarray(0, 15));
}

function processEvents(run: AgentRun): string {
  const blind = run.err
    .map(({ text }) => text)
    .find((text) => text.includes('"msg":"process events: blind"'));
  return blind === undefined ? 'armed' : (JSON.parse(blind).reason ?? blind);
}

function describe({ process, victims }: Incident): string {
  return `the kill of ${process.pid} (${JSON.stringify(process.name)}${victims.length > 1 ? ` and ${victims.length - 1} more` : ''})`;
}

function counted(values: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return counts;
}
