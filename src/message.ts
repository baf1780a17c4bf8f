import { clockTime, duration, ordinal, size, type TimeZone } from './format.ts';
import type { Incident, IncidentKind } from './incident.ts';
import { limitInShort, memory, ranOutAsAWhole, residentOfVictim, why } from './message/cause.ts';
import { lastingName, name, node, podAndContainer, whyUnknown, workload } from './message/names.ts';
import type { Recurrence } from './sink.ts';

/**
 * What people read about one incident, in parts: each is one line without control characters. Everything but `command`
 * is short.
 */
export interface Message {
  /** `OOM kill`, `OOM warning` */
  readonly what: string;
  /** `web/shop`, `node-7 ran out of memory`, or the process where nothing else is known */
  readonly subject: string;
  /** The subject, with pod, container and node. */
  readonly who: string;
  readonly died: Died;
  /** Absent where the whole machine ran out. */
  readonly memory?: string;
  readonly why: string;
  /** Is it the first time? */
  readonly before: string;
  /** The node itself ran out, not one workload. */
  readonly nodeWide: boolean;
  /** All of it in one sentence, for a notification or a line of a log. */
  readonly sentence: string;
}

export interface Died {
  /** `java, pid 4243`, with what must be said at once: whose it was, who died with it. */
  readonly process: string;
  /** The others of a group kill: `sh 4240, tail 4251`. */
  readonly others?: string;
  /** The whole command line, still hostile: pass it through `shown` or `printable`. */
  readonly command?: string;
  /** That its container lives on, or why the command line is not known. */
  readonly note?: string;
}

const WHAT: Readonly<Record<IncidentKind, string>> = {
  oom_kill: 'OOM kill',
  oom_warning: 'OOM warning',
  oom_unseen: 'OOM kill (not seen)',
  oom_restart: 'Restart after an OOM kill',
};

export function messageOf(incident: Incident, recurrence: Recurrence, zone: TimeZone): Message {
  const nodeWide = ranOutAsAWhole(incident);
  const place = workload(incident);
  const details = podAndContainer(incident);
  const bracketed = details === undefined ? '' : ` (${details})`;
  // The machine's name alone would say that the machine died.
  const thing = place ?? nameOfVictim(incident);
  const outOfMemory = `${node(incident)} ran out of memory`;
  return {
    what: WHAT[incident.kind],
    subject: nodeWide ? outOfMemory : thing,
    who: nodeWide ? outOfMemory : `${thing}${bracketed} on ${node(incident)}`,
    died: died(incident),
    memory: memory(incident),
    why: why(incident),
    before: before(incident, recurrence, zone),
    nodeWide,
    sentence: sentence(incident, recurrence),
  };
}

function died(incident: Incident): Died {
  const { process, victims } = incident;
  const others = victims.slice(1).map((victim) => `${name(victim.process.name)} ${victim.process.pid}`);
  const known = isNamed(incident);
  const notes = [
    whyUnknown(incident, 'victims'),
    livesOn(incident),
    process.command_line
      ? undefined
      : known
        ? whyNoCommand(incident)
        : whyUnknown(incident, 'process.command_line', 'process'),
  ];
  const who = known ? `${name(process.name)}, pid ${process.pid}` : 'unknown';
  return {
    process: `${who}${ranOutAsAWhole(incident) ? whose(incident) : ''}${withIt(incident)}`,
    others: others.length > 0 ? listed(others, 8) : undefined,
    command: process.command_line || undefined,
    note: notes.filter((note) => note !== undefined).join('; ') || undefined,
  };
}

/** A kill that only a counter or the cluster tells of has no known victim: pid 0. */
function isNamed({ process }: Incident): boolean {
  return process.pid !== 0;
}

function nameOfVictim(incident: Incident): string {
  return isNamed(incident) ? name(incident.process.name) : 'a process';
}

/** Where the machine itself is the subject, the victim's owner has not been named yet: ` of web/shop (pod …, 3.10 GiB)`. */
function whose(incident: Incident): string {
  const place = workload(incident);
  const user = incident.process.user;
  const resident = residentOfVictim(incident);
  const facts = [
    podAndContainer(incident),
    user && `user ${user.name === undefined ? user.id : name(user.name)}`,
    resident === undefined ? undefined : size(resident),
  ].filter((fact) => fact !== undefined);
  return `${place === undefined ? '' : ` of ${place}`}${facts.length > 0 ? ` (${facts.join(', ')})` : ''}`;
}

