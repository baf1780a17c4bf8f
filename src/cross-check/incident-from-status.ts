import type { Workload } from '../enrich/identity.ts';
import { identityOfPod } from '../enrich/identity.ts';
import { INCIDENT_SCHEMA, type Incident, type IncidentHost } from '../incident.ts';
import { type KnownPod, type KnownPodContainer, saidOf, type Termination } from '../kubernetes/pod.ts';

/**
 * The incident that only the status of a pod tells of. It names no process and no limit, but pod and container. The id is made of
 * what stays the same whoever reads the status: two readers make one incident.
 *
 * @param now for a status without a time that can be read
 */
export function incidentFromStatus(
  pod: KnownPod,
  container: KnownPodContainer,
  termination: Termination,
  workload: Workload,
  host: IncidentHost,
  now: number,
): Incident {
  const ended = Date.parse(termination.finishedAt ?? '');
  const time = new Date(Number.isNaN(ended) ? now : ended).toISOString();
  const { container: known, k8s } = identityOfPod(pod, container, workload);
  const limit = container.limits?.memory;
  const limitUnknown = `Kubernetes does not tell${limit === undefined ? '' : `; the container's own is ${limit}`}`;
  const process = { pid: 0, name: '' };
  const { name, boot_id, kernel, arch } = host;
  return {
    schema: INCIDENT_SCHEMA,
    id: statusId(pod, container, termination),
    kind: 'oom_kill',
    time,
    witness: ['kubernetes'],
    host: { name, boot_id, kernel, arch },
    oom: { scope: 'unknown', group_kill: false, header_seen: false },
    process,
    victims: [{ process, capture: { source: 'none', truncated: false, redacted: 0 } }],
    container: { ...(termination.containerId !== undefined && { id: termination.containerId }), ...known },
    ...(k8s && { k8s }),
    statements: [
      {
        by: 'kubernetes',
        agrees: true,
        says: saidOf(termination),
        ...(termination.finishedAt !== undefined && { time: termination.finishedAt }),
      },
    ],
    unknown: {
      process: 'only the status of the pod tells of this kill, and that names no process',
      oom: limitUnknown,
    },
    raw: [],
  };
}

/** Of the instance of the container that ended. */
export function statusId(pod: KnownPod, container: KnownPodContainer, termination: Termination): string {
  const instance = termination.containerId ?? termination.finishedAt ?? container.restartCount;
  return `kubernetes:${pod.uid}:${container.name}:${instance}`;
}
