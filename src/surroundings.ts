import { incidentFromStatus } from './cross-check/incident-from-status.ts';
import { CrossCheck, STATEMENT_MS } from './cross-check.ts';
import { ContainerdFinder } from './enrich/containerd.ts';
import { ContainerFinder } from './enrich/containers.ts';
import { Owners } from './enrich/owners.ts';
import { PodLogs } from './enrich/pod-logs.ts';
import { PodmanFinder } from './enrich/podman.ts';
import { PodFinder } from './enrich/pods.ts';
import { UnplacedFinder } from './enrich/unplaced.ts';
import { Enricher } from './enrich.ts';
import type { Events } from './events.ts';
import type { Incident, IncidentHost } from './incident.ts';
import type { KnownContainer } from './inventory/container-table.ts';
import type { KnownPod, KnownPodContainer, Termination } from './kubernetes/pod.ts';
import type { KillLabels, KillSeries } from './metrics/kill-series.ts';
import type { PartStatus } from './part-status.ts';
import type { Store } from './store.ts';
import { type ContainerSettings, Containers } from './watch/containers.ts';
import { PodContainers } from './watch/pod-containers.ts';
import { type PodSettings, Pods } from './watch/pods.ts';

export interface SurroundingsOptions {
  readonly settings: ContainerSettings & PodSettings & { readonly enrichTimeout: number };
  /** Where the host's /var/log may be. */
  readonly logs: readonly string[];
  /** Where its root folder may be. */
  readonly roots: readonly string[];
  readonly host: IncidentHost;
  /** Whether the kernel's own word of a kill arrives. */
  readonly kernelSees: () => boolean;
  readonly store: Pick<Store, 'complete' | 'outlines' | 'bookmark' | 'saveBookmark'>;
  readonly series: KillSeries;
  readonly events: Events;
  /** The incident has its names, as far as they will be known, and may go out. */
  readonly enriched: (incident: Incident) => void;
  /** Stores an incident that only the cluster told of. */
  readonly commit: (incident: Incident) => void;
  readonly now: () => number;
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
  readonly random: () => number;
}

/** Up to when the ends of containers have been looked at, RFC 3339. */
const BOOKMARK = 'pod status';
/** Ends are told in another order than they happened. What was looked at before is known by its id. */
const OVERLAP_MS = 60_000;
/** Of the kubelet, which is on this machine, and of who else may write a status. */
const CLOCKS_APART_MS = 60_000;
/** Kills of an earlier run whose pods may still be found, and by which a status is explained. */
const RECALLED = 500;
/** Deliveries that are held are let go after this, should nobody do so. */
const SLACK_MS = 5000;

/**
 * What the processes of this machine belong to: containers, as their runtimes tell, and pods, as the API of Kubernetes tells. It
 * gives incidents their names, kills their series, and holds the cluster's word against the kernel's.
 */
export class Surroundings {
  readonly containers: Containers;
  readonly pods: Pods;
  readonly #options: SurroundingsOptions;
  readonly #enricher: Enricher;
  readonly #crossCheck: CrossCheck;
  readonly #owners: Owners;
  readonly #unplaced: UnplacedFinder;
  readonly #startedAt: number;
  readonly #closing = new AbortController();
  /** Incidents that only the cluster told of and that are not stored yet. */
  readonly #unexplained = new Set<Promise<void>>();

