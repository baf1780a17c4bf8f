/** The composition root of `oom-witness watch`: kills as the pods of a whole cluster tell them, without any privilege. */
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { aborted } from './aborted.ts';
import { AGENT_LABELS, AgentNodes } from './cluster-watch/agents.ts';
import {
  Backlog,
  decodeProgress,
  encodeProgress,
  type Found,
  isDone,
  type Progress,
} from './cluster-watch/backlog.ts';
import type { Config } from './config.ts';
import { incidentFromStatus, statusId } from './cross-check/incident-from-status.ts';
import { Downstream, type ProgramIo } from './downstream.ts';
import { Owners } from './enrich/owners.ts';
import { printable } from './format.ts';
import type { Incident, IncidentHost } from './incident.ts';
import { ContainerTable } from './inventory/container-table.ts';
import type { KubernetesApi } from './kubernetes/api.ts';
import { LeaseElection } from './kubernetes/lease.ts';
import { type KnownPod, type KnownPodContainer, OOM_KILLED, type Termination } from './kubernetes/pod.ts';
import { Families } from './metrics/families.ts';
import { missingContainerMetrics } from './replaced/missing-container-metrics.ts';
import { showsMetricsOf } from './replaced/programs.ts';
import type { AgentStatus } from './server.ts';
import { giveBackSpareMemory } from './spare-memory.ts';
import { OomRestarts } from './watch/oom-restarts.ts';
import { PodContainers } from './watch/pod-containers.ts';
import { Pods } from './watch/pods.ts';

/** Of all nodes; 1 KiB each, and only where their metrics are asked for. */
const MOST_CONTAINERS = 16_384;
const LEASE = 'oom-witness-watch';
/** Annotation of the lease: what has been delivered. */
const PROGRESS = 'oom-witness.io/delivered';
/** Before the lease can be somebody else's, what is under way has to be over and noted. */
const LONGEST_DRAIN_MS = 7000;
/** For asking who owns the owner of a pod, behind all who are asked for before it. */
const WORKLOAD_MS = 30_000;

/** The exit code when there is no cluster, and when the lease was lost: whoever starts next begins as one that waits. */
const FAILED = 1;

/** What a pod's status told, and how to make the incident of it. */
interface Told extends Found {
  readonly node: string | undefined;
  readonly incident: () => Promise<Incident>;
}

/** @returns the exit code: 0 after it was asked to end */
export async function runClusterWatch(config: Config, io: ProgramIo): Promise<number> {
  return new ClusterWatch(config, io).run();
}

/**
 * Every replica watches; the one that holds the lease delivers. There is no store on disk: the status of the pods, and the note in the
 * lease of what is delivered, are what the next holder goes on with. Nodes with an agent of their own are left to it.
 */
class ClusterWatch {
  readonly #config: Config;
  readonly #io: ProgramIo;
  /** Unix time, ms. Its whole second: the times of a status have no finer one. */
  readonly #startedAt = Math.floor(Date.now() / 1000) * 1000;
  readonly #downstream: Downstream;
  readonly #pods: Pods;
  readonly #owners: Owners;
  readonly #agentNodes: AgentNodes;
  readonly #backlog = new Backlog<Told>(Date.now);
  readonly #restarts: OomRestarts;
  #election: LeaseElection | undefined;
  /** What the last holder has delivered; undefined: this replica has never led. */
  #before: Progress | undefined;
  #delivers = false;

