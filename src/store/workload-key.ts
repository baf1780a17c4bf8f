import type { Incident, IncidentKind } from '../incident.ts';

/** Longer names are somebody's joke; the key stays an index entry. */
const LIMIT = 512;

const WHAT: Readonly<Record<IncidentKind, string>> = {
  oom_kill: 'kill',
  oom_unseen: 'kill',
  oom_warning: 'warning',
  oom_restart: 'restart',
};

/** How the keys of restarts begin. */
export const RESTART_KEY = `${WHAT.oom_restart} `;

/**
 * What makes two kills "the same again": the owner of the pod, else the pod, the container's name, the systemd unit, else the
 * process name on this host. A warning before a kill is counted apart from kills, and a restart after one is no part of the history. The key is for comparison, not for people.
 */
export function workloadKey(incident: Incident): string {
  return `${WHAT[incident.kind]} ${subject(incident)}`.slice(0, LIMIT);
}

function subject({ k8s, container, systemd, host, process }: Incident): string {
  const owner =
    named('deployment', k8s?.deployment) ??
    named('statefulset', k8s?.statefulset) ??
    named('daemonset', k8s?.daemonset) ??
    named('cronjob', k8s?.cronjob) ??
    named('job', k8s?.job) ??
    named(`owner/${k8s?.owner?.kind}`, k8s?.owner) ??
    named('pod', k8s?.pod);
  if (owner !== undefined) return `k8s/${k8s?.namespace?.name ?? ''}/${owner}`;
  return (
    named('container', container) ??
    (systemd?.unit === undefined ? undefined : `unit/${systemd.unit}`) ??
    `process/${host.name}/${process.name}`
  );
}

function named(kind: string, thing: { readonly name?: string } | undefined): string | undefined {
  return thing?.name === undefined ? undefined : `${kind}/${thing.name}`;
}
