import type { Oom, Task, VictimMemory } from '../incident.ts';

/**
 * What the kernel said about one invocation of its OOM killer, before anybody has looked up who the victims were.
 * Made by `assemble.ts`, from live records and from logs alike.
 */
export interface KillReport {
  /** Sequence number of the first and of the last kernel record that belong to it. For logs: line numbers. */
  readonly firstSequence: number;
  readonly lastSequence: number;
  /** The kernel's own time stamp of the first `Killed process` record, microseconds since boot; undefined in logs without one. */
  readonly timestampUs?: number;
  readonly oom: Oom;
  /** In the order in which the kernel killed them, each process once. Never empty. */
  readonly victims: readonly KernelVictim[];
  readonly memory?: Readonly<Record<string, number>>;
  readonly tasks?: readonly Task[];
  readonly unknown: Readonly<Record<string, string>>;
  readonly raw: readonly string[];
}

export interface KernelVictim {
  /** The process (thread group). Where the kernel named one of its threads instead, see `threadId`. */
  readonly pid: number;
  /** The thread that `Killed process` names when the thread-group leader had already exited. */
  readonly threadId?: number;
  readonly name: string;
  readonly userId?: number;
  /** The victim's own cgroup (`task_memcg`), when the kernel printed it. */
  readonly cgroup?: string;
  readonly memory?: VictimMemory;
  readonly oomScoreAdj?: number;
  /** Sequence number and time stamp of its `Killed process` record. */
  readonly sequence: number;
  readonly timestampUs?: number;
}

/** The OOM killer looked for a victim and found none (all at oom_score_adj -1000). Not an incident. */
export interface NoVictim {
  readonly sequence: number;
  readonly cgroup?: string;
}
