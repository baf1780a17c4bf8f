/** A kill in the words of the status of a pod, which names no process and no limit. */
import { INCIDENT_SCHEMA, type Incident, type IncidentHost, type Statement } from '../incident.ts';
import { OOM_KILLED, saidOf, type Termination } from '../kubernetes/pod.ts';

export function statementOf(termination: Termination): Statement {
  return {
    by: 'kubernetes',
    agrees: termination.reason === OOM_KILLED,
    says: saidOf(termination),
    ...(termination.finishedAt !== undefined && { time: termination.finishedAt }),
  };
}

/** The incident where nobody else tells of it. */
export function incidentFromStatement(
  termination: Termination,
  { name, boot_id, kernel, arch }: IncidentHost,
  told: Pick<Incident, 'id' | 'kind' | 'time' | 'container' | 'k8s' | 'unknown'>,
): Incident {
  const { id, kind, time, container, k8s, unknown } = told;
  const process = { pid: 0, name: '' };
  return {
    schema: INCIDENT_SCHEMA,
    id,
    kind,
    time,
    witness: ['kubernetes'],
    host: { name, boot_id, kernel, arch },
    oom: { scope: 'unknown', group_kill: false, header_seen: false },
    process,
    victims: [{ process, capture: { source: 'none', truncated: false, redacted: 0 } }],
    ...(container && { container }),
    ...(k8s && { k8s }),
    statements: [statementOf(termination)],
    ...(unknown && { unknown }),
    raw: [],
  };
}
