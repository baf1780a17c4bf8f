import Counter from 'prom-client/lib/counter.js';
import Gauge from 'prom-client/lib/gauge.js';
import Histogram from 'prom-client/lib/histogram.js';
import Registry from 'prom-client/lib/registry.js';
import type { CounterName } from './capture/counters.ts';
import { HOST_LABELS, type KillScope, KillSeries, MOST_OF_NODE } from './metrics/kill-series.ts';
import type { QueueState } from './store.ts';

const PREFIX = 'oom_witness_';

const SCOPES: readonly KillScope[] = [
  'cgroup',
  'allocatable',
  'node',
  'cpuset',
  'mempolicy',
  'sysrq',
  'unknown',
];
type ReaderName = 'kmsg' | 'log_file' | 'proc_connector';
const OUTCOMES = ['delivered', 'retried', 'rejected', 'dropped'] as const;

/** What is read when somebody scrapes, because it changes too often to be told. */
export interface MetricSources {
  /** The capture thread's own counters. */
  counter(name: CounterName): number;
  queue(sink: string): QueueState;
  /** Whether the pods are known from the API; undefined where it is not used. */
  kubernetes?(): boolean | undefined;
}

export interface MetricsOptions {
  readonly version: string;
  /** The version of Node.js. */
  readonly node: string;
  /** The names of the configured sinks. */
  readonly sinks: readonly string[];
  /** Where kills are seen; default: the kernel's own log. */
  readonly kernelLog?: Exclude<ReaderName, 'proc_connector'>;
  /** Of how many containers kills are counted; default: those of a node. */
  readonly mostContainers?: number;
  readonly now: () => number;
}

/** `collect` is called at each scrape, before the metric is read. */
type About<Metric> = [
  name: string,
  help: string,
  labelNames?: readonly string[],
  collect?: (metric: Metric) => void,
];

/**
 * Every metric, defined once. All series exist from the start with 0, so that `increase()` sees the first kill, too; those of a
 * container from when it is first seen. Names of processes, pids and command lines are no labels: they are unbounded, and not
 * everybody who may scrape may read them.
 */
export class Metrics {
  readonly #registry = new Registry();
  readonly #sinks: readonly string[];
  readonly #now: () => number;
  readonly kernelLog: ReaderName;
  #sources: MetricSources | undefined;

