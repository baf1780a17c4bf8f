import { writeSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import packageJson from '../package.json' with { type: 'json' };
import type { Config } from './config.ts';
import { Couriers } from './deliver/couriers.ts';
import { DEAD_LETTER_FILE, DeadLetterFile } from './deliver/dead-letter.ts';
import { Events } from './events.ts';
import type { Incident, IncidentHost } from './incident.ts';
import { createLog, type Log, lineWriter } from './log.ts';
import type { OwnMetrics } from './metrics/families.ts';
import { MOST_OF_CLUSTER } from './metrics/kill-series.ts';
import { Metrics } from './metrics.ts';
import type { PartStatus } from './part-status.ts';
import { Redactor } from './redact.ts';
import type { AgentServer, AgentStatus } from './server.ts';
import { type SinkContext, takesKind } from './sink.ts';
import { CLUSTER_LIMITS } from './store/retention.ts';
import { type Bookmark, type Position, Store } from './store.ts';

/** What a program is given of the process that it runs in. */
export interface ProgramIo {
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream & { readonly fd: number };
  /** Aborted when the program is asked to end; the reason is the signal's name. */
  readonly signal: AbortSignal;
  /** Calls the listener on SIGHUP; returns the function that stops that. */
  readonly onReopen: (listener: () => void) => () => void;
}

export interface Upstream {
  /** What sinks and the page know of this machine. */
  readonly host: IncidentHost;
  /** For oom-notifier's JSON. */
  readonly kernelVersionLine?: string;
  /**
   * `kernel`: kills of this machine, which nobody else knows, so they are kept on disk. `cluster`: what pods tell in their status, where
   * the next one finds it again.
   */
  readonly witness: 'kernel' | 'cluster';
}

/** Whoever read our output has gone and waits for us to go, too. */
const DRAIN_WITHOUT_READER_MS = 1_000;

/**
 * Everything from the store on, the same whoever witnesses the kills: history, couriers, the page, metrics and the log.
 *
 * @throws StateLockedError when another program uses the state folder
 */
export class Downstream {
  readonly log: Log;
  readonly metrics: Metrics;
  readonly events: Events;
  readonly store: Store;
  readonly #config: Config;
  readonly #io: ProgramIo;
  readonly #upstream: Upstream;
  readonly #couriers: Couriers;
  #server: AgentServer | undefined;
  #drained: Promise<void> | undefined;

  constructor(config: Config, io: ProgramIo, upstream: Upstream) {
    this.#config = config;
    this.#io = io;
    this.#upstream = upstream;
    const redactor = new Redactor(config.redactPatterns);
    this.log = createLog({
      level: config.logLevel,
      readable: io.stderr.isTTY,
      colour: io.stderr.isTTY && io.stderr.hasColors(),
      write: lineWriter((bytes) => writeSync(io.stderr.fd, bytes)),
      redact: (text) => (config.redact ? redactor.text(text).text : text),
      now: Date.now,
    });
    const sinks = config.sinks.map(({ name }) => name);
    const { version } = packageJson;
    this.metrics = new Metrics({
      version,
      node: process.versions.node,
      sinks,
      kernelLog: config.logFile === undefined ? 'kmsg' : 'log_file',
      ...(upstream.witness === 'cluster' && { mostContainers: MOST_OF_CLUSTER }),
      now: Date.now,
    });
    this.events = new Events(this.log, this.metrics, Date.now);
    this.events.agent.started(version, process.versions.node);
    this.store = Store.open({
      stateDir: upstream.witness === 'cluster' ? undefined : config.stateDir,
      sinks,
      takes: (sink, { kind }) =>
        config.sinks.some(({ name, module, settings }) => name === sink && takesKind(module, settings, kind)),
      now: Date.now,
      observer: this.events.store,
      ...(upstream.witness === 'cluster' && { limits: CLUSTER_LIMITS }),
    });
    if (upstream.witness === 'kernel') this.events.store.storeOpened(this.store.persistent);
    this.#couriers = this.#makeCouriers();
  }

  start(): void {
    this.#couriers.start();
  }

  /** Something in the store has come or changed. */
  wake(): void {
    this.#couriers.wake();
  }

  /** @returns those that were not known yet; they are in the store */
  commit(
    incidents: readonly Incident[],
    position?: Position | Bookmark,
    heldUntil?: (incident: Incident) => number,
  ): readonly Incident[] {
    const fresh = this.store.commit(incidents, position, heldUntil);
    this.#couriers.wake();
    this.events.incidents.committed(fresh);
    return fresh;
  }

  /**
   * A restart after a kill is no incident to anybody but those who take this kind. Without --replace there is nobody.
   *
   * @returns whether it was not known yet
   */
  tellRestart(restart: Incident): boolean {
    if (!this.#config.tellRestarts) return true;
    const isNew = this.store.commit([restart]).length > 0;
    if (isNew) this.events.incidents.restarted(restart);
    this.#couriers.wake();
    return isNew;
  }

  #makeCouriers(): Couriers {
    const { stateDir, eventFormat, sinks, useKubernetes } = this.#config;
    const { name, boot_id, kernel, arch } = this.#upstream.host;
    const context: SinkContext = {
      host: { name, boot_id, kernel, arch },
      kernelVersionLine: this.#upstream.kernelVersionLine ?? '',
      eventFormat,
      now: Date.now,
      stdout: this.#io.stdout,
      onReopen: this.#io.onReopen,
      log: this.log,
      ...(useKubernetes && { kubernetes: this.#kubernetes() }),
    };
    return new Couriers(
      sinks.map(({ name, module, renewed, isOutdated }) => ({
        name,
        ...(module.batchSize !== undefined && { batchSize: module.batchSize }),
        open: async () => module.open(await renewed(), context),
        ...(isOutdated && { isOutdated }),
      })),
      {
        store: this.store,
        deadLetters:
          this.#upstream.witness === 'kernel'
            ? new DeadLetterFile(path.join(stateDir, DEAD_LETTER_FILE), Date.now)
            : undefined,
        observer: this.events.delivery,
        now: Date.now,
        sleep: (ms, signal) => sleep(ms, undefined, { signal }),
        random: Math.random,
      },
    );
  }

  #kubernetes(): NonNullable<SinkContext['kubernetes']> {
    const { kubeconfig, nodeName } = this.#config;
    return {
      connect: async () => {
        const { connect } = await import('./kubernetes/connection.ts');
        return connect({ ...(kubeconfig !== undefined && { kubeconfig }) });
      },
      ...(nodeName !== undefined && { nodeName }),
      everywhere: this.#upstream.witness === 'cluster',
    };
  }

  /** For /readyz and the page. */
  storePart(): PartStatus {
    return {
      name: 'store',
      works: this.store.persistent,
      ...(!this.store.persistent && {
        problem: `${this.#config.stateDir} cannot be written`,
        cost: 'history and undelivered incidents end with the agent',
      }),
    };
  }

  /** The page, the API, metrics and health checks; goes on without where the address cannot be used. */
  async listen(status: () => AgentStatus, metrics: OwnMetrics): Promise<void> {
    const { listen, apiToken, renewedApiToken } = this.#config;
    if (listen === 'off') return;
    const { ListenError, startServer } = await import('./server.ts');
    try {
      this.#server = await startServer({
        listen,
        apiToken,
        renewedApiToken,
        tokenNotRenewed: (reason) => this.events.agent.tokenNotRenewed(reason),
        hostName: this.#upstream.host.name,
        incidents: this.store,
        status,
        metrics,
        now: Date.now,
        failed: (reason) => this.events.agent.answerFailed(reason),
      });
      this.events.agent.listening(this.#server.url);
    } catch (error) {
      if (!(error instanceof ListenError)) throw error;
      this.events.agent.notListening(error.message);
    }
  }

  /** Delivers what is there for at most `--drain-timeout`, and at most so many ms; says what is left. */
  drain(mostMs = Number.POSITIVE_INFINITY): Promise<void> {
    this.#drained ??= this.#drain(Math.min(mostMs, this.#config.drainTimeout));
    return this.#drained;
  }

  /** Delivers nothing more, not even once: what is left is for another to deliver. */
  abandon(): Promise<void> {
    this.#drained ??= this.#couriers.close();
    return this.#drained;
  }

  /** Drains and closes everything. */
  async end(): Promise<void> {
    await this.#server?.close();
    const readerGone = this.#io.signal.reason instanceof Error;
    await this.drain(readerGone ? DRAIN_WITHOUT_READER_MS : undefined);
    await this.#couriers.close();
    this.store.close();
  }

  async #drain(ms: number): Promise<void> {
    const left = await this.#couriers.drain(Date.now() + ms);
    const isAsked = this.#io.signal.aborted;
    if (!isAsked && [...left.values()].every((count) => count === 0)) return;
    const isKept = this.store.persistent || this.#upstream.witness === 'cluster';
    this.events.agent.drained(Object.fromEntries(left), isKept);
  }
}