/** `, and 3 more (the whole container, memory.oom.group)` */
function withIt({ victims, oom, container, k8s }: Incident): string {
  if (victims.length < 2) return '';
  const group = oom.limit_owner === 'unit' ? 'service' : container || k8s ? 'container' : 'group';
  return `, and ${victims.length - 1} more${oom.group_kill ? ` (the whole ${group}, memory.oom.group)` : ''}`;
}

/** Programs outside the container that are the parent of its first process; some share the pod's cgroup. */
const RUNTIMES = /^(containerd-shim|docker-container|conmon|runc|crun)/;

/**
 * The kernel's own table shows the victim's parent, in the same cgroup and not killed: so the victim was not the
 * container's first process, whose end alone Kubernetes notices.
 */
function livesOn({ process, victims, tasks, k8s, container }: Incident): string | undefined {
  if (!k8s && !container) return undefined;
  const dead = new Set(victims.map((victim) => victim.process.pid));
  const parent = tasks?.find((task) => task.pid === process.parent_pid);
  if (!parent || dead.has(parent.pid) || RUNTIMES.test(parent.name)) return undefined;
  return `the container lives on${k8s ? ': its status in Kubernetes does not show this' : ''}`;
}

function whyNoCommand(incident: Incident): string {
  if (incident.process.command_line === '') return 'it had an empty command line';
  const reason = whyUnknown(incident, 'process.command_line', 'process');
  return `full command line unknown${reason === undefined ? '' : `: ${reason}`}`;
}

function before(incident: Incident, { nth, firstTime, lastTime }: Recurrence, zone: TimeZone): string {
  // As the store counts them: by what outlives a restart, else by the process's name on this machine.
  const subject = lastingName(incident) ?? `${name(incident.process.name)} on ${node(incident)}`;
  const what = incident.kind === 'oom_warning' ? 'warning for' : 'kill of';
  if (nth <= 1) return `no earlier ${what} ${subject} is known`;
  const now = Date.parse(incident.time);
  const span = firstTime === undefined ? '' : ` in ${duration(now - Date.parse(firstTime))}`;
  const last =
    lastTime === undefined ? '' : ` (last ${clockTime(Date.parse(lastTime), now, zone, 'minute')})`;
  return `${ordinal(nth)} ${what} ${subject}${span}${last}`;
}

/**
 * `OOM kill: java in web/shop, container limit 2.00 GiB (3rd in 2 h), on node-7`: a phone shows some 60 characters of it, and
 * names of nodes have 45.
 */
function sentence(incident: Incident, { nth, firstTime }: Recurrence): string {
  const others = incident.victims.length - 1;
  const whom = `${nameOfVictim(incident)}${others > 0 ? ` and ${others} more` : ''}`;
  const place = workload(incident);
  const where = place === undefined ? '' : ` in ${place}`;
  const cause = ranOutAsAWhole(incident) ? 'the whole machine ran out of memory' : limitInShort(incident);
  const span =
    firstTime === undefined ? '' : ` in ${duration(Date.parse(incident.time) - Date.parse(firstTime), 1)}`;
  const again = nth > 1 ? ` (${ordinal(nth)}${span})` : '';
  return `${WHAT[incident.kind]}: ${whom}${where}, ${cause}${again}, on ${node(incident)}`;
}

/** `37 OOM kills in 12 s: 30 in web/shop, 5 in web/cart, 2 in nginx.service; on node-7`: one line for a storm. */
export function stormSentence(incidents: readonly Incident[]): string {
  const times = incidents.map((incident) => Date.parse(incident.time));
  const span = duration(Math.max(...times) - Math.min(...times));
  const counts = new Map<string, number>();
  for (const incident of incidents) {
    const place = workload(incident);
    const where = place === undefined ? `of ${nameOfVictim(incident)}` : `in ${place}`;
    counts.set(where, (counts.get(where) ?? 0) + 1);
  }
  const places = [...counts].sort((a, b) => b[1] - a[1]).map(([where, count]) => `${count} ${where}`);
  return `${incidents.length} OOM kills in ${span}: ${listed(places, 5)}; on ${nodesOf(incidents)}`;
}

/** `node-7`; where a whole cluster is watched, `node-7, node-9, node-3 and 2 more`. */
export function nodesOf(incidents: readonly Incident[]): string {
  return listed([...new Set(incidents.map(node))], 3);
}

function listed(items: readonly string[], atMost: number): string {
  const rest = items.length - atMost;
  return rest > 0 ? `${items.slice(0, atMost).join(', ')} and ${rest} more` : items.join(', ');
}
