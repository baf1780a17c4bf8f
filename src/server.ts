import type { ListenAddress } from './config/listen-address.ts';
import { openListener } from './server/listener.ts';
import { Site, type SiteOptions } from './server/site.ts';

export type { PartStatus } from './part-status.ts';
export { ListenError } from './server/listener.ts';
export type { IncidentSource } from './server/site.ts';
export type { AgentStatus } from './server/status.ts';

export interface ServerOptions extends Omit<SiteOptions, 'address'> {
  readonly listen: ListenAddress;
}

export interface AgentServer {
  /** With the port that was chosen where 0 was asked for. */
  readonly url: string;
  /** Lets answers end that have begun, for at most a second. */
  close(): Promise<void>;
}

/** @throws ListenError when the address is taken, not of this machine or not allowed */
export function startServer(options: ServerOptions): Promise<AgentServer> {
  const { listen } = options;
  return openListener({
    listen,
    option: 'listen',
    instead: '--listen off',
    answer: (address) => {
      const site = new Site({ ...options, address: { configured: listen.host, bound: address } });
      return (request, response) => site.answer(request, response);
    },
  });
}
