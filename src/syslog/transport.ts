import type { SyslogMessage } from './message.ts';

/** One way to a syslog server. Nothing stays open between two calls. */
export interface Transport {
  /**
   * Resolves when the messages are taken, as far as the protocol lets one know: see each implementation. Rejects when
   * that is not certain, then some of them may have been taken; `signal` makes it reject at once.
   */
  send(messages: readonly SyslogMessage[], signal: AbortSignal): Promise<void>;
}

export interface Server {
  readonly host: string;
  readonly port: number;
}
