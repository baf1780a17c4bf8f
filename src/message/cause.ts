import { shown, size, sizeIn, sizeUnit } from '../format.ts';
import type { Incident, LimitOwner, Oom, Trigger } from '../incident.ts';
import { isOfAllPods } from '../kernel/cgroup-path.ts';
import { name, node, whyUnknown } from './names.ts';

/** Whose limit, in words that need no looking up. */
const LIMIT_OF: Readonly<Record<LimitOwner, string>> = {
  container: 'container',
  pod: 'pod',
  qos: 'pod class',
  slice: 'slice',
  unit: 'service',
  node: 'node',
};

export function ranOutAsAWhole(incident: Incident): boolean {
  return incident.oom.scope === 'node';
}

/** What kubelet leaves to the pods of a node. Its cgroup is a slice, or a plain group, by name only. */
function isAllocatable({ limit_cgroup: cgroup }: Oom): boolean {
  return cgroup !== undefined && isOfAllPods(cgroup);
}

/** `container limit`, `pod limit` */
function limitNamed(oom: Oom): string {
  if (isAllocatable(oom)) return "all pods' limit";
  return `${oom.limit_owner ? LIMIT_OF[oom.limit_owner] : 'cgroup'} limit`;
}

/** `container limit 2.00 GiB`, `node-7 ran out of memory`: the shortest answer to "whose limit". */
export function limitInShort(incident: Incident): string {
  const { scope, limit, limit_owner: owner } = incident.oom;
  switch (scope) {
    case 'node':
      return `${node(incident)} ran out of memory`;
    case 'cpuset':
    case 'mempolicy':
      return 'the NUMA nodes it may use were full';
    case 'sysrq':
      return 'by hand (SysRq f)';
    case 'cgroup':
    case 'unknown': {
      if (limit === undefined && owner === undefined) return 'limit unknown';
      return `${limitNamed(incident.oom)} ${limit === undefined ? 'unknown' : size(limit)}`;
    }
  }
}

/**
 * `1.98 GiB of the container's limit of 2.00 GiB (anonymous 1.96, file 0.02)`. Undefined where the machine ran out:
 * then `why` holds the figures.
 */
export function memory(incident: Incident): string | undefined {
  const { scope, usage, limit, limit_owner: owner } = incident.oom;
  if (scope !== 'cgroup' && scope !== 'unknown') return undefined;
  if (usage !== undefined) {
    const whose = isAllocatable(incident.oom) ? "all pods'" : `the ${owner ? LIMIT_OF[owner] : 'cgroup'}'s`;
    const bound = limit === undefined ? 'without a limit of its own' : `of ${whose} limit of ${size(limit)}`;
    return `${size(usage)} ${bound}${composition(incident, usage)}${inSwap(incident)}`;
  }
  const reason = whyUnknown(incident, 'oom.usage', 'oom.limit', 'oom', 'oom.trigger');
  // `why` stands below: one reason for both is said there.
  const isSaid = reason === undefined || reason === whyLimitUnknown(incident);
  const unknown = `usage and limit unknown${isSaid ? '' : `: ${reason}`}`;
  const own = residentOfVictim(incident);
  return own === undefined ? unknown : `${name(incident.process.name)} held ${size(own)}; ${unknown}`;
}

/** Where a limit holds for memory and swap together, as of Docker on cgroups of version 1, the memory alone may be far from it. */
export function inSwap({ oom: { usage = 0, swap_usage: swap } }: Incident): string {
  return isLarge(swap, usage) ? `, and ${size(swap)} in swap` : '';
}

/** `1.98 of 2.00 GiB`, `61 MiB left of 15.6 GiB`; undefined where the kernel did not say. */
export function memoryInShort(incident: Incident): string | undefined {
  const { oom, memory: stat } = incident;
  const total = usableMemory(incident);
  if (oom.scope === 'node' && stat?.free !== undefined)
    return `${size(stat.free)} left${total === undefined ? '' : ` of ${size(total)}`}`;
  if (oom.usage === undefined) return undefined;
  if (oom.limit === undefined) return `${size(oom.usage)}, no limit`;
  const unit = sizeUnit(oom.limit);
  return `${sizeIn(unit, oom.usage)} of ${sizeIn(unit, oom.limit)} ${unit}${inSwap(incident)}`;
}

