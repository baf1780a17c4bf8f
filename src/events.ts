import type { CaptureStatus } from './capture/protocol.ts';
import type { CrossCheckObserver } from './cross-check.ts';
import type { DeliveryObserver } from './deliver/observer.ts';
import type { EnricherObserver } from './enrich.ts';
import { RepeatLimit } from './events/repeat-limit.ts';
import { printable } from './format.ts';
import type { Incident, Statement } from './incident.ts';
import type { ContainerFeed } from './inventory/container-table.ts';
import type { LeaseObserver } from './kubernetes/lease.ts';
import type { Log, LogFields } from './log.ts';
import { killLabels } from './metrics/kill-series.ts';
import type { Metrics, ReaderName } from './metrics.ts';
import type { StoreObserver } from './store.ts';
import type { FeedObserver } from './watch/container-feed.ts';
import type { PodsObserver } from './watch/pods.ts';

const READER_NAMES = { kmsg: 'kmsg', 'log file': 'log_file', 'process events': 'proc_connector' } as const;
/** As the capture thread calls them. */
type Reader = keyof typeof READER_NAMES;

/** What a reader's blindness costs, for the log. */
const COST: Readonly<Record<ReaderName, string>> = {
  kmsg: 'kills are not seen',
  log_file: 'kills are not seen',
  proc_connector: 'processes are found by scans of /proc, so those that live for less than a scan are missed',
};

/**
 * Each noteworthy happening: its log line and its metric together. What repeats itself is logged at once, then at most once
 * a minute with its count; the metric counts it every time. (Losses that the capture thread counts by itself are read from its
 * counters at the scrape: here they have only their line.)
 */
