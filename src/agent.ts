/** The composition root of `oom-witness run`: the watcher starts first, because nobody waits for it, and stops first. */
import { writeSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import packageJson from '../package.json' with { type: 'json' };
import { Capture } from './capture/capture.ts';
import type { CaptureMessage, CaptureStatus } from './capture/protocol.ts';
import type { Config } from './config.ts';
import { DEAD_LETTER_FILE, DeadLetterFile } from './deliver/dead-letter.ts';
import { Couriers } from './deliver/delivery.ts';
import { Events } from './events.ts';
import { DEFAULT_PATHS, type Host, readHost } from './host.ts';
import { createLog, type Log, lineWriter } from './log.ts';
import { Families } from './metrics/families.ts';
import { Metrics } from './metrics.ts';
import { Redactor } from './redact.ts';
import { protectSelf } from './self-protection.ts';
import type { AgentServer, AgentStatus, PartStatus } from './server.ts';
import { type SinkContext, takesKind } from './sink.ts';
import { type Bookmark, type Position, StateLockedError, Store } from './store.ts';
import { Containers } from './watch/containers.ts';
import { type LogPlace, type Place, parseLogPlace } from './watch/place.ts';

/** What the agent is given of the process that it runs in. */
export interface AgentIo {
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream & { readonly fd: number };
  /** Aborted when the agent is asked to end; the reason is the signal's name. */
  readonly signal: AbortSignal;
  /** Calls the listener on SIGHUP; returns the function that stops that. */
  readonly onReopen: (listener: () => void) => () => void;
}

const PROCESSES_FILE = 'processes.jsonl';

/** A capture thread that gives no sign of life for so long stands still: its loop turns at least once a second. */
const SILENT_MS = 15_000;
const RESTART_MS = { first: 500, longest: 60_000 } as const;
/** Five failures in a row: perhaps a new process does better. */
const HOPELESS_RESTART_MS = 16_000;
/** A thread that is stuck in the kernel must not keep the sinks from being drained. */
const STOP_MS = 3_000;
/** Whoever read our output has gone and waits for us to go, too. */
const DRAIN_WITHOUT_READER_MS = 1_000;

/** The exit code when nothing can be seen here. */
const NOTHING_WORKS = 1;

/** @returns the exit code: 0 after it was asked to end, 1 when there is nothing that it could do */
export async function runAgent(config: Config, io: AgentIo): Promise<number> {
  let agent: Agent;
  try {
    agent = new Agent(config, io);
  } catch (error) {
    if (!(error instanceof StateLockedError)) throw error;
    io.stderr.write(`oom-witness: ${error.message}.\n`);
    return NOTHING_WORKS;
  }
  return agent.run();
}

class Agent {
  readonly #config: Config;
  readonly #io: AgentIo;
  readonly #host: Host;
  readonly #log: Log;
  readonly #metrics: Metrics;
  readonly #events: Events;
  readonly #store: Store;
  readonly #couriers: Couriers;
  readonly #containers: Containers;
  #families: Families | undefined;
  readonly #finished = Promise.withResolvers<number>();
  #capture: Capture | undefined;
  #status: CaptureStatus | undefined;
  #failure: string | undefined;
  /** Grows while the thread fails soon after each start. */
  #restartMs: number = RESTART_MS.first;
  #restart: NodeJS.Timeout | undefined;
  /** Since the start of the process, ms. */
  #captureStartedAt = 0;
  /** Sequence number up to which the kernel's log of this boot is dealt with; undefined: never looked at. */
  #position: number | undefined;
  /** The same of the log file that is read in its place. */
  #logPlace: LogPlace | undefined;

  constructor(config: Config, io: AgentIo) {
    this.#config = config;
    this.#io = io;
    this.#host = readHost(DEFAULT_PATHS, config.hostName);
    const redactor = new Redactor(config.redactPatterns);
    this.#log = createLog({
      level: config.logLevel,
      readable: io.stderr.isTTY,
      colour: io.stderr.isTTY && io.stderr.hasColors(),
      write: lineWriter((bytes) => writeSync(io.stderr.fd, bytes)),
      redact: (text) => (config.redact ? redactor.text(text).text : text),
      now: Date.now,
    });
    const sinks = config.sinks.map(({ name }) => name);
    const { version } = packageJson;
    this.#metrics = new Metrics({
      version,
      node: process.versions.node,
      sinks,
      kernelLog: config.logFile === undefined ? 'kmsg' : 'log_file',
      now: Date.now,
    });
    this.#events = new Events(this.#log, this.#metrics, Date.now);
    this.#events.started(version, process.versions.node);
    this.#store = Store.open({
      stateDir: config.stateDir,
      sinks,
      takes: (sink, { kind }) =>
        config.sinks.some(({ name, module, settings }) => name === sink && takesKind(module, settings, kind)),
      now: Date.now,
      observer: this.#events,
    });
    this.#events.storeOpened(this.#store.persistent);
    this.#couriers = this.#makeCouriers();
    this.#containers = new Containers({
      settings: config,
      // A capture that has failed reads on where it stopped.
      kernelSees: () => this.#status?.kernelLog.works !== false,
      observer: this.#events,
      now: Date.now,
      sleep: (ms, signal) => sleep(ms, undefined, { signal }),
      random: Math.random,
    });
    this.#metrics.attach({
      counter: (name) => this.#capture?.counter(name) ?? 0,
      queue: (sink) => this.#store.queue(sink),
    });
  }

  async run(): Promise<number> {
    const refused = protectSelf(DEFAULT_PATHS.proc);
    if (refused !== undefined) this.#events.selfProtectionRefused(refused);
    this.#resume();
    this.#startCapture();
    this.#couriers.start();
    this.#families = await this.#openFamilies();
    await this.#containers.start();
    const server = await this.#startServer();
    await this.#families.listen(this.#config.replaced, this.#events);
    const { signal } = this.#io;
    const asked = () => this.#finished.resolve(0);
    if (signal.aborted) asked();
    signal.addEventListener('abort', asked);
    const code = await this.#finished.promise;
    await this.#end(code, server);
    return code;
  }

  /** Where an earlier run ended: -1 when that was in another boot, undefined when there never was one. */
  #resume(): void {
    const { logFile } = this.#config;
    if (logFile !== undefined) {
      const place = this.#store.bookmark(bookmarkName(logFile));
      this.#logPlace = place === undefined ? undefined : parseLogPlace(place);
      if (this.#logPlace !== undefined) this.#events.resumed({ offset: this.#logPlace.offset });
      return;
    }
    const position = this.#store.position();
    if (position === undefined) return;
    const isThisBoot = position.bootId === this.#host.boot_id;
    this.#position = isThisBoot ? position.sequence : -1;
    if (isThisBoot) this.#events.resumed({ after_sequence: position.sequence });
  }

  #makeCouriers(): Couriers {
    const { stateDir, eventFormat, sinks, useKubernetes } = this.#config;
    const context: SinkContext = {
      host: {
        name: this.#host.name,
        boot_id: this.#host.boot_id,
        kernel: this.#host.kernel,
        arch: this.#host.arch,
      },
      kernelVersionLine: this.#host.version_line,
      eventFormat,
      now: Date.now,
      stdout: this.#io.stdout,
      onReopen: this.#io.onReopen,
      ...(useKubernetes && { kubernetes: this.#kubernetes() }),
      log: this.#log,
    };
    return new Couriers(
      sinks.map(({ name, module, settings }) => ({
        name,
        ...(module.batchSize !== undefined && { batchSize: module.batchSize }),
        open: () => module.open(settings, context),
      })),
      {
        store: this.#store,
        deadLetters: this.#store.persistent
          ? new DeadLetterFile(path.join(stateDir, DEAD_LETTER_FILE), Date.now)
          : undefined,
        observer: this.#events,
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
    };
  }

  #startCapture(): void {
    const { redact, redactPatterns, processRefresh, kernelLogRefresh, stateDir, logFile } = this.#config;
    this.#status = undefined;
    this.#capture = new Capture(
      {
        paths: DEFAULT_PATHS,
        host: this.#host,
        after: this.#position,
        logFile: logFile === undefined ? undefined : { path: path.resolve(logFile), after: this.#logPlace },
        journal: this.#store.persistent ? path.join(stateDir, PROCESSES_FILE) : undefined,
        redact,
        redactPatterns,
        processRefreshMs: processRefresh,
        kernelLogRefreshMs: kernelLogRefresh,
      },
      (message) => this.#received(message),
      (error) => this.#captureFailed(error),
    );
  }

  #received(message: CaptureMessage): void {
    switch (message.type) {
      case 'armed':
        this.#armed(message.status);
        return;
      case 'witnessed': {
        // The command line exists nowhere else any more: nothing comes before the store.
        const fresh = this.#store.commit(message.incidents, this.#at(message.place));
        this.#couriers.wake();
        if (message.missed > 0) this.#events.missed(message.missed);
        this.#events.committed(fresh);
        this.#containers.witnessed(fresh);
        this.#families?.witnessed(fresh);
        return;
      }
      case 'place':
      case 'stopped': {
        const position = this.#at(message.place);
        if (position !== undefined) this.#store.commit([], position);
        return;
      }
      case 'kernel-log':
        if (this.#status !== undefined) this.#status = { ...this.#status, kernelLog: message.reader };
        if (message.reader.works) this.#events.readerRecovered('log file');
        else this.#events.readerBlind('log file', message.reader.problem ?? 'no reason given');
        return;
      case 'log-changed':
        this.#events.logFileChanged(message.how);
        return;
      case 'log-gap':
        this.#events.logFileGap(message.reason);
        return;
      case 'lost':
        this.#events.kmsgGap(message.records, message.sequence);
        return;
      case 'overrun':
        this.#events.overrun(message.reader);
        return;
      case 'no-victim':
        this.#events.noVictim(message.cgroup, message.times);
        return;
      case 'journal-failed':
        this.#events.journalFailed(message.problem);
        return;
    }
  }

  #at(place: Place | undefined): Position | Bookmark | undefined {
    const { logFile } = this.#config;
    if (place === undefined) return undefined;
    if ('sequence' in place) {
      this.#position = place.sequence;
      return { bootId: this.#host.boot_id, sequence: place.sequence };
    }
    this.#logPlace = place;
    return { source: bookmarkName(logFile ?? ''), place: JSON.stringify(place) };
  }

  #armed(status: CaptureStatus): void {
    if (this.#io.signal.aborted) return;
    this.#status = status;
    this.#failure = undefined;
    const { works, waits, problem } = status.kernelLog;
    if (works || waits) this.#events.armed(status, performance.now() - this.#captureStartedAt);
    else {
      this.#events.nothingToSee(problem ?? 'no reason given');
      this.#finished.resolve(NOTHING_WORKS);
    }
  }

  /** It goes on where it stopped: the kernel's ring still holds what comes meanwhile, the journal knows the processes. */
  #captureFailed(error: Error): void {
    this.#failure = error.message;
    this.#events.captureFailed(error.message);
    const lived = performance.now() - this.#captureStartedAt;
    if (lived > RESTART_MS.longest) this.#restartMs = RESTART_MS.first;
    this.#restart = setTimeout(() => {
      this.#captureStartedAt = performance.now();
      this.#startCapture();
    }, this.#restartMs);
    this.#restartMs = Math.min(this.#restartMs * 2, RESTART_MS.longest);
  }

  #openFamilies(): Promise<Families> {
    const { metrics: shown, replaced } = this.#config;
    const containers = this.#containers.table;
    return Families.open({ own: this.#metrics, shown, replaced, containers, now: Date.now });
  }

  async #startServer(): Promise<AgentServer | undefined> {
    const { listen, apiToken } = this.#config;
    if (listen === 'off') return undefined;
    const { ListenError, startServer } = await import('./server.ts');
    try {
      const server = await startServer({
        listen,
        apiToken,
        hostName: this.#host.name,
        incidents: this.#store,
        status: () => this.#parts(),
        metrics: this.#families ?? this.#metrics,
        now: Date.now,
        failed: (reason) => this.#events.answerFailed(reason),
      });
      this.#events.listening(server.url);
      return server;
    } catch (error) {
      if (!(error instanceof ListenError)) throw error;
      this.#events.notListening(error.message);
      return undefined;
    }
  }

  #parts(): AgentStatus {
    const status = this.#status;
    const still = status !== undefined && (this.#capture?.silentMs() ?? 0) > SILENT_MS;
    const problem = this.#failure ?? (still ? 'capture stands still' : undefined);
    const sees = status?.kernelLog.works === true && problem === undefined;
    const parts: PartStatus[] = [
      {
        name: 'kernel log',
        works: sees,
        ...(!sees && {
          problem: problem ?? status?.kernelLog.problem ?? 'starting',
          cost: 'kills are not seen',
        }),
      },
      {
        name: 'process events',
        works: status?.processEvents.works === true && problem === undefined,
        ...(status?.processEvents.works === false && {
          problem: status.processEvents.problem ?? 'no reason given',
          cost: 'command lines come from scans of /proc: processes that live for less than a scan are missed',
        }),
      },
      {
        name: 'store',
        works: this.#store.persistent,
        ...(!this.#store.persistent && {
          problem: `${this.#config.stateDir} cannot be written`,
          cost: 'history and undelivered incidents end with the agent',
        }),
      },
      ...this.#containers.parts(),
    ];
    return { alive: !still && this.#restartMs < HOPELESS_RESTART_MS, ready: sees, parts };
  }

  async #end(code: number, server: AgentServer | undefined): Promise<void> {
    const { reason } = this.#io.signal;
    const readerGone = reason instanceof Error;
    if (code === 0)
      this.#events.leaving(readerGone ? `nobody reads stdout any more: ${reason.message}` : reason);
    clearTimeout(this.#restart);
    const stopped = new AbortController();
    await Promise.race([
      this.#capture?.stop(),
      sleep(STOP_MS, undefined, { signal: stopped.signal }).catch(() => {}),
    ]);
    stopped.abort();
    await this.#containers.stop();
    await this.#families?.close();
    await server?.close();
    const drainMs = this.#config.drainTimeout;
    const left = await this.#couriers.drain(
      Date.now() + (readerGone ? Math.min(drainMs, DRAIN_WITHOUT_READER_MS) : drainMs),
    );
    if (code === 0 || [...left.values()].some((count) => count > 0))
      this.#events.drained(Object.fromEntries(left), this.#store.persistent);
    await this.#couriers.close();
    this.#store.close();
  }
}

function bookmarkName(logFile: string): string {
  return `log-file ${path.resolve(logFile)}`;
}
