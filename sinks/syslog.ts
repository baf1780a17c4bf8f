import { OptionError } from '../src/config/option.ts';
import { shown } from '../src/format.ts';
import { loadUnixDatagram } from '../src/kernel/unix-datagram.ts';
import { DELIVERED, type Delivery, type Outcome, type Sink, type SinkContext } from '../src/sink.ts';
import { FACILITIES } from '../src/syslog/header.ts';
import type { SyslogMessage } from '../src/syslog/message.ts';
import { plain } from '../src/syslog/plain.ts';
import { Resending } from '../src/syslog/resending.ts';
import { oomNotifierMessages, rfc3164 } from '../src/syslog/rfc3164.ts';
import { rfc5424 } from '../src/syslog/rfc5424.ts';
import type { Format, SyslogSettings } from '../src/syslog/settings.ts';
import type { Framing } from '../src/syslog/stream.ts';
import { tcp } from '../src/syslog/tcp.ts';
import { tls } from '../src/syslog/tls.ts';
import type { Transport } from '../src/syslog/transport.ts';
import { UDP_MAX_BYTES, UdpTransport } from '../src/syslog/udp.ts';
import { UnixTransport } from '../src/syslog/unix.ts';

export { options, settings } from '../src/syslog/settings.ts';

/** A connection costs more than a message. */
export const batchSize = 100;

/** rsyslog's limit unless it is told otherwise (measured); it cuts what is longer, or makes several messages of it. */
const DEFAULT_MAX_BYTES = 8096;

/** Where every distribution keeps the words of its daemons; `user` is what `logger` and scripts write. */
const DEFAULT_FACILITY = FACILITIES.indexOf('daemon');
/** The program of that name writes `<11>`. */
const OOM_NOTIFIER_FACILITY = FACILITIES.indexOf('user');

type WireFormat = Format | 'oom-notifier';
type Encode = (delivery: Delivery) => readonly SyslogMessage[];

/** Plain syslog has no acknowledgement. What `delivered` means over each protocol is said in src/syslog, file by file. */
class SyslogSink implements Sink {
  readonly #encode: Encode;
  readonly #transport: Transport;
  readonly #closing = new AbortController();

  constructor(encode: Encode, transport: Transport) {
    this.#encode = encode;
    this.#transport = transport;
  }

  /** All of the batch or none: a server does not say how far it came. */
  async deliver(batch: readonly Delivery[], signal: AbortSignal): Promise<readonly Outcome[]> {
    try {
      await this.#transport.send(
        batch.flatMap(this.#encode),
        AbortSignal.any([signal, this.#closing.signal]),
      );
      return batch.map(() => DELIVERED);
    } catch (error) {
      const outcome: Outcome = { kind: 'retry', reason: reasonOf(error) };
      return batch.map(() => outcome);
    }
  }

  async close(): Promise<void> {
    this.#closing.abort();
  }
}

/** @throws OptionError where the unix protocol cannot work in this Node.js */
export async function open(settings: SyslogSettings, context: SinkContext): Promise<Sink> {
  const format = settings.format ?? (context.eventFormat === 'oom-notifier' ? 'oom-notifier' : 'rfc5424');
  const transport = await openTransport(settings, format);
  const { protocol } = settings.way;
  return new SyslogSink(
    encoder(settings, format, context),
    protocol === 'udp' ? transport : new Resending(transport, context.now),
  );
}

function encoder(settings: SyslogSettings, format: WireFormat, context: SinkContext): Encode {
  const { facility = DEFAULT_FACILITY, maxBytes = DEFAULT_MAX_BYTES, enterprise } = settings;
  switch (format) {
    case 'rfc5424':
      return (delivery) => [rfc5424(delivery, facility, enterprise, maxBytes)];
    case 'rfc3164':
      return (delivery) => [rfc3164(delivery, facility, maxBytes)];
    case 'oom-notifier': {
      const { facility = OOM_NOTIFIER_FACILITY, maxBytes = UDP_MAX_BYTES } = settings;
      return ({ incident }) => oomNotifierMessages(incident, context.kernelVersionLine, facility, maxBytes);
    }
  }
}

async function openTransport({ way, framing }: SyslogSettings, format: WireFormat): Promise<Transport> {
  const chosen = framing ?? DEFAULT_FRAMING[format];
  switch (way.protocol) {
    case 'udp':
      return format === 'rfc3164' ? plain(way.server, 'udp') : new UdpTransport(way.server);
    case 'tcp':
      return format === 'rfc3164' && chosen === 'newline'
        ? plain(way.server, 'tcp')
        : tcp(way.server, chosen);
    case 'tls':
      return tls(way.server, way.files, way.serverName, chosen);
    case 'unix': {
      const unix = loadUnixDatagram();
      if ('missing' in unix)
        throw new OptionError(
          'syslog-proto',
          `--syslog-proto unix cannot work here: ${unix.missing}. Use udp, tcp or tls to the same syslog server.`,
        );
      return new UnixTransport(unix.connect, way.socket);
    }
  }
}

const DEFAULT_FRAMING: Readonly<Record<WireFormat, Framing>> = {
  rfc5424: 'octet-counting',
  rfc3164: 'newline',
  'oom-notifier': 'none',
};

/** A host name with several addresses fails with an error for each and no text of its own. */
function reasonOf(error: unknown): string {
  const { message, code, name } = error as NodeJS.ErrnoException;
  return shown(message || code || name || 'unknown error', 300);
}
