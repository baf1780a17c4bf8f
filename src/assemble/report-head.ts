import type { Oom, OomScope, Trigger } from '../incident.ts';
import { limitOwner } from '../kernel/cgroup-path.ts';
import type { KillPrefix, Numbers, Observation } from '../kernel/observation.ts';

export type Seen<Kind extends Observation['kind']> = Extract<Observation, { kind: Kind }>;

const MOST_STATISTICS = 256;

/** What the kernel prints before a kill: who asked, whose limit, what fills the memory, and whom it chose. */
export class ReportHead {
  #header: Seen<'header'> | undefined;
  #isAskedFor = false;
  #cpu: Seen<'cpu'> | undefined;
  #choice: Seen<'choice'> | undefined;
  #oldChoice: Seen<'old-choice'> | undefined;
  #oldCgroups: Seen<'old-cgroups'> | undefined;
  #statisticsOf: string | undefined;
  /** Cgroups whose statistics are in `#bytes`. */
  readonly #summed = new Set<string>();
  #nodeStatistics = false;
  #pageSize: number | undefined;
  readonly #usage = new Map<Seen<'usage'>['of'], Seen<'usage'>>();
  readonly #bytes = new Map<string, number>();
  readonly #pages = new Map<string, number>();

  get header(): Seen<'header'> | undefined {
    return this.#header;
  }

  get choice(): Seen<'choice'> | undefined {
    return this.#choice;
  }

  get oldChoice(): Seen<'old-choice'> | undefined {
    return this.#oldChoice;
  }

  /** The kernel's release. */
  get kernel(): string | undefined {
    return this.#cpu?.kernel;
  }

  /** Bytes, where the kernel printed its lists of free memory. */
  get pageSize(): number | undefined {
    return this.#pageSize;
  }

  /** The cgroup that ran out of memory. */
  get limitCgroup(): string | undefined {
    return this.#choice?.limitCgroup ?? this.#oldCgroups?.limitCgroup ?? this.#statisticsOf;
  }

  /** The cgroup of the chosen process. */
  get taskCgroup(): string | undefined {
    return this.#choice?.cgroup ?? this.#oldCgroups?.cgroup;
  }

  /**
   * Where the child lives that dies in place of the chosen process, or below: before 5.1 both come from below the limit.
   * Undefined where that is above the chosen one's own.
   */
  get childCgroup(): string | undefined {
    const isOwn = this.#oldChoice !== undefined && this.taskCgroup === this.limitCgroup;
    return isOwn ? this.taskCgroup : undefined;
  }

