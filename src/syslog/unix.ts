import { stat } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ConnectUnixDatagram } from '../kernel/unix-datagram.ts';
import type { SyslogMessage } from './message.ts';
import type { Transport } from './transport.ts';

const FIRST_PAUSE_MS = 1;
const LONGEST_PAUSE_MS = 50;

/**
 * One datagram for each message, to the local system log. Delivered means: the receiver has read it. The kernel
 * says how much is unread; as that is nothing too when the receiver has ended, the same receiver must still be there
 * afterwards.
 */
export class UnixTransport implements Transport {
  readonly #connect: ConnectUnixDatagram;
  readonly #path: string;

  constructor(connect: ConnectUnixDatagram, path: string) {
    this.#connect = connect;
    this.#path = path;
  }

  async send(messages: readonly SyslogMessage[], signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const receiver = await identity(this.#path);
    const socket = this.#connect(this.#path);
    try {
      for (const { bytes } of messages) await until(() => socket.send(bytes), signal);
      await until(() => socket.unread() === 0, signal);
    } finally {
      socket.close();
    }
    this.#connect(this.#path).close(); // refused where the receiver has ended
    if ((await identity(this.#path)) !== receiver)
      throw new Error(`the server at ${this.#path} was restarted`);
  }
}

/** A server that starts makes its socket anew. */
async function identity(path: string): Promise<string> {
  const { dev, ino, ctimeNs } = await stat(path, { bigint: true });
  return [dev, ino, ctimeNs].join(':');
}

async function until(condition: () => boolean, signal: AbortSignal): Promise<void> {
  for (let pause = FIRST_PAUSE_MS; !condition(); pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
    await sleep(pause, undefined, { signal });
  }
}
