import Gauge from 'prom-client/lib/gauge.js';
import Registry from 'prom-client/lib/registry.js';
import type { Incident, Victim } from '../incident.ts';
import type { FamilySources, MetricFamily } from './family.ts';

/** In the order in which the program's page has them. */
const LABELS = ['command', 'container', 'namespace', 'pod'] as const;

type Labels = Readonly<Record<(typeof LABELS)[number], string>>;

/** What the program writes where there is nothing to say. */
const ABSENT = 'None';
const NOT_FOUND = 'NotFound';
const NO_NAME = 'Could not get a proc name from a line.';

/** Its series never end, and a process chooses its own name. These are the newest so many. */
const MOST_SERIES = 500;
/** Kills in containers whose names are still looked up; of more, the oldest are shown without. */
const MOST_AWAITED = 1_000;

/**
 * The metrics of oom_messages_exporter, with its names, help texts, labels and fixed texts: one series for each command and container,
 * with the last process that was killed. Two things are better than there: the time is that of the kill, not of reading it, and the
 * series of a pod end when it is gone, after one more scrape.
 */
export function openFamily(sources: FamilySources): MetricFamily {
  return new OomMessagesExporter(sources);
}

interface Series {
  readonly labels: Labels;
  /** The pod is gone. */
  isLeaving: boolean;
}

class OomMessagesExporter implements MetricFamily {
  readonly #registry = new Registry();
  readonly #pid: Gauge<string>;
  readonly #time: Gauge<string>;
  /** The newest last. */
  readonly #series = new Map<string, Series>();
  readonly #awaited = new Map<string, Incident>();
  readonly #stopListening: (() => void) | undefined;

  constructor({ pods }: FamilySources) {
    const common = { labelNames: [...LABELS], registers: [this.#registry] };
    this.#pid = new Gauge({
      ...common,
      name: 'oom_messages_exporter_last_killed_pid',
      help: 'The last pid killed by OOM killer',
    });
    this.#time = new Gauge({
      ...common,
      name: 'oom_messages_exporter_last_killed_time',
      help: 'The last time when a pid is killed by OOM killer',
    });
    this.#stopListening = pods?.listen({ forgotten: ({ namespace, name }) => this.#leave(namespace, name) });
  }

  async scrape(): Promise<string> {
    const text = await this.#registry.metrics();
    for (const [key, series] of this.#series) if (series.isLeaving) this.#remove(key, series);
    return text;
  }

  /** A kill in a container waits for the container's names. */
  witnessed(incidents: readonly Incident[]): void {
    for (const incident of incidents) {
      if (incident.kind !== 'oom_kill') continue;
      if (!isInContainer(incident) || hasNames(incident)) this.#show(incident);
      else {
        this.#awaited.set(incident.id, incident);
        if (this.#awaited.size > MOST_AWAITED) this.enriched(this.#awaited.values().next().value!);
      }
    }
  }

  enriched(incident: Incident): void {
    if (this.#awaited.delete(incident.id)) this.#show(incident);
  }

  close(): void {
    this.#stopListening?.();
  }

  #show(incident: Incident): void {
    for (const victim of incident.victims) {
      // The cluster alone told of it.
      if (victim.process.pid === 0) continue;
      const labels = labelsOf(incident, victim);
      const key = LABELS.map((name) => labels[name]).join('\0');
      this.#series.delete(key);
      this.#series.set(key, { labels, isLeaving: false });
      this.#pid.set(labels, victim.process.pid);
      this.#time.set(labels, Date.parse(incident.time) / 1000);
    }
    for (const [key, series] of this.#series) {
      if (this.#series.size <= MOST_SERIES) break;
      this.#remove(key, series);
    }
  }

  #leave(namespace: string, pod: string): void {
    for (const series of this.#series.values())
      if (series.labels.pod === pod && series.labels.namespace === namespace) series.isLeaving = true;
  }

  #remove(key: string, { labels }: Series): void {
    this.#series.delete(key);
    this.#pid.remove(labels);
    this.#time.remove(labels);
  }
}

function isInContainer({ container, k8s }: Incident): boolean {
  return container !== undefined || k8s?.pod !== undefined;
}

function hasNames({ container, k8s }: Incident): boolean {
  return (k8s?.container?.name ?? container?.name) !== undefined;
}

function labelsOf(incident: Incident, { process }: Victim): Labels {
  const { container, k8s } = incident;
  const unnamed = isInContainer(incident) ? NOT_FOUND : ABSENT;
  return {
    command: process.name === '' ? NO_NAME : process.name,
    container: k8s?.container?.name ?? container?.name ?? unnamed,
    namespace: k8s?.namespace?.name ?? ABSENT,
    pod: k8s?.pod?.name ?? ABSENT,
  };
}
