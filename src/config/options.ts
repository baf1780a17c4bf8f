/** The agent's own options. Those of a sink are in its file under `sinks/`. */
import * as v from 'valibot';
import { EVENT_FORMATS } from '../event-format.ts';
import { OWN_FAMILY, PROGRAMS } from '../replaced/programs.ts';
import { listenAddress } from './listen-address.ts';
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

/** Of labels and annotations. */
const names = v.pipe(
  v.string(),
  v.transform((text) => new Set(text.split(',').map((name) => name.trim())).difference(new Set(['']))),
);

const programs = PROGRAMS.map(({ name }) => name);
const programNames = someOf(programs);
const familyNames = someOf([OWN_FAMILY, ...programs]);

function someOf(allowed: readonly string[]) {
  return v.pipe(
    names,
    v.check((given) => given.isSubsetOf(new Set(allowed)), `must be some of ${allowed.join(', ')}`),
  );
}

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
  logFile: {
    name: 'log-file',
    value: 'PATH|off',
    help: "read kills from this file (syslog, dmesg, journalctl) instead of the kernel's own log, through rotation",
    schema: v.pipe(
      path,
      v.transform((text) => (text === 'off' ? undefined : text)),
    ),
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
  kubernetes: {
    name: 'kubernetes',
    value: 'auto|on|off',
    help: 'name pods through the API of Kubernetes; auto: in a cluster, or with --kubeconfig',
    schema: v.picklist(['auto', 'on', 'off'], 'must be auto, on or off'),
    default: 'auto',
  },
  kubeconfig: {
    name: 'kubeconfig',
    value: 'PATH',
    help: 'how to reach the API of Kubernetes; in a pod its service account unless set',
    schema: path,
  },
  nodeName: {
    name: 'node-name',
    value: 'NAME',
    help: "this machine's name in Kubernetes, else the host name",
    schema: v.pipe(v.string(), v.regex(/^[a-z\d]([a-z\d.-]{0,251}[a-z\d])?$/, 'must be the name of a node')),
  },
  leaseNamespace: {
    name: 'lease-namespace',
    value: 'NAME',
    help: 'where the replicas of oom-witness watch agree on who delivers, and agents of nodes are known by; their own unless set',
    schema: v.pipe(
      v.string(),
      v.regex(/^[a-z\d]([a-z\d-]{0,61}[a-z\d])?$/, 'must be the name of a namespace'),
    ),
    default: 'oom-witness',
  },
  podLabels: {
    name: 'pod-labels',
    value: 'NAME,…',
    help: 'labels of the pod, or of a container without one, that incidents carry; * for all',
    schema: names,
    default: [
      'app',
      'team',
      ...['name', 'instance', 'component', 'part-of', 'version'].map((each) => `app.kubernetes.io/${each}`),
    ].join(', '),
  },
  podAnnotations: {
    name: 'pod-annotations',
    value: 'NAME,…',
    help: 'annotations of the pod that incidents carry; * for all',
    schema: names,
    default: '',
  },
  enrichTimeout: {
    name: 'enrich-timeout',
    value: 'TIME',
    help: 'how long delivery waits for the names of container and pod',
    schema: duration,
    default: '2s',
  },
  dockerSocket: {
    name: 'docker-socket',
    value: 'PATH|auto|off',
    help: 'where Docker tells of its containers; auto: /var/run/docker.sock, if there is one',
    schema: path,
    default: 'auto',
  },
  containerdSocket: {
    name: 'containerd-socket',
    value: 'PATH|auto|off',
    help: 'where containerd tells of its containers; auto: /run/containerd/containerd.sock, if there is one, asked when a kill needs a name and followed for the metrics of missing-container-metrics',
    schema: path,
    default: 'auto',
  },
  metrics: {
    name: 'metrics',
    value: 'FAMILY,…',
    help: `what /metrics shows: ${OWN_FAMILY}, and the names of programs that --replace knows for theirs`,
    schema: familyNames,
    default: OWN_FAMILY,
  },
  replace: {
    name: 'replace',
    value: 'PROGRAM,…',
    help: `take the place of these: their metrics, port, flags and environment variables; ${programs.join(', ')}`,
    schema: programNames,
    default: '',
  },
} as const satisfies Record<string, Option>;

export const agentOptions: readonly Option[] = Object.values(AGENT_OPTIONS);

/**
 * Variables of others; ours (`OOM_WITNESS_LOG_LEVEL`) come first, then the first of two for the same option. LOGGING_LEVEL and
 * HOSTNAME are oom-notifier's. NODE_NAME is what manifests call the node's name: in a pod HOSTNAME is the pod's.
 */
export const INHERITED_VARIABLES: readonly (readonly [variable: string, option: string])[] = [
  ['LOGGING_LEVEL', 'log-level'],
  ['NODE_NAME', 'node-name'],
  ['NODE_NAME', 'host-name'],
  ['HOSTNAME', 'host-name'],
  ['POD_NAMESPACE', 'lease-namespace'],
];

type Options = typeof AGENT_OPTIONS;

/** Whether the API of Kubernetes is used: auto means where there is one without asking. */
export function usesKubernetes(
  { kubernetes, kubeconfig }: AgentSettings,
  environment: Readonly<Record<string, string | undefined>>,
): boolean {
  const isNear = kubeconfig !== undefined || Boolean(environment.KUBERNETES_SERVICE_HOST);
  return kubernetes === 'on' || (kubernetes === 'auto' && isNear);
}

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
