import * as v from 'valibot';

export interface ListenAddress {
  /** Empty: every address of this machine. */
  readonly host: string;
  readonly port: number;
}

const LISTEN = 'must be HOST:PORT, [IPV6]:PORT or off';
const HIGHEST_PORT = 65_535;
const PORT = `must have a port of at most ${HIGHEST_PORT}`;

/** Where the agent itself listens: every address must be asked for by name, e.g. `0.0.0.0`. */
export const listenAddress = v.pipe(
  v.string(),
  v.regex(/^(off|(\[[\da-f:.]+\]|[\w.-]+):\d{1,5})$/i, LISTEN),
  v.transform((text) => (text.toLowerCase() === 'off' ? 'off' : parsed(text))),
  v.check((address) => address === 'off' || address.port <= HIGHEST_PORT, PORT),
);

/** As programs in Go write it: `:3001` is every address of this machine. */
export const goAddress = v.pipe(
  v.string(),
  v.regex(/^(\[[\da-f:.]+\]|[\w.-]*):\d{1,5}$/i, 'must be :PORT, HOST:PORT or [IPV6]:PORT'),
  v.transform(parsed),
  v.check(({ port }) => port <= HIGHEST_PORT, PORT),
);

function parsed(text: string): ListenAddress {
  const colon = text.lastIndexOf(':');
  return { host: text.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(text.slice(colon + 1)) };
}
