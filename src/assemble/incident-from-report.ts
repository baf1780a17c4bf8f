import {
  INCIDENT_SCHEMA,
  type Incident,
  type IncidentHost,
  type OomScope,
  type Process,
  type Victim,
  type Witness,
} from '../incident.ts';
import { cgroupOwner, isWithin } from '../kernel/cgroup-path.ts';
import type { CapturedProcess } from '../processes/captured-process.ts';
import type { KernelVictim, KillReport } from './kill-report.ts';

export interface IncidentContext {
  /** The same for the same kill on every replay. */
  readonly id: string;
  /** RFC 3339 in UTC with milliseconds. */
  readonly time: string;
  readonly host: IncidentHost;
  readonly witness: Witness;
  /** What the process table knew of each victim, at the same index. */
  readonly captured: readonly (CapturedProcess | undefined)[];
}

/** Joins what the kernel said with what the process table knew. Where they disagree on a cgroup, the kernel is right. */
export function incidentFromReport(report: KillReport, context: IncidentContext): Incident {
  const unknown: Record<string, string> = { ...report.unknown };
  const killedAt = Date.parse(context.time);
  const victims = report.victims.map((victim, index) =>
    toVictim(victim, context.captured[index], killedAt, report.oom.scope),
  );
  const first = victims[0];
  if (first === undefined) throw new Error('a kill report without a victim');
  for (const [index, captured] of report.victims.map((_, at) => [at, context.captured[at]] as const)) {
    if (captured?.args !== undefined) continue;
    unknown[index === 0 ? 'process.command_line' : `victims.${index}.process.command_line`] =
      captured?.missing ?? 'nobody read it before the process died';
  }
  if (first.process.cgroup === undefined) unknown['process.cgroup'] ??= 'the kernel did not print it';
  const owner = first.process.cgroup === undefined ? {} : cgroupOwner(first.process.cgroup);
  const systemd = {
    ...(owner.unit !== undefined && { unit: owner.unit }),
    ...(owner.slice !== undefined && { slice: owner.slice }),
    ...(owner.userId !== undefined && { user: { id: owner.userId } }),
  };
  return {
    schema: INCIDENT_SCHEMA,
    id: context.id,
    kind: 'oom_kill',
    time: context.time,
    witness: [context.witness],
    host: context.host,
    oom: report.oom,
    process: first.process,
    victims,
    ...(report.memory && { memory: report.memory }),
    ...(report.tasks && { tasks: report.tasks }),
    ...(owner.container && { container: owner.container }),
    ...(owner.podUid !== undefined && {
      k8s: { pod: { uid: owner.podUid }, ...(owner.qos !== undefined && { qos: owner.qos }) },
    }),
    ...(Object.keys(systemd).length > 0 && { systemd }),
    ...(Object.keys(unknown).length > 0 && { unknown }),
    raw: report.raw,
  };
}

function toVictim(
  victim: KernelVictim,
  captured: CapturedProcess | undefined,
  killedAt: number,
  scope: OomScope,
): Victim {
  const args = captured?.args;
  const age = captured?.capturedAt === undefined ? undefined : Math.round(killedAt - captured.capturedAt);
  return {
    process: toProcess(victim, captured, scope),
    capture: {
      source: args === undefined ? 'kernel-comm' : (captured?.source ?? 'kernel-comm'),
      ...(args !== undefined && age !== undefined && { age_ms: Math.max(0, age) }),
      truncated: captured?.truncated ?? false,
      redacted: captured?.redacted ?? 0,
    },
    ...(victim.memory && { memory: victim.memory }),
    ...(victim.oomScoreAdj !== undefined && { oom_score_adj: victim.oomScoreAdj }),
  };
}

function toProcess(victim: KernelVictim, captured: CapturedProcess | undefined, scope: OomScope): Process {
  const userId = victim.userId ?? captured?.userId;
  // The root has no limit: whoever is killed for one is not there any more (forked there, killed before its exec).
  const isOutdated = scope === 'cgroup' && captured?.cgroup === '/';
  const cgroup = cgroupOf(victim.cgroup, isOutdated ? undefined : captured?.cgroup);
  return {
    pid: victim.pid,
    ...(captured?.parentPid !== undefined && { parent_pid: captured.parentPid }),
    name: victim.name,
    ...(captured?.executable !== undefined && { executable: { path: captured.executable } }),
    ...(captured?.args !== undefined && {
      command_line: captured.args.join(' '),
      command_args: captured.args,
    }),
    ...(userId !== undefined && { user: { id: userId } }),
    ...(captured?.startedAt !== undefined && { creation_time: new Date(captured.startedAt).toISOString() }),
    ...(cgroup !== undefined && { cgroup }),
  };
}

/** Of a group's members the kernel prints only the cgroup that they all live below. */
function cgroupOf(kernel: string | undefined, table: string | undefined): string | undefined {
  if (kernel === undefined) return table;
  return table !== undefined && isWithin(table, kernel) ? table : kernel;
}
