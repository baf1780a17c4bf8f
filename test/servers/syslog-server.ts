import { readFile } from 'node:fs/promises';
import type { RunningServer } from './process.ts';

/** One message as a real server understood it: the same shape for rsyslog and syslog-ng. */
export interface UnderstoodMessage {
  readonly facility: string;
  readonly severity: string;
  /** RFC 3339 */
  readonly timestamp: string;
  readonly hostname: string;
  readonly app: string;
  readonly procid: string;
  readonly msgid: string;
  /** SD-ID -> PARAM-NAME -> value, unescaped. */
  readonly structuredData: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly message: string;
}

export interface SyslogServer {
  readonly ports: {
    readonly udp: number;
    readonly octetCounting: number;
    readonly newline: number;
    readonly tls: number;
  };
  readonly socket: string;
  received(): Promise<readonly UnderstoodMessage[]>;
  start(): Promise<void>;
  /** The process that runs now. */
  readonly process: RunningServer;
}

/** @param start starts the process, always with the same ports and files */
export function syslogServer(
  place: Pick<SyslogServer, 'ports' | 'socket'>,
  output: string,
  understand: (record: Record<string, unknown>) => UnderstoodMessage,
  start: () => Promise<RunningServer>,
): SyslogServer & AsyncDisposable {
  let running: RunningServer | undefined;
  return {
    ...place,
    async received() {
      const text = await readFile(output, 'utf8').catch(() => '');
      const complete = text.slice(0, text.lastIndexOf('\n') + 1);
      return complete
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => understand(JSON.parse(line)));
    },
    async start() {
      running = await start();
    },
    get process() {
      if (!running) throw new Error('it has not been started');
      return running;
    },
    async [Symbol.asyncDispose]() {
      await running?.kill9();
    },
  };
}
