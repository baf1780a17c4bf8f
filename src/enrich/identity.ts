import type { Container, Incident, Kubernetes } from '../incident.ts';
import type { KnownPod, KnownPodContainer } from '../kubernetes/pod.ts';

/** What was found out about an incident beyond its cgroup's path. */
export interface Identity {
  readonly container?: Container;
  readonly k8s?: Kubernetes;
  /** Path of a field that was looked for in vain -> why. */
  readonly unknown?: Readonly<Record<string, string>>;
}

/** The owner of a pod as incidents name it: one of deployment, statefulset, …, or any other kind as `owner`. */
export type Workload = Pick<
  Kubernetes,
  'deployment' | 'statefulset' | 'daemonset' | 'job' | 'cronjob' | 'owner'
>;

/** @param container undefined where it is not known which of them it was */
export function identityOfPod(
  pod: KnownPod,
  container: KnownPodContainer | undefined,
  workload: Workload,
): Identity {
  const labels = Object.keys(pod.labels).length > 0 && { labels: pod.labels };
  const annotations = Object.keys(pod.annotations).length > 0 && { annotations: pod.annotations };
  return {
    ...(container && {
      container: {
        name: container.name,
        ...(container.runtime !== undefined && { runtime: container.runtime }),
        ...(container.image && { image: container.image }),
      },
    }),
    k8s: {
      namespace: { name: pod.namespace },
      pod: { name: pod.name, uid: pod.uid, ...labels, ...annotations },
      ...(container && {
        container: {
          name: container.name,
          ...(container.kind !== 'container' && { kind: container.kind }),
          restart_count: container.restartCount,
        },
      }),
      ...(pod.node !== undefined && { node: { name: pod.node } }),
      ...workload,
      ...(pod.qos !== undefined && { qos: pod.qos }),
      ...(container?.limits && { limits: container.limits }),
      ...(container?.requests && { requests: container.requests }),
    },
  };
}

/** The incident with what was found; what it said in vain of the same fields is taken back. */
export function identified(incident: Incident, { container, k8s, unknown }: Identity): Incident {
  const found = Object.entries(incident.unknown ?? {}).filter(
    ([path]) => !(k8s && /^k8s\b/.test(path)) && !(container && /^container\b/.test(path)),
  );
  const reasons = { ...Object.fromEntries(found), ...unknown };
  const { unknown: _, ...rest } = incident;
  return {
    ...rest,
    ...(container && { container: { ...incident.container, ...container } }),
    ...(k8s && { k8s: { ...incident.k8s, ...k8s, pod: { ...incident.k8s?.pod, ...k8s.pod } } }),
    ...(Object.keys(reasons).length > 0 && { unknown: reasons }),
  };
}
