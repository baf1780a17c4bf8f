import { createServer, type Server } from 'node:net';

/** For clients that are to find nobody: IANA has given it to no service, and the kernel gives one as low to no server that asks for any. */
export const PORT_OF_NOBODY = 4;
export const ADDRESS_OF_NOBODY = `http://127.0.0.1:${PORT_OF_NOBODY}`;

/** Ports that nobody listens on, each another: for servers that must be told theirs. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server: Server) => new Promise((closed) => server.close(closed))));
  return ports;
}

export async function freePort(): Promise<number> {
  const [port] = await freePorts(1);
  return port!;
}
