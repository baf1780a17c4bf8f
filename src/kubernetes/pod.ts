/**
 * What is read of a Pod, and what is kept of it: a pod of the API is 5 to 20 KiB of JSON, this is under 2 KiB.
 * Fields: Kubernetes API reference, core/v1 Pod. The answer of a server is checked here, field by field; what has not the right
 * type counts as absent.
 */

/** `docker`, `containerd`, `cri-o` …: the scheme of a container's id in the API. */
export type RuntimeName = string;

export interface KnownPod {
  readonly uid: string;
  /** Of static pods: the UID in their cgroup's path (annotation kubernetes.io/config.hash). */
  readonly configHash?: string;
  readonly namespace: string;
  readonly name: string;
  readonly node?: string;
  readonly resourceVersion?: string;
  /** Only the chosen ones. */
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  /** The controller among the owners. */
  readonly owner?: PodOwner;
  readonly qos?: string;
  /** Whether the condition Ready holds. */
  readonly ready: boolean;
  readonly containers: readonly KnownPodContainer[];
}

export interface PodOwner {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  /** Of a ReplicaSet that a Deployment made: the end of its name (label pod-template-hash). */
  readonly templateHash?: string;
}

export interface KnownPodContainer {
  readonly name: string;
  readonly kind: 'container' | 'init' | 'ephemeral';
  /** Of the newest instance, without the runtime; absent before it was made. */
  readonly id?: string;
  readonly runtime?: RuntimeName;
  readonly image?: { readonly name?: string; readonly id?: string };
  readonly limits?: Readonly<Record<string, string>>;
  readonly requests?: Readonly<Record<string, string>>;
  readonly restartCount: number;
  readonly running: boolean;
  /** How the newest instance ended; absent while it lives. */
  readonly terminated?: Termination;
  /** How the instance before it ended. */
  readonly previous?: Termination;
}

/** The runtime's word on how an instance of a container ended. */
export interface Termination {
  readonly containerId?: string;
  /** `OOMKilled`, `Error`, `Completed`, … */
  readonly reason?: string;
  readonly exitCode?: number;
  /** RFC 3339, whole seconds. */
  readonly startedAt?: string;
  readonly finishedAt?: string;
}

/** The reason for a container whose cgroup had an OOM kill. */
export const OOM_KILLED = 'OOMKilled';

/** `OOMKilled, exit code 137` */
export function saidOf({ reason, exitCode }: Termination): string {
  const said = reason ?? 'no reason';
  return exitCode === undefined ? said : `${said}, exit code ${exitCode}`;
}

/** The names of the labels and annotations that are kept; `*` keeps all. */
export interface KeptMetadata {
  readonly labels: ReadonlySet<string>;
  readonly annotations: ReadonlySet<string>;
}

/** Longer values of labels are not allowed (63); annotations may be 256 KiB. */
const VALUE_LIMIT = 1024;
/** A pod may have any number of containers; nobody has more than some tens. */
const CONTAINER_LIMIT = 128;

type Json = Readonly<Record<string, unknown>>;

/** One for all pods: most have no chosen label, and no chosen annotation. */
const NONE = Object.freeze({});

const KINDS = [
  { kind: 'container', spec: 'containers', status: 'containerStatuses' },
  { kind: 'init', spec: 'initContainers', status: 'initContainerStatuses' },
  { kind: 'ephemeral', spec: 'ephemeralContainers', status: 'ephemeralContainerStatuses' },
] as const;

/** @returns undefined where it has no name, namespace or UID: then it is no pod */
export function knownPod(pod: unknown, keep: KeptMetadata): KnownPod | undefined {
  const metadata = object(object(pod).metadata);
  const [uid, name, namespace] = [text(metadata.uid), text(metadata.name), text(metadata.namespace)];
  if (!uid || !name || !namespace) return undefined;
  const spec = object(object(pod).spec);
  const status = object(object(pod).status);
  const labels = object(metadata.labels);
  const annotations = object(metadata.annotations);
  return {
    uid,
    namespace,
    name,
    ...present('configHash', text(annotations['kubernetes.io/config.hash'])),
    ...present('node', text(spec.nodeName)),
    ...present('resourceVersion', text(metadata.resourceVersion)),
    labels: kept(labels, keep.labels),
    annotations: kept(annotations, keep.annotations),
    ...present('owner', owner(metadata.ownerReferences, text(labels['pod-template-hash']))),
    ...present('qos', text(status.qosClass)),
    ready: list(status.conditions).some((each) => each.type === 'Ready' && each.status === 'True'),
    containers: KINDS.flatMap(({ kind, spec: inSpec, status: inStatus }) =>
      containers(kind, list(spec[inSpec]), list(status[inStatus])),
    ).slice(0, CONTAINER_LIMIT),
  };
}