/** `the container's own`, `the pod's (containers together)` */
export function whoseLimit(incident: Incident): string {
  const { oom } = incident;
  switch (oom.scope) {
    case 'node':
      return "nobody's: the node was full";
    case 'cpuset':
    case 'mempolicy':
      return "nobody's: its NUMA nodes were full";
    case 'sysrq':
      return "nobody's: killed by hand";
    case 'cgroup':
    case 'unknown':
      break;
  }
  if (isAllocatable(oom)) return "all pods' of the node (its allocatable memory)";
  switch (oom.limit_owner) {
    case 'container':
      return "the container's own";
    case 'pod':
      return "the pod's (containers together)";
    case 'qos':
      return "the pod class's (pods together)";
    case 'slice':
      return "the slice's (services together)";
    case 'unit':
      return "the service's own";
    case 'node':
      return "the node's";
    case undefined: {
      if (oom.limit_cgroup !== undefined) return shown(oom.limit_cgroup, 80);
      const own = ownGroup(incident);
      return own === undefined ? 'unknown' : `the limit of ${own}, or one above it`;
    }
  }
}

/**
 * What filled it, in the unit of the usage. Version 1 of cgroups calls anonymous memory `rss` and file memory `cache`, and counts what is in
 * the cgroups below, as the containers of a pod, in `total_` only.
 */
function composition(incident: Incident, usage: number): string {
  const stat = incident.memory;
  if (!stat) return '';
  const unit = sizeUnit(usage);
  const anonymous = stat.anon ?? stat.total_rss ?? stat.rss;
  const file = stat.file ?? stat.total_cache ?? stat.cache;
  const shared = sharedMemory(incident);
  const kernel = stat.kernel ?? stat.slab;
  const parts = [];
  if (anonymous !== undefined) parts.push(`anonymous ${sizeIn(unit, anonymous)}`);
  if (file !== undefined) parts.push(`file ${sizeIn(unit, file)}`);
  if (isLarge(shared, usage)) parts.push(`of that tmpfs and shared memory ${sizeIn(unit, shared)}`);
  if (isLarge(kernel, usage)) parts.push(`kernel ${sizeIn(unit, kernel)}`);
  return parts.length > 0 ? ` (${parts.join(', ')})` : '';
}

function sharedMemory({ memory: stat }: Incident): number | undefined {
  return stat?.total_shmem ?? stat?.shmem;
}

/** Worth a word from a tenth of the whole on. */
function isLarge(bytes: number | undefined, whole: number): bytes is number {
  return bytes !== undefined && bytes > 0 && bytes >= whole / 10;
}

/** `the container hit its own limit; java itself asked for the memory` */
export function why(incident: Incident): string {
  return [whoseShortage(incident), whoLoweredIt(incident), whoFilledIt(incident), whoAsked(incident)]
    .filter((part) => part !== undefined)
    .join('; ');
}

function whoseShortage(incident: Incident): string {
  const { oom, kind } = incident;
  if (kind === 'oom_unseen')
    return "the kernel's count of kills went up, but its record of this one was not seen";
  const hit = kind === 'oom_warning' ? 'is close to' : 'hit';
  switch (oom.scope) {
    case 'node':
      return machine(incident);
    case 'cpuset':
      return 'the NUMA nodes (parts of the memory) that it is bound to by cpuset were full; others may have had room';
    case 'mempolicy':
      return 'the NUMA nodes (parts of the memory) that it asked for by its memory policy were full; others may have had room';
    case 'sysrq':
      return 'somebody ordered the kill by hand (SysRq f); no limit was hit';
    case 'cgroup':
    case 'unknown':
      return limitHit(incident, hit);
  }
}

