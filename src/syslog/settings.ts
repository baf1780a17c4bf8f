import * as v from 'valibot';
import { environmentName, lacksPartner, type Option, OptionError } from '../config/option.ts';
import { LONGEST_SOCKET_PATH } from '../kernel/unix-datagram.ts';
import { FACILITIES } from './header.ts';
import { type TlsFiles, tlsContext } from './tls.ts';
import type { Server } from './transport.ts';
import { UDP_MAX_BYTES } from './udp.ts';

const FORMATS = ['rfc5424', 'rfc3164'] as const;
export type Format = (typeof FORMATS)[number];

export type Way =
  | { readonly protocol: 'udp' | 'tcp'; readonly server: Server }
  | {
      readonly protocol: 'tls';
      readonly server: Server;
      readonly files: TlsFiles;
      readonly serverName?: string;
    }
  | { readonly protocol: 'unix'; readonly socket: string };

export interface SyslogSettings {
  readonly way: Way;
  /** What is absent depends on the event format: see `open` in sinks/syslog.ts. */
  readonly format?: Format;
  readonly framing?: 'octet-counting' | 'newline';
  readonly facility?: number;
  readonly maxBytes?: number;
  readonly enterprise: string;
}

const PROTOCOLS = ['unix', 'tcp', 'udp', 'tls'] as const;
type Protocol = (typeof PROTOCOLS)[number];

const SERVER = 'syslog-server';
const PROTO = 'syslog-proto';
const SOCKET = 'syslog-socket';
const FORMAT = 'syslog-format';
const FRAMING = 'syslog-framing';
const FACILITY = 'syslog-facility';
const ENTERPRISE = 'syslog-enterprise';
const MAX_SIZE = 'syslog-max-size';
const CA = 'syslog-ca';
const CERT = 'syslog-cert';
const KEY = 'syslog-key';
const SERVER_NAME = 'syslog-server-name';
const TLS_OPTIONS = [CA, CERT, KEY, SERVER_NAME];

const DEFAULT_SOCKET = '/dev/log';
/** RFC 5612: reserved for documentation, so nobody's. */
const EXAMPLE_ENTERPRISE = '32473';
/** RFC 5426, 3.2: what every receiver should take. */
const LEAST_MAX_SIZE = 2048;
/** RFC 5425, 4.1 and the services file. */
const DEFAULT_PORTS = { udp: 514, tcp: 514, tls: 6514 } as const;

interface Address {
  readonly host: string;
  readonly port?: number;
}

const someText = v.pipe(v.string(), v.nonEmpty('is empty: give it a value or leave it out'));

export const options: readonly Option[] = [
  {
    name: SERVER,
    value: 'HOST:PORT',
    help: 'syslog server; port 514, or 6514 for tls, where it is left out',
    schema: v.pipe(
      v.string(),
      v.rawTransform(({ dataset, addIssue, NEVER }): Address => {
        const address = parseAddress(dataset.value.trim());
        if (address) return address;
        addIssue({ message: 'is not an address: write HOST:PORT, IPv6 as [::1]:514' });
        return NEVER;
      }),
    ),
    aliases: ['ss'],
  },
  {
    name: PROTO,
    value: PROTOCOLS.join('|'),
    help: 'how to reach it (default udp); unix is the system log of this machine',
    schema: oneOf(PROTOCOLS),
    aliases: ['sp'],
  },
  {
    name: SOCKET,
    value: 'PATH',
    help: `datagram socket for unix (default ${DEFAULT_SOCKET})`,
    schema: v.pipe(
      someText,
      v.maxBytes(
        LONGEST_SOCKET_PATH,
        `is longer than the ${LONGEST_SOCKET_PATH} bytes that a socket's path may have`,
      ),
    ),
  },
  {
    name: FORMAT,
    value: FORMATS.join('|'),
    help: 'form of a message (default rfc5424)',
    schema: oneOf(FORMATS),
  },
  {
    name: FRAMING,
    value: 'octet-counting|newline',
    help: 'what separates messages over tcp and tls (default octet-counting for rfc5424, newline for rfc3164)',
    schema: oneOf(['octet-counting', 'newline']),
  },
  {
    name: FACILITY,
    value: 'NAME',
    help: 'facility, by name or number (default daemon)',
    schema: v.pipe(
      v.string(),
      v.trim(),
      v.toLowerCase(),
      v.transform((text) => (/^\d+$/.test(text) ? Number(text) : FACILITIES.indexOf(text))),
      v.check((code) => code in FACILITIES, `is not a facility: use one of ${FACILITIES.join(', ')}`),
    ),
  },
  {
    name: ENTERPRISE,
    value: 'NUMBER',
    help: "your organisation's private enterprise number, for the names of structured data",
    schema: v.pipe(
      v.string(),
      v.regex(/^[1-9]\d{0,9}$/, 'is not an enterprise number: use one that IANA has given out'),
    ),
    default: EXAMPLE_ENTERPRISE,
  },
  {
    name: MAX_SIZE,
    value: 'BYTES',
    help: 'longest message; command lines are cut in the middle to fit (default 8096, what rsyslog takes)',
    schema: v.pipe(
      v.string(),
      v.transform(Number),
      v.check(
        (size) => Number.isInteger(size) && size >= LEAST_MAX_SIZE && size <= UDP_MAX_BYTES,
        `is not a number of bytes from ${LEAST_MAX_SIZE} to ${UDP_MAX_BYTES}`,
      ),
    ),
  },
  { name: CA, value: 'FILE', help: "PEM: authorities to trust instead of Node.js's", schema: someText },
  { name: CERT, value: 'FILE', help: 'PEM: client certificate', schema: someText },
  { name: KEY, value: 'FILE', help: 'PEM: private key of the client certificate', schema: someText },
  {
    name: SERVER_NAME,
    value: 'NAME',
    help: "name in the server's certificate, where it is not the host of --syslog-server",
    schema: someText,
  },
];