  readonly #kills = this.#counter('kills_total', 'Processes that the kernel killed for lack of memory', [
    'namespace',
    'pod',
    'container',
    'scope',
  ]);
  readonly incidents = this.#counter(
    'incidents_committed_total',
    'Incidents stored: one per run of the OOM killer',
    ['scope'],
  );
  readonly #lastKill = this.#gauge(
    'last_kill_timestamp_seconds',
    'When the newest known kill happened; 0: none yet',
    ['namespace', 'pod', 'container', 'scope'],
  );
  readonly kills: KillSeries;
  readonly statements = this.#counter(
    'statements_total',
    'What the cluster says of kills that the kernel told of; agrees: that the container was OOM killed',
    ['agrees'],
  );
  readonly late = this.#counter(
    'enriched_late_total',
    'Incidents that were delivered before their pod was known',
  );
  readonly lists = this.#counter(
    'kubernetes_lists_total',
    'Times that objects of Kubernetes were listed whole',
  );
  readonly watchFailures = this.#counter(
    'kubernetes_watch_failures_total',
    'Lists and watches of Kubernetes that failed or had to begin anew',
  );
  readonly objectsSkipped = this.#counter(
    'kubernetes_objects_skipped_total',
    'Objects of Kubernetes that could not be taken',
  );
  readonly leader = this.#gauge('watch_leader', 'Whether this replica of the watch delivers');
  readonly leaseFailures = this.#counter(
    'watch_lease_failures_total',
    'Times that the lease could not be read or written',
  );
  readonly enrichFailures = this.#counter(
    'enrich_failures_total',
    'Look-ups of containers and pods that failed',
  );
  readonly noVictim = this.#counter('no_victim_total', 'Runs of the OOM killer that found nobody to kill');
  readonly captures = this.#counter(
    'captures_total',
    'Victims by the source of their command line; kernel-comm: it was not known; none: nor was the process',
    ['source'],
  );
  readonly redactions = this.#counter(
    'redactions_total',
    'Secrets taken out of the command lines of victims',
  );
  readonly readerUp = this.#gauge('reader_up', 'Whether the source works', ['reader'], (gauge) => {
    const works = this.#sources?.kubernetes?.();
    if (works !== undefined) gauge.set({ reader: 'kubernetes' }, Number(works));
  });
  readonly deliveries = this.#counter('deliveries_total', 'Incidents by what became of them at the sink', [
    'sink',
    'outcome',
  ]);
  readonly deadLetters = this.#counter('dead_letters_total', 'Incidents that the sink refused for good', [
    'sink',
  ]);
  readonly deadLetterFailures = this.#counter(
    'dead_letter_failures_total',
    'Refused incidents that could not be written to the dead-letter file',
    ['sink'],
  );
  readonly stumbles = this.#counter('courier_stumbles_total', 'Failures of the courier itself', ['sink']);
  readonly latency: Histogram<string>;
  readonly feedUp = this.#gauge(
    'container_feed_up',
    'Whether the events of the container runtime are followed',
    ['feed'],
  );
  readonly feedLosses = this.#counter(
    'container_feed_losses_total',
    'Times that a container runtime could not be followed (any more)',
    ['feed'],
  );
  readonly feedSkipped = this.#counter(
    'container_events_skipped_total',
    'Events of a container runtime that could not be read',
    ['feed'],
  );
  readonly storeOnDisk = this.#gauge('store_on_disk', 'Whether history and queues survive the process');
  readonly storeSetAside = this.#counter(
    'store_set_aside_total',
    'Databases that were set aside: damaged, or written by a newer version',
  );
  readonly logLinesSuppressed = this.#counter(
    'log_lines_suppressed_total',
    'Repeated warnings that were counted instead of written',
  );

  constructor({
    version,
    node,
    sinks,
    kernelLog = 'kmsg',
    mostContainers = MOST_OF_NODE,
    now,
  }: MetricsOptions) {
    this.kills = new KillSeries(this.#kills, this.#lastKill, mostContainers);
    this.kernelLog = kernelLog;
    this.#sinks = sinks;
    this.#now = now;
    this.latency = new Histogram({
      name: `${PREFIX}delivery_latency_seconds`,
      help: 'How long an attempt took that delivered something',
      labelNames: ['sink'],
      buckets: [0.005, 0.02, 0.1, 0.5, 2, 10],
      registers: [this.#registry],
    });
    // Not `node`: in a cluster's Prometheus that is the machine.
    this.#gauge('build_info', 'Versions; always 1', ['version', 'nodejs']).set({ version, nodejs: node }, 1);
    for (const scope of SCOPES) this.incidents.inc({ scope }, 0);
    for (const scope of SCOPES) this.kills.killed(HOST_LABELS, scope, 0, 0);
    for (const agrees of ['true', 'false']) this.statements.inc({ agrees }, 0);
    for (const reader of this.readers) this.readerUp.set({ reader }, 0);
    for (const source of ['exec', 'scan', 'inherited', 'live', 'kernel-comm', 'none'])
      this.captures.inc({ source }, 0);
    for (const sink of sinks) {
      for (const outcome of OUTCOMES) this.deliveries.inc({ sink, outcome }, 0);
      for (const counter of [this.deadLetters, this.deadLetterFailures, this.stumbles])
        counter.inc({ sink }, 0);
      this.latency.zero({ sink });
    }
    this.#defineCapture();
    this.#defineQueues();
    this.#defineProcess();
  }

  /** Those that there are here: a series of another would look like one that has failed. */
  get readers(): readonly ReaderName[] {
    return [this.kernelLog, 'proc_connector'];
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** From now on the figures of capture and queues are known; before that they are 0. */
  attach(sources: MetricSources): void {
    this.#sources = sources;
  }

  /** The text that Prometheus reads. */
  async scrape(): Promise<string> {
    const text = await this.#registry.metrics();
    this.kills.scraped();
    return text;
  }

  #defineCapture(): void {
    const mirrors: readonly (readonly [CounterName, string, string])[] = [
      ['kmsgRecords', 'kmsg_records_total', 'Records read from the kernel log'],
      [
        'kmsgLost',
        'kmsg_lost_records_total',
        'Records that the kernel had overwritten before they were read',
      ],
      ['kmsgOverruns', 'kmsg_overruns_total', 'Times that reading the kernel log failed with EPIPE'],
      [
        'untold',
        'untold_total',
        'Kills, or records of the kernel, that were lost by a mistake of oom-witness; its log has a line for each',
      ],
      ['connectorOverruns', 'proc_connector_overruns_total', 'Times that process events were lost (ENOBUFS)'],
      ['scans', 'proc_scans_total', 'Scans of /proc'],
    ];
    const logFile: typeof mirrors = [
      ['logFileBytes', 'log_file_bytes_total', 'Bytes read from the log file'],
      [
        'logFileChanges',
        'log_file_changes_total',
        'Times that the log file was renamed, truncated or made anew',
      ],
      [
        'logFileGaps',
        'log_file_gaps_total',
        'Times that the unread end of a log file was not found any more',
      ],
    ];
    for (const [source, name, help] of this.kernelLog === 'log_file' ? [...mirrors, ...logFile] : mirrors)
      this.#counter(name, help, [], (counter) => mirror(counter, {}, this.#captured(source)));
    this.#counter('proc_connector_events_total', 'Process events of the kernel', ['event'], (counter) => {
      counter.reset();
      for (const [event, source] of [
        ['fork', 'forks'],
        ['exec', 'execs'],
        ['exit', 'exits'],
      ] as const)
        counter.inc({ event }, this.#captured(source));
    });
    this.#gauge('process_table_entries', 'Processes that are known', [], (gauge) =>
      gauge.set(this.#captured('tableEntries')),
    );
    this.#gauge('process_table_bytes', 'Estimated memory of the process table', [], (gauge) =>
      gauge.set(this.#captured('tableBytes')),
    );
  }

  #captured(name: CounterName): number {
    return this.#sources?.counter(name) ?? 0;
  }

  #defineQueues(): void {
    this.#gauge('queue_depth', 'Incidents that the sink has not got yet', ['sink'], (gauge) => {
      for (const sink of this.#sinks) gauge.set({ sink }, this.#sources?.queue(sink).depth ?? 0);
    });
    this.#gauge('queue_oldest_seconds', 'Age of the oldest incident that waits for it', ['sink'], (gauge) => {
      for (const sink of this.#sinks) {
        const oldest = this.#sources?.queue(sink).oldestAt;
        gauge.set({ sink }, oldest === undefined ? 0 : Math.max(0, this.#now() - oldest) / 1000);
      }
    });
  }

  /** Under the names that Prometheus' own clients use. Read at the scrape: no timer of ours runs for them. */
  #defineProcess(): void {
    const registers = [this.#registry];
    new Counter({
      name: 'process_cpu_seconds_total',
      help: 'CPU time of the agent, all its threads',
      registers,
      collect() {
        const { user, system } = process.cpuUsage();
        mirror(this, {}, (user + system) / 1e6);
      },
    });
    new Gauge({
      name: 'process_resident_memory_bytes',
      help: 'Resident memory of the agent',
      registers,
      collect() {
        this.set(process.memoryUsage.rss());
      },
    });
    new Gauge({
      name: 'process_start_time_seconds',
      help: 'When the agent was started',
      registers,
    }).set(this.#now() / 1000 - process.uptime());
  }

  #counter(...about: About<Counter<string>>): Counter<string> {
    return new Counter(this.#configuration(...about));
  }

  #gauge(...about: About<Gauge<string>>): Gauge<string> {
    return new Gauge(this.#configuration(...about));
  }

  #configuration<Metric>(...[name, help, labelNames = [], collect]: About<Metric>) {
    return {
      name: PREFIX + name,
      help,
      labelNames: [...labelNames],
      registers: [this.#registry],
      ...(collect && {
        collect(this: Metric) {
          collect(this);
        },
      }),
    };
  }
}

/** A counter that somebody else counts. */
function mirror(counter: Counter<string>, labels: Record<string, string>, value: number): void {
  counter.reset();
  counter.inc(labels, value);
}
