/** The agent's own options. Those of a sink are in its file under `sinks/`. */
import * as v from 'valibot';
import { EVENT_FORMATS } from '../event-format.ts';
import { LOG_LEVEL_NAMES, logLevel } from './log-level.ts';
import type { Option } from './option.ts';

/** What a timer of Node.js can wait; more would fire at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

const milliseconds = v.pipe(
  v.string(),
  v.regex(/^\d{1,10}$/, `must be a whole number of milliseconds from 1 to ${MAX_TIMER_MS}`),
  v.toNumber(),
  v.minValue(1, `must be a whole number of milliseconds from 1 to ${MAX_TIMER_MS}`),
  v.maxValue(MAX_TIMER_MS, `must be a whole number of milliseconds from 1 to ${MAX_TIMER_MS}`),
);

const UNIT_MS = { ms: 1, s: 1000, m: 60_000 } as const;
const DURATION = 'must be seconds or a time like 500ms, 10s or 2m, one day at most';

const duration = v.pipe(
  v.string(),
  v.regex(/^\d{1,9}(ms|s|m)?$/, DURATION),
  v.transform((text) => {
    const unit = (/[a-z]+$/.exec(text)?.[0] ?? 's') as keyof typeof UNIT_MS;
    return Number.parseInt(text, 10) * UNIT_MS[unit];
  }),
  v.maxValue(24 * 60 * 60_000, DURATION),
);

const path = v.pipe(v.string(), v.nonEmpty('must be a path'));

export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

const LISTEN = 'must be HOST:PORT, [IPV6]:PORT or off';

const listenAddress = v.pipe(
  v.string(),
  v.regex(/^(off|(\[[\da-f:.]+\]|[\w.-]+):\d{1,5})$/i, LISTEN),
  v.transform((text): ListenAddress | 'off' => {
    if (text.toLowerCase() === 'off') return 'off';
    const colon = text.lastIndexOf(':');
    return { host: text.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(text.slice(colon + 1)) };
  }),
  v.check((address) => address === 'off' || address.port <= 65_535, 'must have a port of at most 65535'),
);

const pattern = v.pipe(
  v.string(),
  v.rawTransform(({ dataset, addIssue, NEVER }) => {
    try {
      return new RegExp(dataset.value, 'u');
    } catch (error) {
      addIssue({ message: `must be a regular expression of JavaScript: ${(error as Error).message}` });
      return NEVER;
    }
  }),
);

const patterns = v.pipe(
  v.string(),
  v.transform((text) => text.split('\n').filter((line) => line !== '')),
  v.array(pattern),
);

const logFilter = v.pipe(
  v.string(),
  v.rawTransform(({ dataset, addIssue, NEVER }) => {
    const level = logLevel(dataset.value);
    if (level !== undefined) return level;
    addIssue({
      message: `must be one of ${LOG_LEVEL_NAMES.join(', ')}, or a list like warn,oom_witness=debug`,
    });
    return NEVER;
  }),
);

const AGENT_OPTIONS = {
  config: {
    name: 'config',
    value: 'FILE',
    help: 'read options from this YAML file; flags and environment variables come first',
    schema: path,
  },
  processRefresh: {
    name: 'process-refresh',
    value: 'MS',
    help: 'longest time between two scans of /proc where the kernel does not report new processes',
    schema: milliseconds,
    default: '5000',
    aliases: ['pr'],
  },
  kernelLogRefresh: {
    name: 'kernel-log-refresh',
    value: 'MS',
    help: 'longest time between two looks at the kernel log where it cannot be waited for',
    schema: milliseconds,
    default: '10000',
    aliases: ['kr'],
  },
  eventFormat: {
    name: 'event-format',
    value: EVENT_FORMATS.join('|'),
    help: 'the JSON that machines get; oom-notifier is the exact JSON of the program of that name',
    schema: v.picklist(EVENT_FORMATS, `must be one of ${EVENT_FORMATS.join(', ')}`),
    default: 'incident',
  },
  stateDir: {
    name: 'state-dir',
    value: 'PATH',
    help: 'folder of the history and of what is still to be delivered',
    schema: path,
    default: '/var/lib/oom-witness',
  },
  listen: {
    name: 'listen',
    value: 'HOST:PORT|off',
    help: 'where the page, the API, /metrics and the health checks answer',
    schema: listenAddress,
    default: '127.0.0.1:9110',
  },
  apiToken: {
    name: 'api-token',
    value: 'TEXT',
    help: 'asked for by the page and the API; without it they answer on loopback only',
    // RFC 6750, 2.1: what can follow "Bearer" in a header.
    schema: v.pipe(v.string(), v.regex(/^[\w.~+/-]+=*$/, 'must be letters, digits or any of -._~+/')),
    secret: true,
  },
  redact: {
    name: 'no-redact',
    help: 'leave passwords, tokens and keys in command lines',
    schema: v.pipe(
      v.boolean(),
      v.transform((off) => !off),
    ),
    default: 'false',
  },
  redactPatterns: {
    name: 'redact-pattern',
    value: 'REGEX…',
    help: 'take out what these match too: their group "secret", else the first group, else the whole match',
    schema: patterns,
    default: '',
    aliases: ['redact-patterns'],
  },
  drainTimeout: {
    name: 'drain-timeout',
    value: 'TIME',
    help: 'how long to go on delivering after SIGTERM, in seconds or like 500ms, 10s, 2m',
    schema: duration,
    default: '10s',
  },
  logLevel: {
    name: 'log-level',
    value: 'LEVEL',
    help: `${LOG_LEVEL_NAMES.join(', ')}; or a filter like warn,oom_witness=debug`,
    schema: logFilter,
    default: 'info',
  },
  hostName: {
    name: 'host-name',
    value: 'NAME',
    help: "this machine's name in incidents; the kernel's unless set",
    // Longer than what the kernel takes (64), as long as what DNS does.
    schema: v.pipe(v.string(), v.regex(/^[\w.:-]{1,253}$/, 'must be a host name')),
  },
} as const satisfies Record<string, Option>;

export const agentOptions: readonly Option[] = Object.values(AGENT_OPTIONS);

/** Variables that oom-notifier reads; ours (`OOM_WITNESS_LOG_LEVEL`) come first. */
export const INHERITED_VARIABLES: Readonly<Record<string, string>> = {
  LOGGING_LEVEL: 'log-level',
  HOSTNAME: 'host-name',
};

type Options = typeof AGENT_OPTIONS;

/** Times are milliseconds; what has no default may be undefined. */
export type AgentSettings = {
  readonly [K in keyof Options]:
    | v.InferOutput<Options[K]['schema']>
    | (Options[K] extends { readonly default: string } ? never : undefined);
};

/** @param values parsed values by option name */
export function agentSettings(values: Readonly<Record<string, unknown>>): AgentSettings {
  const entries = Object.entries(AGENT_OPTIONS).map(([key, { name }]) => [key, values[name]]);
  return Object.fromEntries(entries) as AgentSettings;
}
