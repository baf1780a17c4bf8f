import { Writable } from 'node:stream';
import type { SinkContext } from '../../src/sink.ts';
import { HOST, KERNEL_VERSION_LINE } from '../incidents.ts';

/** 2026-11-21T03:14:20Z, five seconds after the sample incidents. */
export const NOW = Date.parse('2026-11-21T03:14:20.000Z');

/** What a sink gets from the agent, with a clock that stands still; a test replaces what it is about. */
export function sinkContext(overrides: Partial<SinkContext> = {}): SinkContext {
  return {
    host: HOST,
    kernelVersionLine: KERNEL_VERSION_LINE,
    eventFormat: 'incident',
    now: () => NOW,
    stdout: new Writable({ write: (_chunk, _encoding, done) => done() }),
    onReopen: () => () => {},
    log: () => {},
    ...overrides,
  };
}
