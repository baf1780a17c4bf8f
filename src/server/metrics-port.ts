import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ListenAddress } from '../config/listen-address.ts';
import { type Listener, openListener } from './listener.ts';

export interface MetricsPortOptions {
  readonly listen: ListenAddress;
  /** The option that the address comes from. */
  readonly option: string;
  /** Where the metrics answer; undefined: whatever is asked for. */
  readonly path: string | undefined;
  readonly contentType: string;
  readonly scrape: () => Promise<string>;
  /** Something of ours failed while it answered. */
  readonly failed: (reason: string) => void;
}

/**
 * The port of a program that is replaced: its metrics and nothing else.
 *
 * @throws ListenError when the address is taken, not of this machine or not allowed
 */
export function openMetricsPort(options: MetricsPortOptions): Promise<Listener> {
  const { listen, option, failed } = options;
  return openListener({
    listen,
    option,
    instead: 'stop the program that is replaced',
    answer: () => (request, response) => {
      answer(options, request, response).catch((error: Error) => {
        failed(error.message);
        response.destroy();
      });
    },
  });
}

async function answer(
  { path, contentType, scrape }: MetricsPortOptions,
  { url = '', method }: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const isHead = method === 'HEAD';
  if (method !== 'GET' && !isHead) return void response.writeHead(405, { allow: 'GET, HEAD' }).end();
  if (path !== undefined && url.replace(/\?.*$/s, '') !== path)
    return void response
      .writeHead(404, { 'content-type': 'text/plain; charset=utf-8' })
      .end('404 page not found\n');
  // It reads nothing, so it must not be taken for a reader of the last values.
  const body = isHead ? '' : await scrape();
  response.writeHead(200, { 'content-type': contentType }).end(body);
}
