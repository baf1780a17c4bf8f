import type { VictimMemory } from '../incident.ts';

/** The words before `Killed process`: which limit was hit, as far as a kill without its header tells. */
export type KillPrefix = 'cgroup' | 'node' | 'allocating-task' | 'cpuset' | 'memory-policy';

/** What one line of the kernel's log says about the OOM killer. */
export type Observation =
  | {
      readonly kind: 'header';
      readonly name: string;
      readonly gfpMask: string;
      readonly order?: number;
      readonly oomScoreAdj?: number;
    }
  /** Before 4.5: somebody asks for a kill by sysrq-f. */
  | { readonly kind: 'sysrq' }
  | { readonly kind: 'cpu'; readonly pid: number; readonly kernel?: string }
  | {
      readonly kind: 'usage';
      readonly of: 'memory' | 'swap' | 'memory+swap' | 'kmem';
      readonly usage?: number;
      readonly limit?: number;
      readonly failcnt?: number;
    }
  /** Before 5.0, and on cgroup v1 the statistics of each cgroup below the limit come in a line of their own. */
  | { readonly kind: 'cgroup-statistics'; readonly cgroup: string; readonly values: Numbers }
  | { readonly kind: 'statistics'; readonly values: Numbers }
  | { readonly kind: 'node-statistics' }
  | { readonly kind: 'node-pages'; readonly values: Numbers }
  | { readonly kind: 'node-bytes'; readonly values: Numbers }
  | { readonly kind: 'page-size'; readonly bytes: number }
  | { readonly kind: 'task-columns'; readonly columns: readonly string[] }
  | { readonly kind: 'task-row'; readonly text: string }
  /** The `oom-kill:` line. */
  | {
      readonly kind: 'choice';
      readonly constraint: string;
      /** The cgroup whose limit was hit; absent with `global_oom`. */
      readonly limitCgroup?: string;
      /** Absent without memory cgroups. */
      readonly cgroup?: string;
      readonly name: string;
      readonly pid: number;
      readonly userId?: number;
    }
  /** Before 5.0: who was chosen. Who dies is often its child. */
  | {
      readonly kind: 'old-choice';
      readonly prefix: KillPrefix;
      readonly pid: number;
      readonly name: string;
      /** The kernel is so old that the kill can come without sizes (`observeBareKill`). */
      readonly bareKill?: true;
    }
  /** Before 5.0: `Task in A killed as a result of limit of B`. */
  | { readonly kind: 'old-cgroups'; readonly cgroup: string; readonly limitCgroup: string }
  | {
      readonly kind: 'kill';
      readonly prefix?: KillPrefix;
      readonly pid: number;
      readonly name: string;
      readonly userId?: number;
      readonly memory: VictimMemory;
      readonly oomScoreAdj?: number;
    }
  /** Killed with the last victim, because it has the same memory or is as big. */
  | { readonly kind: 'together'; readonly pid: number; readonly name: string }
  /** The memory of a killed process is freed, often before it is gone (since 4.6). */
  | { readonly kind: 'reaped'; readonly pid: number; readonly name: string }
  | { readonly kind: 'group'; readonly cgroup: string }
  | { readonly kind: 'already-exiting'; readonly pid: number }
  | { readonly kind: 'no-victim' }
  | { readonly kind: 'suppressed' };

/** Names as the kernel prints them, and their values; in the kernel's order. */
export type Numbers = readonly (readonly [name: string, value: number])[];
