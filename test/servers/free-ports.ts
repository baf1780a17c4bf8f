import { createServer, type Server } from 'node:net';

/** Ports that nobody listens on, for servers that must be told theirs. */
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
