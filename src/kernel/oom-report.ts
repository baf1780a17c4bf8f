/**
 * The lines of the kernel's OOM killer as typed observations (mm/oom_kill.c, mm/memcontrol.c, mm/show_mem.c; 2.6.16 to 7.x).
 *
 * Names of processes are hostile: any 15 bytes. So each line is anchored at both ends, and what follows a name is read
 * from the right. Bytes are bytes. A number that is too large to be exact stands for "unlimited" or nonsense: absent.
 */
import type { KillPrefix, Observation } from './observation.ts';
import {
  boundedName,
  boundedPath,
  integer,
  isTooLong,
  kiB,
  LONGEST_NAME,
  pidOf,
  score,
} from './oom-numbers.ts';
import { cgroupStatistics, freeLists, nodeNumber, nodePages, numbers, statistics } from './oom-statistics.ts';

export interface TaskRow {
  /** The thread that the row is about; not `tgid` when the first thread has exited. */
  readonly pid: number;
  readonly tgid: number;
  readonly name: string;
  readonly totalVmPages: number;
  readonly rssPages: number;
  readonly swapPages: number;
  readonly oomScoreAdj: number;
}

const SPACE = 0x20;
/** A record of the kernel holds at most 8 KiB; a log can hold anything. */
const LONGEST_RECORD = 16 << 10;

const HEADER =
  /^(.*) invoked oom-killer: gfp_mask=(0x[0-9a-f]+(?:\([^)]*\))?)(?:, nodemask=[^=]*)?, +order=(-?\d+)(?:, oom(?:_|kill)adj=-?\d+)?(?:, oom_score_adj=(-?\d+))?$/s;
const CPU = /^CPU: \d+ (?:UID: \d+ )?PID: (\d+) Comm: (.*)$/s;
/** Before 3.10. A process can be named like its start, so the words after the name have to be there, too. */
const OLD_CPU = /^Pid: (\d+), comm: (.* (?:Not t|T)ainted.*)$/s;
const RELEASE = /(?:Not tainted|Tainted: .*?) (\d+\.\d+\S*) /;
/** A kernel that is built without cpusets, or without memory cgroups, prints nothing of them. */
const CHOICE =
  /^oom-kill:constraint=(\w+),nodemask=(?:\(null\)|[\d,-]*)(?:,cpuset=.*?,mems_allowed=[\d,-]*)?(,global_oom|,oom_memcg=.*?|)$/s;
const CHOICE_END = /,pid=(\d+),uid=(-?\d+)$/;
const TASK_MEMCG = ',task_memcg=';
const TASK = ',task=';
const PREFIXES: Readonly<Record<string, KillPrefix>> = {
  'Memory cgroup out of memory': 'cgroup',
  'Out of memory': 'node',
  'Out of memory (oom_kill_allocating_task)': 'allocating-task',
  // Before 2.6.36, and before 2.6.18.
  'No available memory in cpuset': 'cpuset',
  'No available memory (MPOL_BIND)': 'memory-policy',
  'Out of Memory': 'node',
};
const PREFIX =
  '(Memory cgroup out of memory|Out of [Mm]emory(?: \\(oom_kill_allocating_task\\))?|No available memory (?:in cpuset|\\(MPOL_BIND\\)))';