  /** @returns false when it is not part of the head, or is another dump's that came in between */
  take(seen: Observation): boolean {
    switch (seen.kind) {
      case 'header':
        this.#header = seen;
        return true;
      case 'sysrq':
        this.#isAskedFor = true;
        return false;
      case 'cpu':
        if (this.#cpu !== undefined) return false;
        this.#cpu = seen;
        return true;
      case 'usage':
        if (this.#usage.has(seen.of)) return false;
        this.#usage.set(seen.of, seen);
        return true;
      case 'cgroup-statistics':
        this.#statisticsOf ??= seen.cgroup;
        if (this.#summed.has(seen.cgroup) || this.#summed.size >= MOST_STATISTICS) return false;
        this.#summed.add(seen.cgroup);
        // On cgroup v1 each cgroup below the limit has a line of its own, without what is below it.
        for (const [name, value] of seen.values)
          this.#bytes.set(name, Math.min((this.#bytes.get(name) ?? 0) + value, Number.MAX_SAFE_INTEGER));
        return true;
      case 'statistics':
        return this.#statisticsOf !== undefined && addNew(this.#bytes, seen.values);
      case 'node-statistics':
        this.#nodeStatistics = true;
        return true;
      case 'node-pages':
        return this.#nodeStatistics && addNew(this.#pages, seen.values);
      case 'node-bytes':
        return this.#nodeStatistics && addNew(this.#bytes, seen.values);
      case 'page-size':
        if (!this.#nodeStatistics) return false;
        this.#pageSize ??= seen.bytes;
        return true;
      case 'choice':
        this.#choice = seen;
        return true;
      case 'old-choice':
        this.#oldChoice = seen;
        return true;
      case 'old-cgroups':
        this.#oldCgroups = seen;
        return true;
      default:
        return false;
    }
  }

  memory(pageSize: number): Record<string, number> {
    const memory: Record<string, number> = {};
    for (const [name, bytes] of this.#bytes) memory[name] = bytes;
    for (const [name, pages] of this.#pages)
      memory[name] = Math.min(pages * pageSize, Number.MAX_SAFE_INTEGER);
    return memory;
  }

  /**
   * @param prefix the words before the kill, which tell the scope when nothing else does
   * @param unknown takes the reasons for what is missing
   */
  oom(prefix: KillPrefix | undefined, groupKill: boolean, unknown: Record<string, string>): Oom {
    const scope = this.#scope(prefix, unknown);
    const limitCgroup = scope === 'cgroup' ? this.limitCgroup : undefined;
    const owner = limitCgroup === undefined ? undefined : limitOwner(limitCgroup, this.taskCgroup);
    const { usage, limit, failcnt } = this.#usage.get('memory') ?? {};
    const swap = this.#swap();
    const trigger = this.#trigger();
    if (trigger === undefined)
      unknown['oom.trigger'] =
        this.#choice !== undefined || this.#usage.size > 0
          ? 'the first records of the report are missing'
          : 'the kernel explains at most ten kills in 5 s, and only named this one';
    return {
      scope,
      ...(this.#choice && { constraint: this.#choice.constraint }),
      ...(limitCgroup !== undefined && { limit_cgroup: limitCgroup }),
      ...(scope === 'node' ? { limit_owner: 'node' } : owner !== undefined && { limit_owner: owner }),
      ...(limit !== undefined && { limit }),
      ...(usage !== undefined && { usage }),
      ...(failcnt !== undefined && { failcnt }),
      ...(swap?.limit !== undefined && { swap_limit: swap.limit }),
      ...(swap?.usage !== undefined && { swap_usage: swap.usage }),
      group_kill: groupKill,
      ...(trigger && { trigger }),
      header_seen: trigger !== undefined,
    };
  }

  #scope(prefix: KillPrefix | undefined, unknown: Record<string, string>): OomScope {
    if (this.#header?.order === -1 || this.#isAskedFor) return 'sysrq';
    // openEuler 4.19 names no cgroup in its choice, and CONSTRAINT_NONE.
    if (this.#choice?.limitCgroup !== undefined || this.#oldCgroups !== undefined || prefix === 'cgroup')
      return 'cgroup';
    switch (this.#choice?.constraint) {
      case undefined:
        break;
      case 'CONSTRAINT_NONE':
        return 'node';
      case 'CONSTRAINT_CPUSET':
        return 'cpuset';
      case 'CONSTRAINT_MEMORY_POLICY':
        return 'mempolicy';
      case 'CONSTRAINT_MEMCG':
        return 'cgroup';
      default:
        return 'unknown';
    }
    if (prefix === 'cpuset') return 'cpuset';
    if (prefix === 'memory-policy') return 'mempolicy';
    if (prefix === undefined) {
      unknown['oom.scope'] = 'the kernel printed the kill without its reason';
      return 'unknown';
    }
    unknown['oom.scope'] =
      'from the words "Out of memory" alone: it may also be a cpuset or a memory policy that ran out';
    return 'node';
  }

  /** cgroup v1 prints memory and swap together; what is not memory is swap. */
  #swap(): { limit?: number; usage?: number } | undefined {
    const swap = this.#usage.get('swap');
    const both = this.#usage.get('memory+swap');
    const memory = this.#usage.get('memory');
    if (swap !== undefined || both === undefined || memory === undefined) return swap;
    const rest = (whole: number | undefined, part: number | undefined) =>
      whole === undefined || part === undefined ? undefined : Math.max(0, whole - part);
    const limit = rest(both.limit, memory.limit);
    const usage = rest(both.usage, memory.usage);
    return { ...(limit !== undefined && { limit }), ...(usage !== undefined && { usage }) };
  }

  #trigger(): Trigger | undefined {
    const header = this.#header;
    if (header === undefined) return undefined;
    return {
      ...(this.#cpu && { pid: this.#cpu.pid }),
      name: header.name,
      gfp_mask: header.gfpMask,
      ...(header.order !== undefined && { order: header.order }),
      ...(header.oomScoreAdj !== undefined && { oom_score_adj: header.oomScoreAdj }),
    };
  }
}

/** The first value of a name counts: a second dump that is printed meanwhile is not ours. */
function addNew(to: Map<string, number>, values: Numbers): boolean {
  if (to.size >= MOST_STATISTICS) return false;
  for (const [name, value] of values) if (!to.has(name)) to.set(name, value);
  return true;
}
