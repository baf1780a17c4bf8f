import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** Stands between a client and any server, and can do what networks do. */
export class TcpRelay {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** How many connections were ever made. */
  connections = 0;

  #isShut = false;

  constructor(host: string, port: number) {
    this.#server = createServer((near) => {
      this.connections += 1;
      if (this.#isShut) {
        near.destroy();
        return;
      }
      const far = connect(port, host);
      for (const socket of [near, far]) {
        this.#sockets.add(socket);
        socket.on('close', () => this.#sockets.delete(socket));
        // Its other end is told by 'close'.
        socket.on('error', () => {});
      }
      near.on('close', () => far.destroy());
      far.on('close', () => near.destroy());
      near.pipe(far);
      far.pipe(near);
    });
  }

  static async start(t: { after(clean: () => unknown): void }, target: URL): Promise<TcpRelay> {
    const relay = new TcpRelay(target.hostname, Number(target.port || 443));
    relay.#server.listen(0, '127.0.0.1');
    await once(relay.#server, 'listening');
    t.after(async () => {
      relay.#server.close();
      relay.cut();
      await once(relay.#server, 'close');
    });
    return relay;
  }

  get url(): string {
    return `https://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** All connections are reset. New ones are taken. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** All connections are reset, new ones too, until `open`. */
  shut(): void {
    this.#isShut = true;
    this.cut();
  }

  open(): void {
    this.#isShut = false;
  }

  /** Nothing goes through any more, and nobody is told. New connections are taken. */
  freeze(): void {
    for (const socket of this.#sockets) socket.unpipe().pause();
  }
}