const OLD_CHOICE = new RegExp(
  `^${PREFIX}: [Kk]ill process (\\d+) \\((.*)\\) score \\d+ (?:or (?:sacrifice|(a)) child|and children\\.)$`,
  's',
);
const KILL = new RegExp(
  `^(?:${PREFIX}: )?Killed process (\\d+),?(?: UID (\\d+),)? \\((.*)\\),?(?: UID (\\d+),)?(?: (?:in )?VE "[^"]*")? ((?:total-vm|vsz):\\d+kB[^()]*)$`,
  's',
);
/** Before 2.6.28 it is a sentence, without sizes. */
const SENTENCE = new RegExp(`^${PREFIX}: Killed process (\\d+),?(?: UID (\\d+),)? \\((.*)\\)\\.$`, 's');
/** Where its sizes would begin it ends, or is cut: journalctl shows that by a last character. */
const BARE_KILL = new RegExp(
  `^(?:${PREFIX}: )?Killed process (\\d+),?(?: UID (\\d+),)? \\((.*)\\)(?: (?:t[-a-z]*|[a-z]+-[a-z]+:[^()]*)?)?[>…]?$`,
  's',
);
const EXITING = new RegExp(
  `^(?:${PREFIX}: )?OOM victim (\\d+) \\(.*\\) is already exiting\\. Skip killing the task$`,
  's',
);
/** OpenVZ 6. A user beancounter holds the memory of a container, as a cgroup does. */
const OPENVZ_HEADER = /^\d+ \((.*)\) invoked oom-killer in ub -?\d+ generation \d+ gfp (0x[0-9a-f]+)$/s;
const OPENVZ_KILL =
  /^(?:(Memory cgroup out of memory|Out of memory(?: \(oom_kill_allocating_task\))?)|Out of memory in (?:mem cgroup inside )?UB \d+): OOM killed process (\d+) \((.*)\) score -?\d+ vm:(\d+)kB, rss:\d+kB, swap:(\d+)kB$/s;
/**
 * Before 4.8: processes that share the victim's memory die with it. Virtuozzo 7 and later: others die with it that are as
 * big, where kills follow each other fast.
 */
