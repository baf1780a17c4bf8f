/** What happens to deliveries and is worth a log line and a metric. `sink` is the sink's configured name. */
export interface DeliveryObserver {
  opened(sink: string): void;
  /** Its files were replaced: it is opened with the new ones. */
  renewing(sink: string): void;
  /** The client could not be loaded or set up; it is tried again when something is to be delivered. */
  openFailed(sink: string, reason: string, delayMs: number): void;
  /** `latencyMs`: how long this attempt took. */
  delivered(sink: string, count: number, latencyMs: number): void;
  /** `delayMs`: how long they wait now. */
  retried(sink: string, count: number, reason: string, delayMs: number): void;
  rejected(sink: string, id: string, reason: string): void;
  /** The refused incident could not be written to the dead-letter file. It is still in the history. */
  deadLetterFailed(sink: string, id: string, reason: string): void;
  /** Something of ours failed; the courier waits and goes on. */
  stumbled(sink: string, reason: string, delayMs: number): void;
}