function owner(references: unknown, templateHash: string | undefined): PodOwner | undefined {
  const controller = list(references).find((each) => each.controller === true);
  const [apiVersion, kind, name] = [
    text(controller?.apiVersion),
    text(controller?.kind),
    text(controller?.name),
  ];
  if (!apiVersion || !kind || !name) return undefined;
  return { apiVersion, kind, name, ...present('templateHash', templateHash) };
}

function containers(
  kind: KnownPodContainer['kind'],
  specs: readonly Json[],
  statuses: readonly Json[],
): KnownPodContainer[] {
  return specs.flatMap((spec) => {
    const name = text(spec.name);
    if (!name) return [];
    const status = statuses.find((each) => each.name === name) ?? {};
    const { runtime, id } = splitId(text(status.containerID));
    const state = object(status.state);
    const resources = object(spec.resources);
    const image = {
      ...present('name', text(status.image) ?? text(spec.image)),
      ...present('id', text(status.imageID) || undefined),
    };
    return [
      {
        name,
        kind,
        ...present('id', id),
        ...present('runtime', runtime),
        ...(Object.keys(image).length > 0 && { image }),
        ...present('limits', quantities(resources.limits)),
        ...present('requests', quantities(resources.requests)),
        restartCount: count(status.restartCount) ?? 0,
        running: typeof state.running === 'object' && state.running !== null,
        ...present('terminated', termination(state.terminated)),
        ...present('previous', termination(object(status.lastState).terminated)),
      },
    ];
  });
}

function termination(value: unknown): Termination | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const state = object(value);
  return {
    ...present('containerId', splitId(text(state.containerID)).id),
    ...present('reason', text(state.reason)),
    ...present('exitCode', count(state.exitCode)),
    ...present('startedAt', text(state.startedAt)),
    ...present('finishedAt', text(state.finishedAt)),
  };
}

/** `containerd://4bf1…` */
function splitId(text: string | undefined): { readonly runtime?: string; readonly id?: string } {
  const [, runtime, id] = /^([a-z][a-z0-9-]{0,31}):\/\/([\w.-]{1,128})$/.exec(text ?? '') ?? [];
  return { ...present('runtime', runtime), ...present('id', id) };
}

function kept(all: Json, names: ReadonlySet<string>): Readonly<Record<string, string>> {
  const entries = Object.entries(all).filter(([name]) => names.has('*') || names.has(name));
  if (entries.length === 0) return NONE;
  return Object.fromEntries(entries.map(([name, value]) => [name, bounded(String(value))]));
}

/** Quantities stay text, as Kubernetes writes them (`64Mi`, `500m`). */
function quantities(value: unknown): Record<string, string> | undefined {
  const entries = Object.entries(object(value)).flatMap(([name, amount]) =>
    typeof amount === 'string' || typeof amount === 'number' ? [[name, String(amount).slice(0, 64)]] : [],
  );
  return entries.length > 0 ? Object.fromEntries(entries) : undefined;
}

function object(value: unknown): Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : {};
}

function list(value: unknown): readonly Json[] {
  return Array.isArray(value) ? value.map(object) : [];
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' ? bounded(value) : undefined;
}

/** Half a character at the end would be no text any more: `encodeURIComponent` throws. */
function bounded(value: string): string {
  return value.slice(0, VALUE_LIMIT).toWellFormed();
}

function count(value: unknown): number | undefined {
  return Number.isSafeInteger(value) ? (value as number) : undefined;
}

function present<K extends string, V>(key: K, value: V | undefined): { readonly [P in K]?: V } {
  return (value === undefined ? {} : { [key]: value }) as { readonly [P in K]?: V };
}
