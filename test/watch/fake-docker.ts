/** A daemon that does what a real dockerd cannot be made to do: tells twice, breaks off, talks nonsense. */

import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TestContext } from 'node:test';

export interface FakeContainer {
  readonly Id: string;
  readonly Name?: unknown;
  readonly Image?: unknown;
  readonly Config?: unknown;
  readonly State?: unknown;
}

export class FakeDocker {
  readonly socket: string;
  /** What `GET /containers/json` answers; undefined: what is in `containers`. */
  list: string | undefined;
  status = 200;
  readonly containers = new Map<string, FakeContainer>();
  /** The `since` of every connection. */
  readonly asked: (string | null)[] = [];
  readonly inspected: string[] = [];
  readonly #streams = new Set<ServerResponse>();
  readonly #server = createServer((request, response) => this.#answer(request, response));

  private constructor(folder: string) {
    this.socket = path.join(folder, 'docker.sock');
  }

  static async start(t: TestContext): Promise<FakeDocker> {
    const folder = mkdtempSync(path.join(tmpdir(), 'oom-witness-fake-docker-'));
    const docker = new FakeDocker(folder);
    docker.#server.listen(docker.socket);
    await once(docker.#server, 'listening');
    t.after(() => {
      docker.#server.close();
      docker.#server.closeAllConnections();
      rmSync(folder, { recursive: true });
    });
    return docker;
  }

  get streams(): number {
    return this.#streams.size;
  }

  say(text: string): void {
    for (const stream of this.#streams) stream.write(text);
  }

  hangUp(how: 'in order' | 'broken'): void {
    for (const stream of this.#streams) how === 'broken' ? stream.socket?.destroy() : stream.end();
    this.#streams.clear();
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const { pathname, searchParams } = new URL(request.url ?? '', 'http://docker');
    response.statusCode = this.status;
    if (this.status !== 200) return void response.end('{"message":"not now"}\n');
    if (pathname === '/events') {
      this.asked.push(searchParams.get('since'));
      this.#streams.add(response);
      response.on('close', () => this.#streams.delete(response));
      response.flushHeaders();
      return;
    }
    if (pathname === '/containers/json')
      return void response.end(
        this.list ?? JSON.stringify([...this.containers.values()].map(({ Id }) => ({ Id }))),
      );
    const id = pathname.split('/')[2] ?? '';
    this.inspected.push(id);
    const container = this.containers.get(id);
    if (container === undefined) response.statusCode = 404;
    response.end(JSON.stringify(container ?? { message: `No such container: ${id}` }));
  }
}

/** One line of the stream. @param second of 2026-11-21T03:15 */
export function event(
  action: string,
  id: string,
  second: number,
  attributes: Readonly<Record<string, string>> = {},
): string {
  const minute = Date.parse('2026-11-21T03:15:00Z') / 1000;
  const whole = Math.floor(second);
  const nanoseconds = String(Math.round((second - whole) * 1e9)).padStart(9, '0');
  const Actor = { ID: id, Attributes: { image: 'redis:7', name: 'shop', ...attributes } };
  const told = JSON.stringify({ Type: 'container', Action: action, Actor, time: minute + whole });
  // More digits than a double has.
  return `${told.slice(0, -1)},"timeNano":${minute + whole}${nanoseconds}}\n`;
}
