import { Counters } from '../../src/capture/counters.ts';
import type { CaptureOptions } from '../../src/capture/protocol.ts';
import { DEFAULT_PATHS, readHost } from '../../src/host.ts';

/** What the capture thread is given, for parts of it that a test drives by itself. */
export function captureOptions(own: Partial<CaptureOptions>): CaptureOptions {
  const shared = () => new Int32Array(new SharedArrayBuffer(4));
  return {
    paths: DEFAULT_PATHS,
    host: readHost(DEFAULT_PATHS),
    logFile: undefined,
    journal: '/nonexistent',
    redact: true,
    redactPatterns: [],
    processRefreshMs: 5_000,
    kernelLogRefreshMs: 10_000,
    stop: shared(),
    taken: shared(),
    counters: new Counters().shared,
    ...own,
  };
}
