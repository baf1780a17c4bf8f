import * as v from 'valibot';
import type { ReplacedProgram } from './program.ts';

const port = v.pipe(
  v.string(),
  v.regex(/^\d{1,5}$/, 'must be a port'),
  v.toNumber(),
  v.maxValue(65_535, 'must be a port of at most 65535'),
);

const MOST_SECONDS = 86_400;

/**
 * oom_messages_exporter 20230920. It has no flags, and its port is open on every address. What it reads is the log file: with
 * `--log-file off` kills come from the kernel's own log, and its metrics are the same.
 */
export const oomMessagesExporter: ReplacedProgram = {
  name: 'oom-messages-exporter',
  options: [
    {
      name: 'oom-messages-exporter-port',
      value: 'PORT',
      help: 'where its metrics answer, on every path and every address',
      schema: port,
      default: '9001',
    },
  ],
  environment: [
    { variable: 'oom_messages_exporter_PORT', option: 'oom-messages-exporter-port' },
    { variable: 'oom_messages_exporter_MESSAGES_LOG', option: 'log-file' },
    {
      variable: 'oom_messages_exporter_POLL_INTERVAL',
      option: 'kernel-log-refresh',
      meaning: milliseconds,
    },
    {
      variable: 'oom_messages_exporter_DEBUG',
      option: 'log-level',
      meaning: (text) => (text === 'no' ? undefined : 'debug'),
    },
  ],
  ignored: { oom_messages_exporter_TEST: 'there is no stub of crictl here, it is left alone' },
  settings: (values) => ({
    listen: { host: '', port: values['oom-messages-exporter-port'] as number },
    listenOption: 'oom-messages-exporter-port',
    implied: { 'log-file': '/var/log/messages', 'kernel-log-refresh': '1000' },
  }),
  showsProcesses: true,
  path: undefined,
  family: () => import('../metrics/oom-messages-exporter.ts'),
};

function milliseconds(seconds: string): string {
  const value = /^\d{1,5}$/.test(seconds) ? Number(seconds) : 0;
  if (value < 1 || value > MOST_SECONDS)
    throw new Error(`must be whole seconds from 1 to ${MOST_SECONDS} (got "${seconds}").`);
  return String(value * 1000);
}
