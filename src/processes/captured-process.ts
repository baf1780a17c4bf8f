import type { CaptureSource } from '../incident.ts';

/**
 * What is known of a process from before its death, as it leaves the process table: secrets are already taken out.
 */
export interface CapturedProcess {
  readonly pid: number;
  readonly parentPid?: number;
  /** Absent when nobody could read it in time; then `source` is `kernel-comm`. */
  readonly args?: readonly string[];
  readonly executable?: string;
  readonly cgroup?: string;
  readonly userId?: number;
  /** Milliseconds since the epoch. */
  readonly startedAt?: number;
  readonly source: CaptureSource;
  /** Milliseconds since the epoch at which `args` was read. */
  readonly capturedAt?: number;
  readonly truncated: boolean;
  readonly redacted: number;
  /** Why `args` is absent, for people. */
  readonly missing?: string;
}
