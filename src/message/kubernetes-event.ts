import { shown, size } from '../format.ts';
import type { Incident } from '../incident.ts';
import { cgroupOwner } from '../kernel/cgroup-path.ts';
import { type InvolvedObject, isNamespace, isObjectName } from '../kubernetes/event.ts';
import { messageOf } from '../message.ts';
import type { Recurrence } from '../sink.ts';
import {
  beyondProcesses,
  biggestTasks,
  inSwap,
  limitInShort,
  memoryInShort,
  ranOutAsAWhole,
  residentOfVictim,
  whoFilledIt,
  whoLoweredIt,
} from './cause.ts';
import { fitCommand } from './fit.ts';
import { name, podAndContainer, workload } from './names.ts';

/** Of an Event's message, in bytes of UTF-8 (core/v1 validation, NoteLengthLimit). */
export const EVENT_MESSAGE_BYTES = 1024;

/** What the Event stands on says the rest: on a Pod its namespace and name, on a Node its name. */
export type EventPlace = 'Pod' | 'Node';

/**
 * One line: `java (pid 4243) in container shop was killed: container limit 2.00 GiB, used 1.98 GiB. Command: java -Xmx2g …`.
 * Whatever does not fit is cut out of the middle of the command line.
 */
export function eventMessage(incident: Incident, recurrence: Recurrence, place: EventPlace): string {
  const { died, before } = messageOf(incident, recurrence, 'utc');
  const facts = [
    `${whom(incident)}${where(incident, place)} ${fate(incident)}: ${cause(incident)}`,
    died.note,
    doubts(incident),
    recurrence.nth > 1 ? before : undefined,
  ].filter((fact) => fact !== undefined);
  const head = `${facts.map(capitalised).join('. ')}.`;
  return died.command === undefined ? cut(head, EVENT_MESSAGE_BYTES) : withCommand(head, died.command);
}

function withCommand(head: string, command: string): string {
  const start = `${head} Command: `;
  const fitted = fitCommand(command, EVENT_MESSAGE_BYTES - Buffer.byteLength(start), Buffer.byteLength);
  return fitted === undefined ? cut(head, EVENT_MESSAGE_BYTES) : start + fitted;
}

/** `java (pid 4243) and 3 more (sh 4240, tail 4251, curl 4260)` */
function whom({ process, victims }: Incident): string {
  const others = victims.slice(1).map((victim) => `${name(victim.process.name)} ${victim.process.pid}`);
  const first = process.pid === 0 ? 'a process' : `${name(process.name)} (pid ${process.pid})`;
  if (others.length === 0) return first;
  const listed = others.slice(0, 3).join(', ') + (others.length > 3 ? ', …' : '');
  return `${first} and ${others.length} more (${listed})`;
}

function where(incident: Incident, place: EventPlace): string {
  const container = incident.k8s?.container?.name ?? incident.container?.name;
  if (place === 'Pod') return container === undefined ? '' : ` in container ${name(container)}`;
  const of = workload(incident);
  const details = podAndContainer(incident);
  return `${of === undefined ? '' : ` of ${of}`}${details === undefined ? '' : ` (${details})`}`;
}

function fate({ kind, victims }: Incident): string {
  if (kind === 'oom_warning') return 'may be killed soon';
  return victims.length > 1 ? 'were killed' : 'was killed';
}

/**
 * `container limit 2.00 GiB, used 1.98 GiB`; where others shared the limit, with what the victim held of it, and who held
 * the most where that was little.
 */
function cause(incident: Incident): string {
  const { usage, limit_owner: owner } = incident.oom;
  const own = residentOfVictim(incident);
  const held = own === undefined || owner === 'container' ? undefined : `it held ${size(own)}`;
  const isNode = ranOutAsAWhole(incident);
  const left = isNode ? memoryInShort(incident) : undefined;
  const used = isNode || usage === undefined ? '' : `, used ${size(usage)}${inSwap(incident)}`;
  return [
    `${limitInShort(incident)}${left === undefined ? '' : ` (${left})`}${used}`,
    ...(isNode
      ? [held, biggestTasks(incident), beyondProcesses(incident)]
      : [whoLoweredIt(incident), whoFilledIt(incident) ?? held]),
  ]
    .filter((part) => part !== undefined)
    .join('; ');
}

/** What the cluster says of it, where the kernel does not. */
function doubts({ witness, statements }: Incident): string | undefined {
  if (witness.includes('kmsg') || witness.includes('log')) return undefined;
  const said = statements?.find(({ agrees }) => agrees);
  return said === undefined
    ? undefined
    : `no kernel record was seen; ${said.by} says ${shown(said.says, 100)}`;
}

function capitalised(sentence: string, index: number): string {
  // The first begins with the name of a process.
  return index === 0 ? sentence : sentence.charAt(0).toUpperCase() + sentence.slice(1);
}

const ELLIPSIS = '…';

/** At most so many bytes of UTF-8, no character cut in two. */
function cut(text: string, bytes: number): string {
  if (Buffer.byteLength(text) <= bytes) return text;
  const room = bytes - Buffer.byteLength(ELLIPSIS);
  const { read } = new TextEncoder().encodeInto(text, new Uint8Array(room));
  return text.slice(0, read) + ELLIPSIS;
}

const CONTAINERS = {
  ordinary: 'spec.containers',
  init: 'spec.initContainers',
  ephemeral: 'spec.ephemeralContainers',
} as const;

/** Undefined where its name is not known, or is none that a pod can have. */
export function involvedPod({ k8s, container, process, oom }: Incident): InvolvedObject | undefined {
  const namespace = k8s?.namespace?.name;
  const name = k8s?.pod?.name;
  if (!isNamespace(namespace) || !isObjectName(name)) return undefined;
  const containerName = k8s?.container?.name ?? container?.name;
  const kind = k8s?.container?.kind ?? 'ordinary';
  const uid = staticPodUid(process.cgroup ?? oom.limit_cgroup) ?? k8s?.pod?.uid;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    namespace,
    name,
    ...(uid !== undefined && { uid }),
    ...(isObjectName(containerName) && { fieldPath: `${CONTAINERS[kind]}{${containerName}}` }),
  };
}

/** Of a static pod kubectl looks for Events under the hash that is in its cgroup's path (annotation kubernetes.io/config.mirror). */
function staticPodUid(cgroup: string | undefined): string | undefined {
  const uid = cgroupOwner(cgroup ?? '').podUid;
  return uid !== undefined && /^[\da-f]{32}$/.test(uid) ? uid : undefined;
}

/** The memory that ran out was not the pod's own. */
export function concernsNode({ oom: { scope, limit_owner: owner } }: Incident): boolean {
  if (scope === 'cgroup' || scope === 'unknown')
    return owner === 'qos' || owner === 'slice' || owner === 'node';
  return true;
}
