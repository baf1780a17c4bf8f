import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';

const FIRST = 10_000;
/** From here on the kernel gives ports away: to every connection, and to servers that want any. */
const [GIVEN_AWAY = 0] = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8')
  .split(/\s/)
  .map(Number);
/** A machine that leaves none below gives away all. */
const BEYOND = GIVEN_AWAY > FIRST ? GIVEN_AWAY : 65_536;

/** For clients that are to find nobody: IANA has given it to no service, and the kernel gives one as low to no server that asks for any. */
export const PORT_OF_NOBODY = 4;
export const ADDRESS_OF_NOBODY = `http://127.0.0.1:${PORT_OF_NOBODY}`;

/**
 * Ports that nobody listens on, each another: for servers that must be told theirs. The kernel gives them to nobody else, so that they are
 * free when they are used, and again when a server is started again.
 */
export async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  while (ports.size < count) {
    const port = FIRST + Math.floor(Math.random() * (BEYOND - FIRST));
    if (await isFree(port)) ports.add(port);
  }
  return [...ports];
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
  } catch {
    return false;
  }
  await once(server.close(), 'close');
  return true;
}

export async function freePort(): Promise<number> {
  const [port] = await freePorts(1);
  return port!;
}