const TOGETHER =
  /^(?:Kill process (\d+) \((.*)\)(?: in VE "[^"]*")? sharing same memory|Rage kill process (\d+) \((.*)\))$/s;
const REAPED = /^oom_reaper: reaped process (\d+) \((.*)\), now anon-rss:\d+kB\b/s;
const GROUP = /^Tasks in (\/.*) are going to be killed due to memory\.oom\.group set$/s;
const OLD_CGROUPS = /^Task in (\/.*) killed as a result of limit of (\/(?:.*[^ ])?) *$/s;

/** @returns undefined for a line that the OOM killer did not write */
export function observe(text: string): Observation | undefined {
  if (text.length > LONGEST_RECORD) return undefined;
  const seen = observeByStart(text) ?? (text.includes(' invoked oom-killer') ? header(text) : undefined);
  // A terminal fills its lines with blanks, and they are copied along.
  return seen === undefined && text.charCodeAt(text.length - 1) === SPACE ? observe(text.trimEnd()) : seen;
}

/** The first characters decide, so that other lines cost next to nothing. */
function observeByStart(text: string): Observation | undefined {
  switch (text.charCodeAt(0)) {
    case 0x5b: // [
      return table(text);
    case 0x41: // A: before 2.6.28
      return text.startsWith('Active:') ? nodePages(text.toLowerCase()) : undefined;
    case 0x43: // C
      return text.startsWith('CPU: ') ? cpu(text) : undefined;
    case 0x4b: // K
    case 0x4d: // M
    case 0x4f: // O
    case 0x52: // R
      if (/^Mem-[Ii]nfo:$/.test(text)) return { kind: 'node-statistics' };
      return text.startsWith('Memory cgroup stats for ') ? cgroupStatistics(text) : kill(text);
    case 0x44: // D
    case 0x4e: // N
      return text.startsWith('No ') ? kill(text) : freeLists(text);
    case 0x54: // T
      return text.startsWith('Tasks in ') || text.startsWith('Task in ')
        ? cgroups(text)
        : text.startsWith('Total swap')
          ? nodeNumber(text)
          : undefined;
    case 0x53: // S
      return /^SysRq : Manual OOM execution$/.test(text) ? { kind: 'sysrq' } : undefined;
    case 0x50: // P
      return text.startsWith('Pid: ') ? cpu(text) : undefined;
    case 0x46: // F
      return text.startsWith('Free swap') ? nodeNumber(text) : undefined;
    case 0x6f: // o
      if (text.startsWith('oom-kill:')) return choice(text);
      if (text.startsWith('oom_reaper: ')) return reaped(text);
      if (/^oom_kill_process: \d+ callbacks suppressed$/.test(text)) return { kind: 'suppressed' };
      return statistics(text);
    default:
      return numbers(text);
  }
}

function header(text: string): Observation | undefined {
  const found = HEADER.exec(text) ?? OPENVZ_HEADER.exec(text);
  if (!found) return undefined;
  const order = integer(found[3]);
  const oomScoreAdj = score(found[4]);
  return {
    kind: 'header',
    name: boundedName(found[1]),
    gfpMask: found[2] as string,
    ...(order !== undefined && { order }),
    ...(oomScoreAdj !== undefined && { oomScoreAdj }),
  };
}

function cpu(text: string): Observation | undefined {
  const found = CPU.exec(text) ?? OLD_CPU.exec(text);
  const pid = pidOf(found?.[1]);
  if (!found || pid === undefined) return undefined;
  const kernel = RELEASE.exec(found[2] as string)?.[1];
  return { kind: 'cpu', pid, ...(kernel !== undefined && { kernel: kernel.slice(0, LONGEST_NAME) }) };
}

function kill(text: string): Observation | undefined {
  if (text === 'Out of memory and no killable processes...') return { kind: 'no-victim' };
  const killed = KILL.exec(text);
  if (killed) {
    const pid = pidOf(killed[2]);
    if (pid === undefined) return undefined;
    const rest = killed[6] as string;
    const sizes = new Map<string, string>();
    // A number without its unit is cut short.
    for (const [, key, value] of rest.matchAll(/([a-z-]+):(\d+)kB/g))
      sizes.set(key as string, value as string);
    const userId = integer(/\bUID:(\d+) /.exec(rest)?.[1] ?? killed[3] ?? killed[5]);
    const oomScoreAdj = score(/\boom_score_adj:(-?\d+)(?!\S)/.exec(rest)?.[1]);
    return {
      kind: 'kill',
      ...prefixOf(killed[1]),
      pid,
      name: boundedName(killed[4]),
      ...(userId !== undefined && { userId }),
      memory: definedOnly({
        total_vm: kiB(sizes.get('total-vm') ?? sizes.get('vsz')),
        anon_rss: kiB(sizes.get('anon-rss')),
        file_rss: kiB(sizes.get('file-rss')),
        shmem_rss: kiB(sizes.get('shmem-rss')),
        page_tables: kiB(sizes.get('pgtables')),
      }),
      ...(oomScoreAdj !== undefined && { oomScoreAdj }),
    };
  }
  const sentence = SENTENCE.exec(text);
  if (sentence) return withoutSizes(sentence);
  const chosen = OLD_CHOICE.exec(text);
  if (chosen) {
    const pid = pidOf(chosen[2]);
    if (pid === undefined) return undefined;
    return {
      kind: 'old-choice',
      prefix: PREFIXES[chosen[1] as string] as KillPrefix,
      pid,
      name: boundedName(chosen[3]),
      ...(chosen[4] !== undefined && { bareKill: true }),
    };
  }
  const openVz = OPENVZ_KILL.exec(text);
  const together = TOGETHER.exec(text);
  const pid = pidOf(openVz?.[2] ?? together?.[1] ?? together?.[3] ?? EXITING.exec(text)?.[2]);
  if (pid === undefined) return undefined;
  if (openVz)
    return {
      kind: 'kill',
      prefix: openVz[1] === undefined ? 'cgroup' : (PREFIXES[openVz[1]] as KillPrefix),
      pid,
      name: boundedName(openVz[3]),
      memory: definedOnly({ total_vm: kiB(openVz[4]), swap: kiB(openVz[5]) }),
    };
  if (together) return { kind: 'together', pid, name: boundedName(together[2] ?? together[4]) };
  return { kind: 'already-exiting', pid };
}

/**
 * A kill without any size, as kernels before 2.6.34 print it. Of newer ones it is the start of one whose name is in pieces, or
 * which is cut short.
 */
export function observeBareKill(text: string): Observation | undefined {
  const found = BARE_KILL.exec(text);
  return found ? withoutSizes(found) : undefined;
}

function withoutSizes([, prefix, id, user, name]: RegExpExecArray): Observation | undefined {
  const pid = pidOf(id);
  const userId = integer(user);
  return pid === undefined
    ? undefined
    : {
        kind: 'kill',
        ...prefixOf(prefix),
        pid,
        name: boundedName(name),
        ...(userId !== undefined && { userId }),
        memory: {},
      };
}

function reaped(text: string): Observation | undefined {
  const found = REAPED.exec(text);
  const pid = pidOf(found?.[1]);
  return pid === undefined ? undefined : { kind: 'reaped', pid, name: boundedName(found?.[2]) };
}

function prefixOf(words: string | undefined): { readonly prefix?: KillPrefix } {
  return words === undefined ? {} : { prefix: PREFIXES[words] as KillPrefix };
}

function cgroups(text: string): Observation | undefined {
  const group = GROUP.exec(text);
  if (group) return { kind: 'group', cgroup: boundedPath(group[1]) };
  const old = OLD_CGROUPS.exec(text);
  return old
    ? { kind: 'old-cgroups', cgroup: boundedPath(old[1]), limitCgroup: boundedPath(old[2]) }
    : undefined;
}

/**
 * `oom-kill:constraint=…,task_memcg=PATH,task=NAME,pid=N,uid=N`, without memory cgroups `…,task=NAME,pid=N,uid=N`. A name can hold `,task=` or `,pid=1,uid=0`, and with
 * delegation a path can hold anything: of several readings the one whose name fits into 15 bytes and whose victim lies
 * below the limit is taken.
 */
function choice(text: string): Observation | undefined {
  const end = CHOICE_END.exec(text);
  const pid = pidOf(end?.[1]);
  if (!end || pid === undefined) return undefined;
  const userId = integer(end[2]);
  for (let task = text.indexOf(TASK); task >= 0; task = text.indexOf(TASK, task + 1)) {
    const named = text.slice(task + TASK.length, end.index);
    if (isTooLong(named) && text.indexOf(TASK, task + 1) >= 0) continue;
    const memcg = text.lastIndexOf(TASK_MEMCG, task);
    const start = CHOICE.exec(text.slice(0, memcg < 0 ? task : memcg));
    if (!start) continue;
    const limit = (start[2] as string).startsWith(',oom_memcg=')
      ? boundedPath((start[2] as string).slice(',oom_memcg='.length))
      : undefined;
    return {
      kind: 'choice',
      constraint: (start[1] as string).slice(0, LONGEST_NAME),
      ...(limit !== undefined && { limitCgroup: limit }),
      ...(memcg >= 0 && { cgroup: boundedPath(text.slice(memcg + TASK_MEMCG.length, task)) }),
      name: boundedName(named),
      pid,
      ...(userId !== undefined && userId >= 0 && { userId }),
    };
  }
  return undefined;
}

function table(text: string): Observation | undefined {
  if (/^\[ *\d+\] +-?\d+ +\d+ /.test(text)) return { kind: 'task-row', text };
  const columns = /^\[ *pid *\] +(uid +tgid .*name)$/.exec(text)?.[1]?.split(/ +/);
  return columns && { kind: 'task-columns', columns };
}

/** @param columns those of the table's head, without the thread's id; their order and number differ between kernels */
export function parseTaskRow(text: string, columns: readonly string[]): TaskRow | undefined {
  const start = /^\[ *(\d+)\]/.exec(text);
  let at = start?.[0].length ?? 0;
  let tgid: number | undefined;
  let totalVmPages: number | undefined;
  let rssPages: number | undefined;
  let swapPages: number | undefined;
  let oomScoreAdj: number | undefined;
  for (const column of columns.slice(0, -1)) {
    while (text.charCodeAt(at) === SPACE) at += 1;
    const end = text.indexOf(' ', at);
    if (end < 0) return undefined;
    switch (column) {
      case 'tgid':
        tgid = pidOf(text.slice(at, end));
        break;
      case 'total_vm':
        totalVmPages = integer(text.slice(at, end));
        break;
      case 'rss':
        rssPages = integer(text.slice(at, end));
        break;
      case 'swapents':
        swapPages = integer(text.slice(at, end));
        break;
      case 'oom_score_adj':
        oomScoreAdj = score(text.slice(at, end));
        break;
    }
    at = end;
  }
  const pid = pidOf(start?.[1]);
  if (pid === undefined || tgid === undefined || totalVmPages === undefined || rssPages === undefined)
    return undefined;
  return {
    pid,
    tgid,
    name: boundedName(text.slice(at + 1)),
    totalVmPages,
    rssPages,
    swapPages: swapPages ?? 0,
    oomScoreAdj: oomScoreAdj ?? 0,
  };
}

function definedOnly<T extends object>(object: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>;
  };
}
