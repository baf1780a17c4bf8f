import { identityOfPod, type Workload } from '../enrich/identity.ts';
import type { Incident, IncidentHost } from '../incident.ts';
import { incidentFromStatement } from '../inventory/stated-kill.ts';
import type { KnownPod, KnownPodContainer, Termination } from '../kubernetes/pod.ts';

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
  return incidentFromStatement(termination, host, {
    id: statusId(pod, container, termination),
    kind: 'oom_kill',
    time,
    container: { ...(termination.containerId !== undefined && { id: termination.containerId }), ...known },
    ...(k8s && { k8s }),
    unknown: {
      process: 'only the status of the pod tells of this kill, and that names no process',
      oom: limitUnknown,
    },
  });
}

/** Of the instance of the container that ended. */
export function statusId(pod: KnownPod, container: KnownPodContainer, termination: Termination): string {
  const instance = termination.containerId ?? termination.finishedAt ?? container.restartCount;
  return `kubernetes:${pod.uid}:${container.name}:${instance}`;
}