  constructor(config: Config, io: ProgramIo) {
    this.#config = config;
    this.#io = io;
    const host: IncidentHost = { name: config.hostName ?? hostname() };
    this.#downstream = new Downstream(config, io, { host, witness: 'cluster' });
    const { events, metrics, store } = this.#downstream;
    this.#pods = new Pods({
      settings: { ...config, useKubernetes: true },
      host,
      everywhere: { labels: Object.keys(AGENT_LABELS) },
      observer: events.kubernetes,
      now: Date.now,
      sleep: pause,
      random: Math.random,
    });
    this.#owners = new Owners({
      api: () => this.#pods.api,
      now: Date.now,
      sleep: (ms) => pause(ms, io.signal),
    });
    this.#restarts = new OomRestarts({
      host,
      startedAt: this.#startedAt,
      now: Date.now,
      commit: (restart) => this.#restarted(restart),
    });
    this.#agentNodes = new AgentNodes(config.leaseNamespace);
    this.#pods.table.listen(this.#agentNodes);
    this.#pods.table.listen(this.#restarts);
    this.#pods.table.listen({
      terminated: (pod, container, termination) => this.#ended(pod, container, termination),
      forgotten: (pod) => metrics.kills.leave({ namespace: pod.namespace, pod: pod.name }),
    });
    metrics.attach({
      counter: () => 0,
      queue: (sink) => store.queue(sink),
      kubernetes: () => this.#pods.works,
    });
  }

  async run(): Promise<number> {
    const { signal } = this.#io;
    const { events, store } = this.#downstream;
    const families = await this.#openFamilies();
    await this.#downstream.listen(() => this.#status(families), families);
    await families.listen(this.#config.replaced, events.agent);
    const stopGivingBack = giveBackSpareMemory(() => store.shrink());
    const api = await this.#pods.start();
    if (api !== undefined) await this.#elect(api, signal);
    const code = signal.aborted ? 0 : FAILED;
    if (code === 0)
      events.agent.leaving(signal.reason instanceof Error ? signal.reason.message : signal.reason);
    stopGivingBack();
    await this.#pods.stop();
    await families.close();
    await this.#downstream.end();
    return code;
  }

  /** Ends when the program is asked to, and when a lease that was held is lost. */
  async #elect(api: KubernetesApi, stop: AbortSignal): Promise<void> {
    const over = new AbortController();
    const identity = `${hostname()}_${crypto.randomUUID()}`;
    const note = { annotation: PROGRESS, text: () => encodeProgress(this.#progress()) };
    this.#election = new LeaseElection(
      api,
      { namespace: this.#config.leaseNamespace, name: LEASE, identity, note },
      {
        observer: this.#downstream.events.kubernetes,
        now: Date.now,
        monotonic: () => performance.now(),
        sleep: pause,
        random: Math.random,
      },
    );
    const lead = async (losing: AbortSignal) => {
      await this.#lead(losing);
      over.abort();
    };
    await this.#election.run(lead, AbortSignal.any([stop, over.signal]));
  }

  async #lead(losing: AbortSignal): Promise<void> {
    const before = decodeProgress(this.#election?.note ?? '') ?? { since: this.#startedAt, done: new Set() };
    await this.#pods.synced(losing);
    if (losing.aborted) return;
    this.#downstream.start();
    this.#before = before;
    this.#delivers = true;
    for (const told of this.#backlog.left(before)) void this.#deliver(told);
    await aborted(losing);
    // Asked to end: what is under way is delivered and noted before another one begins. Lost: it may have begun.
    this.#delivers = false;
    if (this.#io.signal.aborted) await this.#downstream.drain(LONGEST_DRAIN_MS);
    else await this.#downstream.abandon();
  }

  #ended(pod: KnownPod, container: KnownPodContainer, termination: Termination): void {
    if (termination.reason !== OOM_KILLED) return;
    const at = Date.parse(termination.finishedAt ?? '');
    this.#tell({
      id: statusId(pod, container, termination),
      at: Number.isNaN(at) ? Date.now() : at,
      node: pod.node,
      incident: async () => {
        const workload = await this.#owners.workload(pod, AbortSignal.timeout(WORKLOAD_MS));
        const host = { name: pod.node ?? 'unknown' };
        return incidentFromStatus(pod, container, termination, workload, host, Date.now());
      },
    });
  }

  /** Every replica knows of it: the one that delivers it counts it. */
  #restarted(restart: Incident): false | undefined {
    const node = restart.k8s?.node?.name;
    const at = Date.parse(restart.time);
    return this.#tell({ id: restart.id, at, node, incident: async () => restart }) ? undefined : false;
  }

  /** @returns false where it was told before */
  #tell(told: Told): boolean {
    const before = this.#before;
    const isNew = this.#backlog.add(told);
    if (isNew && before !== undefined && told.at >= before.since && !isDone(before, told.id))
      void this.#deliver(told);
    return isNew;
  }

  async #deliver(told: Told): Promise<void> {
    // The agent of the node tells it, with the process.
    if (told.node !== undefined && this.#agentNodes.has(told.node)) return;
    const incident = await told.incident();
    if (!this.#delivers || !this.#election?.holds) return;
    const { events } = this.#downstream;
    if (incident.kind === 'oom_restart') {
      if (this.#downstream.tellRestart(incident)) this.#restarts.sent();
    } else for (const fresh of this.#downstream.commit([incident])) events.incidents.enriched(fresh);
  }

  /** What the next holder need not deliver. */
  #progress(): Progress {
    const { store } = this.#downstream;
    const before = this.#before;
    return this.#backlog.progress(
      ({ id, node }) =>
        (before !== undefined && isDone(before, id)) ||
        store.isDelivered(id) ||
        (node !== undefined && this.#agentNodes.has(node)),
    );
  }

  /** Of this machine nothing is known, and nothing is asked: containers are what the status of their pods says. */
  #openFamilies(): Promise<Families> {
    const containers = new ContainerTable({ now: Date.now, kernelSees: () => false, most: MOST_CONTAINERS });
    if (showsMetricsOf(missingContainerMetrics, this.#config))
      this.#pods.table.listen(new PodContainers(containers, Date.now));
    return Families.open({
      own: this.#downstream.metrics,
      shown: this.#config.metrics,
      replaced: this.#config.replaced,
      containers,
      containerUpdates: this.#restarts.counts,
      pods: this.#pods.table,
      now: Date.now,
    });
  }

  #status(families: Families): AgentStatus {
    const holder = this.#election?.holder;
    const [kubernetes] = this.#pods.parts();
    const parts = [
      ...(kubernetes ? [{ ...kubernetes, name: 'pods of the cluster' }] : []),
      {
        name: this.#election?.holds
          ? 'the lease: held, this replica delivers'
          : `the lease: ${holder ? `held by ${printable(holder)}` : 'not held'}, this replica waits`,
        works: true,
      },
      ...families.parts(),
    ];
    return { alive: true, ready: this.#pods.works === true, parts };
  }
}

const pause = (ms: number, signal: AbortSignal) => sleep(ms, undefined, { signal });