type Values = Readonly<Record<string, unknown>>;

export function settings(values: Values): SyslogSettings | undefined {
  const protocol = protocolOf(values);
  if (protocol === undefined) return undefined;
  return Object.freeze({
    way: way(protocol, values),
    format: values[FORMAT] as Format | undefined,
    framing: values[FRAMING] as SyslogSettings['framing'],
    facility: values[FACILITY] as number | undefined,
    maxBytes: values[MAX_SIZE] as number | undefined,
    enterprise: (values[ENTERPRISE] as string | undefined) ?? EXAMPLE_ENTERPRISE,
  });
}

function protocolOf(values: Values): Protocol | undefined {
  const protocol = values[PROTO] as Protocol | undefined;
  if (values[SERVER] === undefined && protocol !== 'unix') {
    const alone = options.find(({ name, default: text }) => text === undefined && values[name] !== undefined);
    if (alone === undefined) return undefined;
    throw alone.name === SOCKET
      ? lacksPartner(SOCKET, PROTO, 'unix')
      : lacksPartner(alone.name, SERVER, `host:${protocol === 'tls' ? 6514 : 514}`);
  }
  return protocol ?? 'udp';
}

function way(protocol: Protocol, values: Values): Way {
  if (protocol !== 'tls') refuse(TLS_OPTIONS, values, protocol, 'tls');
  if (protocol === 'udp' || protocol === 'unix') refuse([FRAMING], values, protocol, 'tcp');
  if (protocol === 'unix')
    // oom-notifier does not mind a server beside it, so neither do we.
    return { protocol, socket: (values[SOCKET] as string | undefined) ?? DEFAULT_SOCKET };
  refuse([SOCKET], values, protocol, 'unix');
  const { host, port = DEFAULT_PORTS[protocol] } = values[SERVER] as Address;
  const server = { host, port };
  if (protocol !== 'tls') return { protocol, server };
  return { protocol, server, files: tlsFiles(values), serverName: values[SERVER_NAME] as string | undefined };
}

/** Checked here, so that a mistake shows at the start and not at the first kill. */
function tlsFiles(values: Values): TlsFiles {
  const [ca, cert, key] = [CA, CERT, KEY].map((name) => values[name] as string | undefined);
  if (cert !== undefined && key === undefined) throw lacksPartner(CERT, KEY, 'FILE');
  if (key !== undefined && cert === undefined) throw lacksPartner(KEY, CERT, 'FILE');
  mustLoad(CA, { ca }, 'a PEM file with certificates of authorities');
  mustLoad(CERT, { cert }, 'a PEM file with a certificate');
  mustLoad(KEY, { cert, key }, `the PEM file of the key that belongs to --${CERT}`);
  return { ca, cert, key };
}

function mustLoad(option: string, files: TlsFiles, what: string): void {
  try {
    tlsContext(files);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const reason = message.split('\n')[0] || code;
    throw new OptionError(option, `--${option}: ${reason}. Name ${what} that the agent may read.`);
  }
}

function refuse(names: readonly string[], values: Values, protocol: Protocol, needed: Protocol): void {
  const name = names.find((name) => values[name] !== undefined);
  if (name === undefined) return;
  const chosen = values[PROTO] === undefined ? `--${PROTO} is not set` : `--${PROTO} is ${protocol}`;
  throw new OptionError(
    name,
    `--${name} is set but ${chosen}. Set --${PROTO} ${needed} (or ${environmentName(PROTO)}), or leave out --${name}.`,
  );
}

function oneOf<const T extends string>(texts: readonly T[]) {
  return v.pipe(v.string(), v.trim(), v.picklist(texts, `is not one of ${texts.join(', ')}`));
}

function parseAddress(text: string): Address | undefined {
  const match = /^(?:\[([0-9a-fA-F:.%\w]+)\]|([^\s:/[\]@]+))(?::(\d{1,5}))?$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  if (host === undefined) return undefined;
  if (match?.[3] === undefined) return { host };
  const port = Number(match[3]);
  return port >= 1 && port <= 65_535 ? { host, port } : undefined;
}
