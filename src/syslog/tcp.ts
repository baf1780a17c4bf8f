import { net } from '../net/lazy-builtins.ts';
import { type Framing, StreamTransport } from './stream.ts';
import type { Server, Transport } from './transport.ts';

/** RFC 6587. Delivered means: the server has read it (see `untilRead`). */
export function tcp({ host, port }: Server, framing: Framing): Transport {
  return new StreamTransport(
    (signal) => net().connect({ host, port, signal, allowHalfOpen: true }),
    'connect',
    framing,
  );
}
