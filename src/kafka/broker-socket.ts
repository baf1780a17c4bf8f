import { captureRejectionSymbol, EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import { net, tls } from '../net/lazy-builtins.ts';

export interface BrokerAddress {
  readonly host: string;
  readonly port: number;
}

/** A producer is answered with metadata and acknowledgements: 10,000 partitions are about half a MiB. */
const LONGEST_ANSWER = 4 * 1024 ** 2;
/** The error code for an answer that cannot be one of Kafka's, such as a TLS alert. */
export const NOT_KAFKA = 'ERR_NOT_KAFKA';
const KEEP_ALIVE_MS = 60_000;
const LENGTH_BYTES = 4;

/**
 * The socket that kafkajs is given. A bare one lets whoever answers harm the agent, because kafkajs believes each length, keeps
 * what it has until that many bytes have come, and lets a decoder's exception out of the `data` event (a length of 0 to 3 suffices
 * to end the process). Here it sees only whole frames of a bounded length, and what it throws ends this connection, not the process.
 * It also learns of every end: waiting for a SASL answer it heeds `end` alone, not `error`, and would wait forever.
 */
export class BrokerSocket extends EventEmitter {
  readonly #socket: Socket;
  #received: Buffer = Buffer.alloc(0);

  constructor(
    { host, port }: BrokerAddress,
    tlsOptions: ConnectionOptions | undefined,
    onConnect: () => void,
  ) {
    super({ captureRejections: true });
    this.#socket = tlsOptions
      ? tls().connect(
          { host, port, ...(net().isIP(host) ? {} : { servername: host }), ...tlsOptions },
          onConnect,
        )
      : net().connect({ host, port }, onConnect);
    this.#socket.setKeepAlive(true, KEEP_ALIVE_MS);
    this.#socket.on('data', (chunk) => this.#read(chunk as Buffer));
    this.#socket.on('error', (error) => this.emit('error', error));
    this.#socket.on('end', () => this.#socket.destroy());
    this.#socket.on('close', () => this.emit('end'));
  }

  write(data: Uint8Array): boolean {
    return this.#socket.write(data);
  }

  /** Lets go of the descriptor too: a peer that is frozen would otherwise hold it half closed. */
  end(): void {
    this.#socket.destroySoon();
  }

  unref(): void {
    this.#socket.unref();
  }

  destroy(error: Error): void {
    this.#socket.destroy(error);
  }

  override [captureRejectionSymbol](error: Error): void {
    this.destroy(error);
  }

  #read(chunk: Buffer): void {
    this.#received = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk]);
    try {
      while (this.#received.length >= LENGTH_BYTES && !this.#socket.destroyed) {
        const length = this.#received.readInt32BE();
        if (length < 0 || length > LONGEST_ANSWER)
          throw Object.assign(new Error('not an answer of a Kafka broker'), { code: NOT_KAFKA });
        const end = LENGTH_BYTES + length;
        if (this.#received.length < end) return;
        const frame = this.#received.subarray(0, end);
        this.#received = this.#received.subarray(end);
        this.emit('data', frame);
      }
    } catch (error) {
      this.destroy(error as Error);
    }
  }
}
