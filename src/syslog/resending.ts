import type { SyslogMessage } from './message.ts';
import type { Transport } from './transport.ts';

/** A server writes what it has read within milliseconds; a loaded one may need longer. */
const DOUBTFUL_MS = 5000;
const MOST_MESSAGES = 1000;
const MOST_BYTES = 1024 * 1024;

interface Sent {
  readonly at: number;
  readonly message: SyslogMessage;
}

/**
 * A server that crashes loses what it has read and not yet written. So when a delivery fails, the messages that were
 * taken within the 5 seconds before are sent again with the next one (at most 1,000 of them and 1 MiB): after a
 * server's restart some arrive twice, with the same incident id. A crash that no delivery follows within these 5
 * seconds is not noticed.
 */
export class Resending implements Transport {
  readonly #transport: Transport;
  readonly #now: () => number;
  #recent: readonly Sent[] = [];
  #doubtful: readonly SyslogMessage[] = [];

  constructor(transport: Transport, now: () => number) {
    this.#transport = transport;
    this.#now = now;
  }

  async send(messages: readonly SyslogMessage[], signal: AbortSignal): Promise<void> {
    const startedAt = this.#now();
    try {
      await this.#transport.send([...this.#doubtful, ...messages], signal);
    } catch (error) {
      const recent = this.#recent.filter(({ at }) => at >= startedAt - DOUBTFUL_MS);
      this.#doubtful = [...this.#doubtful, ...recent.map(({ message }) => message)];
      this.#recent = [];
      throw error;
    }
    const at = this.#now();
    const sent = [...this.#doubtful, ...messages].map((message) => ({ at, message }));
    const recent = this.#recent.filter((earlier) => earlier.at >= at - DOUBTFUL_MS);
    this.#recent = bounded([...recent, ...sent]);
    this.#doubtful = [];
  }
}

/** The newest of them. */
function bounded(sent: readonly Sent[]): readonly Sent[] {
  let bytes = 0;
  let first = sent.length;
  while (first > 0 && sent.length - first < MOST_MESSAGES) {
    bytes += sent[first - 1]!.message.bytes.length;
    if (bytes > MOST_BYTES) break;
    first--;
  }
  return sent.slice(first);
}
