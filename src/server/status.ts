/** One part of the agent, for /readyz and the head of the page. */
export interface PartStatus {
  readonly name: string;
  readonly works: boolean;
  /** Why it does not, and the mend. */
  readonly problem?: string;
  readonly cost?: string;
}

export interface AgentStatus {
  /** False: only a restart helps (capture has ended or stands still). */
  readonly alive: boolean;
  /** Whether kills are seen and kept, be it with less detail. */
  readonly ready: boolean;
  readonly parts: readonly PartStatus[];
}
