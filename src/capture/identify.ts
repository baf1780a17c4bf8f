import { incidentFromReport } from '../assemble/incident-from-report.ts';
import type { KernelVictim } from '../assemble/kill-report.ts';
import type { Incident } from '../incident.ts';
import type { CapturedProcess } from '../processes/captured-process.ts';
import type { ProcessLookup } from '../processes/process-lookup.ts';
import type { Sighting } from '../watch/kill-source.ts';

const NEVER_SEEN = 'it started and died while the agent was down';

/**
 * The numbers in the kernel's log become processes.
 *
 * @param foreign why nothing in /proc can be matched with the kernel's log; undefined: it can
 */
export function identify(
  sighting: Sighting,
  processes: ProcessLookup,
  foreign: string | undefined,
): Incident {
  const { report, missed, killedAt } = sighting;
  const stranger = foreign ?? sighting.stranger;
  const victims =
    stranger === undefined ? report.victims.map((victim) => wholeProcess(victim, processes)) : report.victims;
  const captured = victims.map((victim): CapturedProcess | undefined => {
    const process = stranger === undefined ? processes.capture(victim.pid, killedAt) : undefined;
    const missing = stranger ?? (missed ? NEVER_SEEN : undefined);
    if (process !== undefined || missing === undefined) return process;
    return { pid: victim.pid, source: 'kernel-comm', truncated: false, redacted: 0, missing };
  });
  return incidentFromReport(
    { ...report, victims },
    {
      id: sighting.id,
      time: new Date(sighting.wallTime).toISOString(),
      host: sighting.host,
      witness: sighting.witness,
      captured,
    },
  );
}

/** Without the kernel's `oom-kill:` line, a process whose first thread has exited is named by another thread. */
function wholeProcess(victim: KernelVictim, processes: ProcessLookup): KernelVictim {
  if (victim.threadId !== undefined) return victim;
  const pid = processes.processOfThread(victim.pid);
  return pid === undefined || pid === victim.pid ? victim : { ...victim, pid, threadId: victim.pid };
}
