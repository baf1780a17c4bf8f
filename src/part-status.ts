/** One part of the agent, for /readyz and the head of the page. */
export interface PartStatus {
  readonly name: string;
  readonly works: boolean;
  /** Why it does not, and the mend. */
  readonly problem?: string;
  /** What is missing meanwhile. */
  readonly cost?: string;
}
