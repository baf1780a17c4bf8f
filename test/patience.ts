/**
 * How long a test waits for what must come. Nothing that works needs a tenth of it, however slow the machine and whatever else it does: it
 * only ends what hangs.
 */
export const PATIENCE_MS = 300_000;