export class Events
  implements
    DeliveryObserver,
    StoreObserver,
    FeedObserver,
    EnricherObserver,
    CrossCheckObserver,
    PodsObserver,
    LeaseObserver
{
  readonly #log: Log;
  readonly #metrics: Metrics;
  readonly #limit: RepeatLimit;
  /** Sinks whose last attempt failed. */
  readonly #failing = new Set<string>();

  constructor(log: Log, metrics: Metrics, now: () => number) {
    this.#log = log;
    this.#metrics = metrics;
    this.#limit = new RepeatLimit(now);
  }

  // The agent

  started(version: string, node: string): void {
    this.#log('info', 'started', { version, node });
  }

  /** Something is set and means nothing. */
  noted(note: string): void {
    this.#log('info', 'ignored', { note });
  }

  /** @param ms since the start of the process */
  armed(status: CaptureStatus, ms: number): void {
    const kernelLog = this.#metrics.kernelLog === 'log_file' ? 'log file' : 'kmsg';
    this.#metrics.readerUp.set({ reader: this.#metrics.kernelLog }, Number(status.kernelLog.works));
    this.#metrics.readerUp.set({ reader: 'proc_connector' }, Number(status.processEvents.works));
    this.#log('info', 'armed', {
      ms: Math.round(ms),
      processes: status.processes,
      ...(status.restored > 0 && { restored: status.restored }),
    });
    for (const [reader, { works, problem }] of [
      [kernelLog, status.kernelLog],
      ['process events', status.processEvents],
    ] as const)
      if (!works) this.readerBlind(reader, problem ?? 'no reason given');
  }

  /** The agent ends. */
  nothingToSee(reason: string): void {
    this.#metrics.readerUp.set({ reader: this.#metrics.kernelLog }, 0);
    this.#log('error', 'no kill can be seen here, and nothing else works without that: ending', { reason });
  }

  listening(url: string): void {
    this.#log('info', 'listening', { url });
  }

  replacing(program: string, url: string): void {
    this.#log('info', 'listening in place of another program', { program, url });
  }

  /** It goes on without the page, the API and /metrics, or without a port of a replaced program. */
  notListening(reason: string): void {
    this.#log('error', 'not listening', { reason });
  }

  answerFailed(reason: string): void {
    this.#repeated('error', `answer ${reason}`, 'a request could not be answered', { reason });
  }

  selfProtectionRefused(reason: string): void {
    this.#log('warn', 'not protected from the OOM killer', { reason });
  }

  leaving(signal: string): void {
    this.#log('info', 'leaving', { signal });
  }

  /** @param left how many incidents each sink has not got */
  drained(left: Readonly<Record<string, number>>, stored: boolean): void {
    const sum = Object.values(left).reduce((total, count) => total + count, 0);
    if (sum === 0) this.#log('info', 'drained: every sink has everything');
    else if (stored) this.#log('warn', 'left in the store for the next start', { ...left });
    else this.#log('error', 'lost: not delivered, and there is no store on disk', { ...left });
  }

  // Capture

  readerBlind(reader: Reader, reason: string): void {
    const name = READER_NAMES[reader];
    this.#metrics.readerUp.set({ reader: name }, 0);
    this.#repeated('warn', `blind ${name}`, `${reader}: blind`, { reason, cost: COST[name] });
  }

  readerRecovered(reader: Reader): void {
    const name = READER_NAMES[reader];
    this.#metrics.readerUp.set({ reader: name }, 1);
    this.#limit.forget(`blind ${name}`);
    this.#log('info', `${reader}: works again`);
  }

  /** Capture as a whole has ended: nothing is seen any more. */
  captureFailed(reason: string): void {
    for (const reader of this.#metrics.readers) this.#metrics.readerUp.set({ reader }, 0);
    this.#log('error', 'capture failed', { reason });
  }

  kmsgGap(records: number, sequence: number): void {
    this.#repeated(
      'warn',
      'gap',
      'kmsg: records were overwritten before they were read',
      { sequence },
      records,
    );
  }

  /** By rotation, as a rule. */
  logFileChanged(how: 'renamed' | 'truncated' | 'made anew'): void {
    this.#log('debug', `log file: ${how}, reading on`);
  }

  logFileGap(reason: string): void {
    this.#repeated('warn', `log gap ${reason}`, 'log file: lines may have been missed', { reason });
  }

  overrun(reader: Reader): void {
    const message =
      reader === 'kmsg' ? 'kmsg: overrun, reading on' : 'process events: overrun, scanning /proc';
    this.#repeated('warn', `overrun ${reader}`, message);
  }

  noVictim(cgroup: string | undefined, times: number): void {
    this.#metrics.noVictim.inc(times);
    const where = cgroup === undefined ? 'node' : printable(cgroup);
    this.#repeated(
      'warn',
      `no victim ${where}`,
      'the OOM killer found nobody to kill',
      { cgroup: where },
      times,
    );
  }

  journalFailed(reason: string): void {
    this.#repeated('warn', 'journal', 'the process table is not kept for the next start', { reason });
  }

  /** The watch goes on where an earlier run ended: after a record of the kernel's log, or within a file. */
  resumed(place: { readonly after_sequence: number } | { readonly offset: number }): void {
    this.#log('info', 'resumed', { ...place });
  }

  /** Kills that happened while no agent ran, found in what the kernel still holds. */
  missed(incidents: number): void {
    this.#log('warn', 'kills while the agent was down', { incidents });
  }

  /** They are in the store; only now do they count. */
  committed(incidents: readonly Incident[]): void {
    for (const incident of incidents) {
      this.#metrics.incidents.inc({ scope: incident.oom.scope });
      const { id, kind, victims, process } = incident;
      this.#log('debug', 'incident', { id, kind, pid: process.pid, name: process.name });
      if (!isKill(kind)) continue;
      for (const [index, { capture, process }] of victims.entries()) {
        this.#metrics.captures.inc({ source: capture.source });
        this.#metrics.redactions.inc(capture.redacted);
        if (capture.source === 'kernel-comm') this.#captureMissing(incident, index, process.pid);
      }
    }
  }

  /** Whose it was is known now, as far as it will be when it is delivered: kills are counted by that. */
  enriched(incident: Incident): void {
    const { kind, oom, victims, time } = incident;
    if (!isKill(kind)) return;
    this.#metrics.kills.killed(killLabels(incident), oom.scope, victims.length, Date.parse(time) / 1000);
  }

  /** Its deliveries have gone out without the pod; the history has it now. */
  enrichedLate({ id, k8s }: Incident): void {
    this.#metrics.late.inc();
    this.#log('info', 'pod found after the incident was delivered', { id, pod: k8s?.pod?.name });
  }

  enrichFailed(id: string, reason: string): void {
    this.#metrics.enrichFailures.inc();
    this.#repeated('warn', `enrich ${reason}`, 'container and pod could not be looked up', { id, reason });
  }

  // Kubernetes

  notConnected(reason: string): void {
    this.#log('error', 'no connection to Kubernetes: pods are not named', { reason });
  }

  listed(path: string, objects: number): void {
    this.#metrics.lists.inc();
    this.#limit.forget(`list ${path} `);
    this.#log('info', 'listed', { path, objects });
  }

  listWatchFailed(path: string, reason: string, delayMs: number): void {
    this.#metrics.watchFailures.inc();
    this.#repeated('warn', `list ${path} ${reason}`, 'the API of Kubernetes does not answer, trying again', {
      path,
      reason,
      wait_ms: delayMs,
    });
  }

  listWatchOutdated(path: string, reason: string): void {
    this.#metrics.watchFailures.inc();
    this.#repeated(
      'warn',
      `outdated ${path}`,
      'the API of Kubernetes has forgotten what came next, listing again',
      {
        path,
        reason,
      },
    );
  }

  objectSkipped(path: string, reason: string): void {
    this.#metrics.objectsSkipped.inc();
    this.#repeated('error', `object ${path} ${reason}`, 'an object of Kubernetes could not be taken', {
      path,
      reason,
    });
  }

  leaseTaken(): void {
    this.#metrics.leader.set(1);
    this.#log('info', 'the lease is held: delivering');
  }

  leaseLost(reason: string): void {
    this.#metrics.leader.set(0);
    this.#log('warn', 'the lease is lost', { reason });
  }

  leaseHeldBy(holder: string): void {
    if (holder !== '') this.#log('info', 'the lease is held by another: waiting', { holder });
  }

  leaseFailed(reason: string, delayMs: number): void {
    this.#metrics.leaseFailures.inc();
    this.#repeated('warn', `lease ${reason}`, 'the lease could not be read or written', {
      reason,
      wait_ms: delayMs,
    });
  }

  /** The cluster's word on a kill that the kernel told of. */
  stated({ id }: Incident, { agrees, says }: Statement): void {
    this.#metrics.statements.inc({ agrees: String(agrees) });
    this.#log(
      agrees ? 'debug' : 'info',
      agrees ? 'the cluster confirms' : 'the cluster says something else',
      {
        id,
        says,
      },
    );
  }

  /** A container whose earlier instance was OOM killed runs again; stored for those who want to know. */
  restarted({ id, k8s }: Incident): void {
    this.#log('debug', 'restart after an OOM kill', {
      id,
      namespace: k8s?.namespace?.name,
      pod: k8s?.pod?.name,
      container: k8s?.container?.name,
    });
  }

  #captureMissing({ id, unknown }: Incident, index: number, pid: number): void {
    const reason =
      unknown?.[`victims[${index}].process.command_line`] ??
      unknown?.['process.command_line'] ??
      'no reason given';
    this.#repeated('warn', `missing ${reason}`, 'command line unknown', { id, pid, reason });
  }

  // Container runtimes

  feedFollows(feed: ContainerFeed, containers: number): void {
    this.#metrics.feedUp.set({ feed }, 1);
    this.#limit.forget(`feed ${feed} `);
    this.#log('info', 'following the containers', { runtime: feed, containers });
  }

  feedLost(feed: ContainerFeed, reason: string, delayMs: number): void {
    this.#metrics.feedUp.set({ feed }, 0);
    this.#metrics.feedLosses.inc({ feed });
    this.#repeated('warn', `feed ${feed} ${reason}`, 'containers cannot be followed, trying again', {
      runtime: feed,
      reason,
      wait_ms: delayMs,
    });
  }

  feedSkipped(feed: ContainerFeed, reason: string): void {
    this.#metrics.feedSkipped.inc({ feed });
    this.#repeated('warn', `skipped ${feed}`, 'an event of a container runtime cannot be read', {
      runtime: feed,
      reason,
    });
  }

  // Sinks

  opened(sink: string): void {
    this.#log('debug', 'sink opened', { sink });
    this.#limit.forget(`open ${sink} `);
  }

  openFailed(sink: string, reason: string, delayMs: number): void {
    this.#repeated('warn', `open ${sink} ${reason}`, 'sink cannot be opened, trying again', {
      sink,
      reason,
      wait_ms: delayMs,
    });
  }

  delivered(sink: string, count: number, latencyMs: number): void {
    this.#metrics.deliveries.inc({ sink, outcome: 'delivered' }, count);
    this.#metrics.latency.observe({ sink }, latencyMs / 1000);
    this.#log('debug', 'delivered', { sink, count, latency_ms: Math.round(latencyMs) });
    if (!this.#failing.delete(sink)) return;
    this.#limit.forget(`retry ${sink} `);
    this.#log('info', 'delivering again', { sink });
  }

  retried(sink: string, count: number, reason: string, delayMs: number): void {
    this.#metrics.deliveries.inc({ sink, outcome: 'retried' }, count);
    this.#failing.add(sink);
    this.#repeated('warn', `retry ${sink} ${reason}`, 'not delivered, trying again', {
      sink,
      waiting: count,
      reason,
      wait_ms: delayMs,
    });
  }

  rejected(sink: string, id: string, reason: string): void {
    this.#metrics.deliveries.inc({ sink, outcome: 'rejected' });
    this.#metrics.deadLetters.inc({ sink });
    this.#log('error', 'refused for good', { sink, id, reason });
  }

  deadLetterFailed(sink: string, id: string, reason: string): void {
    this.#metrics.deadLetterFailures.inc({ sink });
    this.#log('error', 'dead letter not written, see the history', { sink, id, reason });
  }

  stumbled(sink: string, reason: string, delayMs: number): void {
    this.#metrics.stumbles.inc({ sink });
    this.#repeated('error', `stumble ${sink} ${reason}`, 'courier failed, going on', {
      sink,
      reason,
      wait_ms: delayMs,
    });
  }

  dropped(sink: string, count: number, reason: string): void {
    this.#metrics.deliveries.inc({ sink, outcome: 'dropped' }, count);
    this.#repeated('error', `drop ${sink} ${reason}`, 'deliveries given up', { sink, reason }, count);
  }

  // The store

  /** @param onDisk false: it was opened in memory, by intention or because the disk cannot be used */
  storeOpened(onDisk: boolean): void {
    this.#metrics.storeOnDisk.set(Number(onDisk));
  }

  setAside(file: string, reason: string): void {
    this.#metrics.storeSetAside.inc();
    this.#log('error', 'database damaged, set aside', { file, reason });
  }

  memoryOnly(reason: string): void {
    this.#metrics.storeOnDisk.set(0);
    this.#repeated('error', `memory ${reason}`, 'store in memory only: it ends with the agent', { reason });
  }

  backOnDisk(): void {
    this.#metrics.storeOnDisk.set(1);
    this.#limit.forget('memory ');
    this.#log('info', 'store on disk again');
  }

  notSynced(reason: string): void {
    this.#repeated('warn', `sync ${reason}`, 'store not synced: a power cut may take the newest incidents', {
      reason,
    });
  }

  #repeated(level: 'warn' | 'error', key: string, message: string, fields: LogFields = {}, times = 1): void {
    const count = this.#limit.speak(key, times);
    if (count === undefined) this.#metrics.logLinesSuppressed.inc();
    else this.#log(level, message, { ...fields, ...(count > 1 && { times: count }) });
  }
}

function isKill(kind: Incident['kind']): boolean {
  return kind === 'oom_kill' || kind === 'oom_unseen';
}