  constructor(options: SurroundingsOptions) {
    const { settings, store, events, now, sleep, logs } = options;
    this.#options = options;
    this.#startedAt = now();
    this.containers = new Containers({ ...options, observer: events.runtimes });
    this.pods = new Pods({ ...options, observer: events.kubernetes });
    this.#owners = new Owners({
      api: () => this.pods.api,
      now,
      sleep: (ms) => sleep(ms, this.#closing.signal),
    });
    const pods = new PodFinder({
      pods: settings.useKubernetes ? this.pods.table : undefined,
      owners: this.#owners,
      logs: new PodLogs(logs),
      problem: () => this.pods.problem,
      timeoutMs: settings.enrichTimeout,
    });
    const runtimes = new ContainerFinder(this.containers.table, () => this.containers.followed.size > 0);
    const podman = new PodmanFinder(options.roots, settings.podLabels);
    const containerd = new ContainerdFinder(() => this.containers.containerdSocket, settings.podLabels);
    this.#unplaced = new UnplacedFinder({
      bootId: options.host.boot_id,
      untoldEnds: (from, to) => this.#crossCheck.untoldEnds(from, to),
      owners: this.#owners,
      now,
    });
    this.#enricher = new Enricher({
      finders: settings.useKubernetes
        ? [pods, podman, containerd, runtimes, this.#unplaced]
        : [podman, containerd, runtimes, pods],
      timeoutMs: settings.enrichTimeout,
      complete: (completions) => store.complete(completions),
      observer: {
        enriched: (incident) => this.#enriched(incident),
        enrichedLate: (incident) => events.incidents.enrichedLate(incident),
        enrichFailed: (id, reason) => events.incidents.enrichFailed(id, reason),
      },
      sleep,
    });
    this.#crossCheck = new CrossCheck({
      complete: (completion) => store.complete([completion])[0],
      // Whoever tells of it has to name the owner, and may have no time left to ask.
      untold: (pod) => void this.#owners.workload(pod, this.#closing.signal),
      unexplained: (pod, container, termination) => this.#tell(pod, container, termination),
      ...(settings.useKubernetes && { find: (id) => this.pods.table.byContainerId(id) }),
      observer: events.incidents,
      since: this.#since(),
      sleep,
    });
    this.pods.table.listen(this.#crossCheck);
    this.pods.table.listen({
      containerSeen: ({ namespace, name: pod }, { name: container }) =>
        options.series.expect({ namespace, pod, container }),
      forgotten: ({ namespace, name }) => options.series.leave({ namespace, pod: name }),
      terminated: (_pod, _container, { finishedAt }) => this.#lookedAt(finishedAt),
    });
    this.containers.table.listen((type, container) => {
      const labels = labelsOf(container);
      if (labels === undefined) return;
      if (type === 'seen') options.series.expect(labels);
      else if (type === 'forgotten') options.series.leave(labels);
    });
  }

  /** Loads what is needed and nothing else; returns before anything is connected. */
  async start(): Promise<void> {
    const { store, now } = this.#options;
    const recent = store.outlines(RECALLED);
    this.#crossCheck.recall(recent);
    // The cluster's word on the last of them may still come; the newest comes first here.
    for (const incident of recent.toReversed())
      if (Date.parse(incident.time) > now() - STATEMENT_MS && incident.statements === undefined)
        this.#crossCheck.witnessed(incident);
    this.#enricher.resume(recent);
    await this.containers.start();
    const { isCounted, table, followed } = this.containers;
    if (isCounted) this.pods.table.listen(new PodContainers(table, now, followed));
    void this.pods.start();
  }

  /** Until when the incident's deliveries wait for its names, Unix time in ms; 0: nobody here knows any. */
  heldUntil(incident: Incident): number {
    if (!this.#enricher.concerns(incident)) return 0;
    return this.#options.now() + this.#options.settings.enrichTimeout + SLACK_MS;
  }

  /** They are in the store: now they get their names. */
  committed(incidents: readonly Incident[]): void {
    this.containers.witnessed(incidents);
    // Before they have names: a status that says the same may not wait for so long.
    this.#crossCheck.recall(incidents);
    this.#enricher.enrich(incidents);
  }

  /** Records of the kernel were lost before they were read. */
  gap(): void {
    this.#unplaced.gap();
  }

  parts(): PartStatus[] {
    return [...this.containers.parts(), ...this.pods.parts()];
  }

  /** Afterwards nothing is committed or completed any more. */
  async stop(): Promise<void> {
    this.#closing.abort();
    // What it still completes has statements to wait for, which are waited for no longer.
    await this.#enricher.close();
    this.#crossCheck.close();
    await Promise.all([this.containers.stop(), this.pods.stop(), ...this.#unexplained]);
  }

  #enriched(incident: Incident): void {
    this.#options.events.incidents.enriched(incident);
    this.#crossCheck.witnessed(incident);
    this.#options.enriched(incident);
  }

  #tell(pod: KnownPod, container: KnownPodContainer, termination: Termination): void {
    if (this.#closing.signal.aborted) return;
    const { host, now, commit } = this.#options;
    const limit = AbortSignal.any([this.#closing.signal, AbortSignal.timeout(SLACK_MS)]);
    const told = this.#owners
      .workload(pod, limit)
      .then((workload) => commit(incidentFromStatus(pod, container, termination, workload, host, now())))
      .finally(() => this.#unexplained.delete(told));
    this.#unexplained.add(told);
  }

  #since(): string {
    const before = Date.parse(this.#options.store.bookmark(BOOKMARK) ?? '');
    // Whole seconds, as the API has them.
    const since = Number.isNaN(before) ? Math.floor(this.#startedAt / 1000) * 1000 : before - OVERLAP_MS;
    return new Date(since).toISOString();
  }

  #lookedAt(finishedAt: string | undefined): void {
    const { store, now } = this.#options;
    // What ended in the future (a clock that was wrong) would make everything old news until then.
    if (finishedAt === undefined || !(Date.parse(finishedAt) <= now() + CLOCKS_APART_MS)) return;
    const before = Date.parse(store.bookmark(BOOKMARK) ?? '');
    if (!(Date.parse(finishedAt) <= before)) store.saveBookmark(BOOKMARK, finishedAt);
  }
}

/** As an incident in it will have them; those of pods are expected when the pod is seen. */
function labelsOf({ name, namespace }: KnownContainer): KillLabels | undefined {
  return namespace === undefined && name !== undefined
    ? { namespace: '', pod: '', container: name }
    : undefined;
}