function limitHit(incident: Incident, hit: string): string {
  const { limit, limit_cgroup: cgroup, limit_owner: owner } = incident.oom;
  const of = limit === undefined ? '' : ` of ${size(limit)}`;
  if (isAllocatable(incident.oom))
    return `all pods of this node together ${hit} their limit${of} (the node's allocatable memory)`;
  switch (owner) {
    case 'container':
      return `the container ${hit} its own limit${setting(incident)}`;
    case 'pod':
      return `the pod ${hit} its limit${of} (its containers together)`;
    case 'qos':
      return `the pods of one class together ${hit} their limit${of} on this node`;
    case 'slice':
      return `the slice ${lastPart(cgroup)} (a group of services) ${hit} its limit${of}${setting(incident)}`;
    case 'unit':
      return `the service ${hit} its own limit${setting(incident)}`;
    case 'node':
      return machine(incident);
    case undefined: {
      if (cgroup !== undefined) return `${cgroupInWords(cgroup)} ${hit} its limit${of}`;
      const reason = whyLimitUnknown(incident);
      const because = reason === undefined ? '' : `: ${reason}`;
      const own = ownGroup(incident);
      return own === undefined
        ? `whose limit it was is unknown${because}`
        : `the limit of ${own} was hit, or one above it; which is unknown${because}`;
    }
  }
}

/** Where that limit is set, by the name that it has there: what to change, or to compare with what the process needs. */
function setting({ oom: { limit_owner: owner }, k8s, container }: Incident): string {
  if (owner === 'unit' || owner === 'slice') return ' (MemoryMax=)';
  if (k8s) return ' (resources.limits.memory)';
  const runtime = container?.runtime;
  return runtime === 'docker' || runtime === 'podman' ? ` (${runtime} --memory)` : '';
}

/** Undefined where it is known whose limit it was. */
function whyLimitUnknown(incident: Incident): string | undefined {
  const { limit_cgroup: cgroup, limit_owner: owner } = incident.oom;
  if (cgroup !== undefined || owner !== undefined) return undefined;
  return whyUnknown(incident, 'oom.limit_cgroup', 'oom.limit_owner', 'oom.scope', 'oom', 'oom.trigger');
}

/** Where a cgroup's limit was hit, it was that of the victim's own, or of one that this is in. */
function ownGroup({ oom, container, k8s, systemd, process }: Incident): string | undefined {
  if (oom.scope !== 'cgroup') return undefined;
  if (container || k8s) return 'the container';
  if (systemd?.unit !== undefined) return 'the service';
  return process.cgroup === undefined ? undefined : cgroupInWords(process.cgroup);
}

function cgroupInWords(path: string): string {
  return `the cgroup (group of processes) ${shown(path, 120)}`;
}

/**
 * The kernel chooses by size and priority among what it may kill, so that the victim may have held little of it. Undefined
 * where that is said already, or the victim held most of a limit that is its own.
 */
export function whoFilledIt(incident: Incident): string | undefined {
  const { scope, usage, swap_usage: swap = 0, limit_owner: owner } = incident.oom;
  if (scope === 'cpuset' || scope === 'mempolicy') return biggestTasks(incident);
  if (scope !== 'cgroup' || owner === 'node') return undefined;
  const own = residentOfVictim(incident);
  const isShared = owner === 'pod' || owner === 'qos' || owner === 'slice';
  // What the victim had in swap is not known, so where there is much, nothing is said of its part.
  const heldLittle = own !== undefined && usage !== undefined && swap < usage / 10 && own < usage / 2;
  const files = sharedMemory(incident);
  const parts = [
    own !== undefined && (isShared || heldLittle)
      ? `${name(incident.process.name)} alone used ${size(own)}`
      : undefined,
    heldLittle && (incident.tasks?.length ?? 0) > 1 ? biggestTasks(incident) : undefined,
    files !== undefined && usage !== undefined && files >= usage / 2
      ? 'most of it is tmpfs or shared memory, whose files stay when a process dies'
      : undefined,
  ].filter((part) => part !== undefined);
  return parts.length > 0 ? parts.join('; ') : undefined;
}

function machine(incident: Incident): string {
  const free = incident.memory?.free;
  const total = usableMemory(incident);
  const doubt = whyUnknown(incident, 'oom.scope');
  const left =
    free === undefined
      ? `${node(incident)} ran out of memory${doubt === undefined ? '' : ` (${doubt})`}`
      : `the machine had ${size(free)} left${total === undefined ? '' : ` of ${size(total)}`}${leftOfSwap(incident)}`;
  return [left, inOnePiece(incident), biggestTasks(incident), beyondProcesses(incident)]
    .filter((part) => part !== undefined)
    .join('; ');
}

function leftOfSwap({ memory: stat }: Incident): string {
  const { free_swap: free, total_swap: total = 0 } = stat ?? {};
  return free === undefined || total === 0 ? '' : `, and ${size(free)} of ${size(total)} of swap`;
}

