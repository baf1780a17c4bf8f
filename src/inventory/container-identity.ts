/** Who a container is, in the words of its runtime: bounded, because whoever starts a container chooses most of them. */

export const RUNTIMES = ['docker', 'containerd', 'podman', 'cri-o'] as const;
export type ContainerRuntime = (typeof RUNTIMES)[number];

export interface ContainerIdentity {
  readonly id: string;
  readonly runtime: ContainerRuntime;
  /** As people say it: of Docker and podman the container's name, of nerdctl its label, of Kubernetes the container's. */
  readonly name?: string;
  readonly image?: {
    /** As it was given, e.g. `redis:7`. */
    readonly name?: string;
    /** Digest, e.g. `sha256:…`. */
    readonly id?: string;
  };
  /** Of containerd (`k8s.io`, `default`, …): ids are unique within one. */
  readonly runtimeNamespace?: string;
  /** Of Kubernetes, from the labels that kubelet sets. */
  readonly namespace?: string;
  readonly podName?: string;
  readonly podUid?: string;
  readonly containerName?: string;
  /** Those of `KEPT_LABELS`, and the chosen ones. */
  readonly labels: Readonly<Record<string, string>>;
}

/** What a runtime says, not looked at yet. */
export interface StatedIdentity {
  readonly id: string;
  readonly runtime: ContainerRuntime;
  readonly name?: unknown;
  readonly imageName?: unknown;
  readonly imageId?: unknown;
  readonly labels?: unknown;
  readonly runtimeNamespace?: string;
}

/** Names of labels that somebody wants to have; `*` for all. */
export type ChosenLabels = ReadonlySet<string>;

/**
 * Labels that say whose a container is. No other one is kept unless it is asked for: they are unbounded, and some programs
 * keep secrets in them (Traefik: `traefik.http.middlewares.NAME.basicauth.users`).
 */
const KEPT_LABELS = [
  'io.kubernetes.pod.namespace',
  'io.kubernetes.pod.name',
  'io.kubernetes.pod.uid',
  'io.kubernetes.container.name',
  'com.docker.compose.project',
  'com.docker.compose.service',
  'com.docker.compose.container-number',
  'com.docker.stack.namespace',
  'com.docker.swarm.service.name',
  'com.docker.swarm.task.name',
  'io.podman.compose.project',
  'io.podman.compose.service',
  'nerdctl/name',
  'nerdctl/namespace',
  'com.amazonaws.ecs.cluster',
  'com.amazonaws.ecs.task-definition-family',
  'com.amazonaws.ecs.container-name',
  'com.hashicorp.nomad.job_name',
  'com.hashicorp.nomad.task_name',
] as const;

/** UTF-16 units. The longest name that Kubernetes allows has 253 bytes, of an image reference with digest about 500. */
const MAX_TEXT = 512;
/** UTF-16 units of all labels of a container together, names and values. */
const MAX_LABELS = 8192;
/** Docker's and podman's have 64; containerd allows 76, other clients more. */
const MAX_ID = 128;

const NONE: ChosenLabels = new Set();

/** @returns undefined where the id cannot be one */
export function containerIdentity(
  stated: StatedIdentity,
  chosen: ChosenLabels = NONE,
): ContainerIdentity | undefined {
  const { id, runtime } = stated;
  if (!isContainerId(id)) return undefined;
  const labels = keptLabels(stated.labels, chosen);
  const containerName = labels['io.kubernetes.container.name'];
  const name = boundedText(stated.name) ?? containerName ?? labels['nerdctl/name'];
  const imageName = boundedText(stated.imageName);
  const imageId = boundedText(stated.imageId);
  return {
    id,
    runtime,
    ...(name !== undefined && { name }),
    ...((imageName !== undefined || imageId !== undefined) && {
      image: {
        ...(imageName !== undefined && { name: imageName }),
        ...(imageId !== undefined && { id: imageId }),
      },
    }),
    ...present('runtimeNamespace', stated.runtimeNamespace),
    ...present('namespace', labels['io.kubernetes.pod.namespace']),
    ...present('podName', labels['io.kubernetes.pod.name']),
    ...present('podUid', labels['io.kubernetes.pod.uid']),
    ...present('containerName', containerName),
    labels,
  };
}

/** containerd allows any of these (identifiers.Validate), the others hexadecimal digits only. */
export function isContainerId(id: unknown): id is string {
  return typeof id === 'string' && id.length <= MAX_ID && /^[A-Za-z0-9]+(?:[._-]+[A-Za-z0-9]+)*$/.test(id);
}

/** @returns well-formed and at most 512 units; undefined where it is none or empty */
function boundedText(value: unknown): string | undefined {
  if (typeof value !== 'string' || value === '') return undefined;
  return value.slice(0, MAX_TEXT).toWellFormed();
}

function keptLabels(stated: unknown, chosen: ChosenLabels): Record<string, string> {
  if (typeof stated !== 'object' || stated === null) return {};
  const labels: Record<string, string> = {};
  let room = MAX_LABELS;
  const wanted = chosen.has('*') ? Object.keys(stated) : chosen;
  for (const name of new Set<string>([...KEPT_LABELS, ...wanted])) {
    const value = Object.hasOwn(stated, name)
      ? boundedText((stated as Readonly<Record<string, unknown>>)[name])
      : undefined;
    if (value === undefined) continue;
    room -= name.length + value.length;
    if (room < 0) break;
    labels[name] = value;
  }
  return labels;
}

function present<K extends string>(key: K, value: string | undefined): { readonly [P in K]?: string } {
  return value === undefined ? {} : ({ [key]: value } as { readonly [P in K]: string });
}
