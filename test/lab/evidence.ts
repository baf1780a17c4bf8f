/** What the guest brings back: what really happened, and what the agent said about it. Times are CLOCK_MONOTONIC, ms. */
import type { OomScope } from '../../src/incident.ts';

export interface Evidence {
  readonly scenario: string;
  /** The kernel's release. */
  readonly kernel: string;
  readonly runs: readonly AgentRun[];
  readonly expected: readonly ExpectedIncident[];
  /** The kernel's `Killed process` lines in order; a group's victim is printed twice. */
  readonly killLines: readonly KillLine[];
  /** The command lines that belong to a pid which is not what the kernel means by it. */
  readonly decoys: readonly (readonly string[])[];
  /** Process events cannot work in this scenario, and the agent must say so. */
  readonly blind: boolean;
  /** What went wrong in the guest itself, and waits that were in vain. */
  readonly troubles: readonly string[];
}

export interface AgentRun {
  readonly startedAt: number;
  readonly armedAt: number | undefined;
  readonly out: readonly Line[];
  readonly err: readonly Line[];
  /** Exit code, or the signal that ended it. */
  readonly ended: number | string;
  /** VmRSS at named moments, KiB. */
  readonly memory: Readonly<Record<string, number>>;
}

export interface Line {
  readonly at: number;
  readonly text: string;
}

export interface KillLine {
  readonly at: number;
  readonly pid: number;
}

export interface ExpectedIncident {
  readonly victims: readonly ExpectedVictim[];
  readonly scope: OomScope;
  readonly limitCgroup: string | undefined;
  readonly groupKill: boolean;
  /** `unknowable`: nobody could have read it, so any command line would be wrong. */
  readonly commandLine: 'known' | 'unknowable';
}

export interface ExpectedVictim {
  readonly pid: number;
  readonly args: readonly string[];
  /** Killed while it became that: what it was before is as true, and what it was may not have been readable. */
  readonly before?: readonly string[];
  /** Undefined: the root. */
  readonly cgroup: string | undefined;
  /** Of its wait status: 9 = SIGKILL. */
  readonly signal: number;
  /** The kernel's name of it, where it is a special one; bytes as latin1. */
  readonly name?: string;
}