/** Of a machine: what no process in the table answers for, so that the biggest ones are not all of it. */
export function beyondProcesses(incident: Incident): string | undefined {
  const total = usableMemory(incident);
  const { shmem, slab_unreclaimable: slab } = incident.memory ?? {};
  if (total === undefined) return undefined;
  const parts = [];
  if (isLarge(shmem, total)) parts.push(`tmpfs and shared memory hold ${size(shmem)}`);
  if (isLarge(slab, total)) parts.push(`the kernel itself holds ${size(slab)}`);
  return parts.length > 0 ? parts.join('; ') : undefined;
}

/** Why much can be left: several pages side by side were wanted. */
function inOnePiece(incident: Incident): string | undefined {
  const order = incident.oom.trigger?.order ?? 0;
  const total = usableMemory(incident);
  if (order <= 0 || total === undefined || !isLarge(incident.memory?.free, total)) return undefined;
  return `${2 ** order} pages in one piece were asked for, and what is left may be in smaller ones`;
}

/** The machine's memory without what the kernel reserved at boot; `free` counts nothing of that either. */
function usableMemory({ memory: stat }: Incident): number | undefined {
  return stat?.ram === undefined ? undefined : stat.ram - (stat.reserved ?? 0);
}

/** `biggest: chrome 3.10, postgres 2.20, java 1.90 GiB`: resident memory by the kernel's table of candidates. */
export function biggestTasks({ tasks }: Incident): string | undefined {
  const biggest = [...(tasks ?? [])].sort((a, b) => b.rss - a.rss).slice(0, 3);
  if (biggest.length === 0) return undefined;
  const unit = sizeUnit(biggest[0]!.rss);
  return `biggest: ${biggest.map((task) => `${name(task.name)} ${sizeIn(unit, task.rss)}`).join(', ')} ${unit}`;
}

function whoAsked(incident: Incident): string | undefined {
  const { oom, process, kind } = incident;
  if (kind !== 'oom_kill' || !oom.trigger || oom.scope === 'sysrq' || isOverLimit(incident)) return undefined;
  if (isVictim(oom.trigger, incident)) return `${name(process.name)} itself asked for the memory`;
  if (isOwnThread(incident))
    return `${name(process.name)} itself (its thread ${name(oom.trigger.name)}) asked for the memory`;
  return `${processOrThread(oom.trigger)} asked for the memory`;
}

/** A charge stops at the limit. Whoever lowers it under the usage is named like one who asks for memory. */
export function whoLoweredIt(incident: Incident): string | undefined {
  if (!isOverLimit(incident)) return undefined;
  const { trigger } = incident.oom;
  const by = trigger && !isVictim(trigger, incident) ? ` by ${processOrThread(trigger)}` : '';
  return `the limit was lowered to less than it used, it seems${by}`;
}

/** By more than the kernel lets slip through for what must not fail. */
function isOverLimit({ oom: { scope, usage = 0, limit = Infinity } }: Incident): boolean {
  return scope === 'cgroup' && usage - limit > limit / 10;
}

function isVictim({ pid, name: asker }: Trigger, { process }: Incident): boolean {
  return pid === undefined ? asker === process.name : pid === process.pid;
}

/** The kernel names the thread that asked: its number need not be the pid of any process. */
function processOrThread({ pid, name: asker }: Trigger): string {
  return `${name(asker)}${pid === undefined ? '' : ` (process or thread ${pid})`}`;
}

/** The victim is alone in the cgroup, and the priority of the one who asked, which all threads of a process share, is its own. */
function isOwnThread({ oom: { scope, trigger }, process, victims, tasks = [] }: Incident): boolean {
  return (
    scope === 'cgroup' &&
    tasks.length === 1 &&
    tasks[0]!.pid === process.pid &&
    victims.length === 1 &&
    trigger?.oom_score_adj === tasks[0]!.oom_score_adj
  );
}

/** Bytes that the killed process had in memory. */
export function residentOfVictim(incident: Incident): number | undefined {
  const of = incident.victims[0]?.memory;
  if (of?.anon_rss === undefined) return undefined;
  return of.anon_rss + (of.file_rss ?? 0) + (of.shmem_rss ?? 0);
}

function lastPart(cgroup: string | undefined): string {
  return name(cgroup?.split('/').at(-1) ?? '');
}
