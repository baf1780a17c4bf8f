import type { PartStatus } from '../part-status.ts';

export interface AgentStatus {
  /** False: only a restart helps (capture has ended or stands still). */
  readonly alive: boolean;
  /** Whether kills are seen and kept, be it with less detail. */
  readonly ready: boolean;
  readonly parts: readonly PartStatus[];
}
