import type { LimitOwner } from '../incident.ts';

/** What a cgroup's path alone says about whose it is. */
export interface CgroupOwner {
  readonly container?: { readonly id: string; readonly runtime?: string };
  /** With dashes. For static pods it is the configuration's hash, not the UID of the API's object. */
  readonly podUid?: string;
  /** As Kubernetes writes it: Guaranteed, Burstable, BestEffort. */
  readonly qos?: string;
  /** The innermost unit of systemd; absent inside containers and pods, where it would be a name made for the container. */
  readonly unit?: string;
  readonly slice?: string;
  /** Whose session or user manager it belongs to. */
  readonly userId?: number;
}

/** A map, because whoever makes a cgroup names it: an object knows a `constructor`, too. */
const RUNTIMES: ReadonlyMap<string, string> = new Map([
  ['cri-containerd', 'containerd'],
  ['containerd', 'containerd'],
  ['nerdctl', 'containerd'],
  ['crio', 'cri-o'],
  ['docker', 'docker'],
  ['libpod', 'podman'],
]);

const SCOPE = /^([a-z-]+)-([0-9a-f]{12,64})\.scope$/;
/** The same by the cgroupfs driver: `libpod-ID`, `crio-ID`. */
const NAMED = /^([a-z-]+)-([0-9a-f]{64})$/;
/** The cgroupfs driver given a systemd path: `kubepods-burstable-podUID.slice:cri-containerd:ID`. */
const COLONS = /^[^:]+:([a-z-]+):([0-9a-f]{12,64})$/;
const BARE_ID = /^[0-9a-f]{64}$/;
/** Fargate names a container by its task's id and a number. */
const ECS_ID = /^[0-9a-f]{32}-\d+$/;
const POD =
  /^(?:.*-)?pod([0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12}|[0-9a-f]{32})(?:\.slice)?$/;
const KUBEPODS = /^(?:kubelet-)?kubepods(?:\.slice)?$/;
const QOS = /^(?:(?:kubelet-)?kubepods-)?(burstable|besteffort)(?:\.slice)?$/;
const UNIT = /\.(?:service|scope|socket|mount|swap|timer|path|target)$/;
const USER_SLICE = /^user-(\d{1,10})\.slice$/;

type Level =
  | { readonly kind: 'container'; readonly id: string; readonly runtime?: string }
  | { readonly kind: 'pod'; readonly uid: string }
  | { readonly kind: 'qos'; readonly name: string }
  | { readonly kind: 'kubepods' | 'slice' | 'unit' | 'other'; readonly name: string };

/** Pure text work over every layout that container runtimes, kubelet and systemd are known to make. */
export function cgroupOwner(path: string): CgroupOwner {
  const levels = levelsOf(path);
  const pod = levels.findLast((level) => level.kind === 'pod');
  // A container above the pod is the node itself, where nodes are containers (kind, minikube).
  const container = levels
    .slice(pod ? levels.indexOf(pod) : 0)
    .findLast((level) => level.kind === 'container');
  const name = (kind: 'qos' | 'unit' | 'slice') =>
    levels.findLast((level): level is Level & { name: string } => level.kind === kind)?.name;
  const qos = name('qos');
  const user = levels.map((level) => ('name' in level ? USER_SLICE.exec(level.name) : null)).find(Boolean);
  const owned = container !== undefined || pod !== undefined;
  const unit = owned ? undefined : name('unit');
  const slice = owned ? undefined : name('slice');
  return {
    ...(container && {
      container: { id: container.id, ...(container.runtime !== undefined && { runtime: container.runtime }) },
    }),
    ...(pod && { podUid: pod.uid }),
    ...(pod && {
      qos: qos === 'burstable' ? 'Burstable' : qos === 'besteffort' ? 'BestEffort' : 'Guaranteed',
    }),
    ...(unit !== undefined && { unit }),
    ...(slice !== undefined && { slice }),
    ...(user && { userId: Number(user[1]) }),
  };
}

/**
 * Whose limit was hit.
 *
 * @param taskCgroup the victim's own cgroup: an unknown kind of cgroup above it is somebody's slice
 * @returns undefined when the path says nothing
 */
export function limitOwner(limitCgroup: string, taskCgroup?: string): LimitOwner | undefined {
  if (limitCgroup === '/' || limitCgroup === '') return 'node';
  const levels = levelsOf(limitCgroup);
  // Below a container everything is the container's, also units of a systemd that runs in it.
  const inner = levels.findLast(({ kind }) => kind === 'container' || kind === 'pod') ?? levels.at(-1);
  switch (inner?.kind) {
    case 'container':
    case 'pod':
    case 'qos':
    case 'slice':
    case 'unit':
      return inner.kind;
    case 'kubepods':
      return 'slice';
    default:
      return taskCgroup?.startsWith(`${limitCgroup}/`) ? 'slice' : undefined;
  }
}

/** The cgroup of all pods of a node. kubelet limits it to what the node has for pods: its allocatable memory. */
export function isOfAllPods(path: string): boolean {
  return levelsOf(path).at(-1)?.kind === 'kubepods';
}

/** Whether `path` is `ancestor` or lies below it. */
export function isWithin(path: string, ancestor: string): boolean {
  return path === ancestor || ancestor === '/' || path.startsWith(`${ancestor}/`);
}

function levelsOf(path: string): Level[] {
  const levels: Level[] = [];
  for (const name of path.split('/')) {
    if (name === '') continue;
    levels.push(...levelOf(name, levels.at(-1)));
  }
  return levels;
}

function levelOf(name: string, above: Level | undefined): Level[] {
  const scoped = SCOPE.exec(name) ?? NAMED.exec(name);
  const runtime = RUNTIMES.get(scoped?.[1] ?? '');
  if (scoped && runtime !== undefined) return [{ kind: 'container', id: scoped[2] as string, runtime }];
  const colons = COLONS.exec(name);
  if (colons) {
    const known = RUNTIMES.get(colons[1] as string);
    const container: Level = {
      kind: 'container',
      id: colons[2] as string,
      ...(known !== undefined && { runtime: known }),
    };
    return [...levelOf(name.slice(0, name.indexOf(':')), above), container];
  }
  const parent = above?.kind === 'other' ? above.name : undefined;
  if (BARE_ID.test(name)) {
    return [{ kind: 'container', id: name, ...(parent === 'docker' && { runtime: 'docker' }) }];
  }
  if (ECS_ID.test(name)) return [{ kind: 'container', id: name }];
  const lxc = name.startsWith('lxc.payload.') ? name.slice('lxc.payload.'.length) : undefined;
  if (lxc) return [{ kind: 'container', id: lxc, runtime: 'lxc' }];
  if (parent === 'lxc') return [{ kind: 'container', id: name, runtime: 'lxc' }];
  const pod = POD.exec(name);
  if (pod) {
    const level: Level = { kind: 'pod', uid: (pod[1] as string).replaceAll('_', '-') };
    const qos = /-(burstable|besteffort)-pod/.exec(name);
    return qos && above?.kind !== 'qos' ? [{ kind: 'qos', name: qos[1] as string }, level] : [level];
  }
  const qos = QOS.exec(name);
  if (qos && (above?.kind === 'kubepods' || name.includes('kubepods-')))
    return [{ kind: 'qos', name: qos[1] as string }];
  if (KUBEPODS.test(name)) return [{ kind: 'kubepods', name }];
  if (name.endsWith('.slice')) return [{ kind: 'slice', name }];
  if (UNIT.test(name)) return [{ kind: 'unit', name }];
  return [{ kind: 'other', name }];
}
