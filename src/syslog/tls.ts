import { readFileSync, statSync } from 'node:fs';
import { addAbortSignal } from 'node:stream';
import type { SecureContext } from 'node:tls';
import { tls as nodeTls } from '../net/lazy-builtins.ts';
import { type Framing, StreamTransport } from './stream.ts';
import type { Server, Transport } from './transport.ts';

/** Paths of PEM files. */
export interface TlsFiles {
  /** Instead of the authorities that Node.js brings along. */
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

/**
 * RFC 5425. Delivered means: the server has accepted our certificate and read it all (see `untilRead`). The files are
 * read for each connection, so that renewed certificates are used without a restart; not by `OptionFiles`, because a sink that is
 * opened anew would forget what it may have to send again (see `Resending`).
 *
 * @param serverName the name that the server's certificate must have, where it is not `host`
 */
export function tls(
  { host, port }: Server,
  files: TlsFiles,
  serverName: string | undefined,
  framing: Framing,
): Transport {
  return new StreamTransport(
    (signal) => {
      const secureContext = tlsContext(files);
      const socket = nodeTls().connect({
        host,
        port,
        secureContext,
        servername: serverName,
        minVersion: 'TLSv1.2',
      });
      return addAbortSignal(signal, socket);
    },
    'secureConnect',
    framing,
  );
}

/** @throws when a file cannot be read or is not what it should be */
export function tlsContext({ ca, cert, key }: TlsFiles): SecureContext {
  const read = (path: string | undefined) => {
    if (path === undefined) return undefined;
    // It would be waited for, with everything else, until somebody writes to it again.
    if (statSync(path).isFIFO()) throw new Error('it is a pipe, and it is read for each connection');
    return readFileSync(path);
  };
  return nodeTls().createSecureContext({ ca: read(ca), cert: read(cert), key: read(key) });
}
