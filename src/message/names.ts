import { shown } from '../format.ts';
import type { Incident } from '../incident.ts';

/** Longer names than Kubernetes allows in a label are somebody's joke. */
const NAME_LIMIT = 63;

export function name(text: string): string {
  return text === '' ? '(no name)' : shown(text, NAME_LIMIT);
}

export function node(incident: Incident): string {
  const known = incident.k8s?.node?.name ?? incident.host.name;
  return known === '' ? 'an unnamed machine' : name(known);
}

/** A log without wall-clock time (dmesg) leaves the time at zero. */
export function isTimeKnown({ time }: Incident): boolean {
  return Date.parse(time) !== 0;
}

/**
 * What people call the thing that was hit: `web/shop`, `nginx.service`, `container 4bf1c3d5e7a9`; undefined where
 * nothing but the machine is known.
 */
export function workload(incident: Incident): string | undefined {
  const { container, systemd } = incident;
  const lasting = lastingName(incident);
  if (lasting !== undefined) return lasting;
  if (container?.id) return `container ${shortId(container.id)}`;
  return systemd?.slice === undefined ? undefined : name(systemd.slice);
}

/** The name under which it will be killed again, so under which kills are counted. */
export function lastingName({ k8s, container, systemd }: Incident): string | undefined {
  const owner =
    k8s?.deployment ??
    k8s?.statefulset ??
    k8s?.daemonset ??
    k8s?.cronjob ??
    k8s?.job ??
    k8s?.owner ??
    (k8s?.pod?.name ? { name: k8s.pod.name } : undefined);
  if (owner) return k8s?.namespace ? `${name(k8s.namespace.name)}/${name(owner.name)}` : name(owner.name);
  if (container?.name) return `container ${name(container.name)}`;
  return systemd?.unit === undefined ? undefined : name(systemd.unit);
}

/** The pod and the container that the workload's name does not already say, or why they are not known. */
export function podAndContainer(incident: Incident): string | undefined {
  const { k8s, container } = incident;
  const pod = k8s?.pod?.name;
  const containerName = k8s?.container?.name ?? (k8s ? container?.name : undefined);
  const parts = [];
  if (pod !== undefined && !workload(incident)?.endsWith(`/${name(pod)}`)) parts.push(`pod ${name(pod)}`);
  if (containerName !== undefined) parts.push(`container ${name(containerName)}`);
  if (pod === undefined) {
    const reason = whyUnknown(incident, 'k8s.pod.name', 'k8s.pod', 'k8s');
    if (reason !== undefined) parts.push(`pod unknown: ${reason}`);
    else if (k8s?.pod?.uid !== undefined) parts.push(`pod uid ${name(k8s.pod.uid)}`);
  }
  return parts.length > 0 ? parts.join(', ') : undefined;
}

/** The reason that the incident gives for a missing field, the most exact path first. */
export function whyUnknown(incident: Incident, ...paths: readonly string[]): string | undefined {
  for (const path of paths) {
    const reason = incident.unknown?.[path];
    if (reason !== undefined) return shown(reason, 160);
  }
  return undefined;
}

/** The twelve digits that container tools show and accept. */
function shortId(id: string): string {
  return name(id.slice(0, 12));
}
