import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Worker } from 'node:worker_threads';
import { Capture, type WatchOptions } from './capture/capture.ts';
import type { CaptureMessage, CaptureStatus, Resumption } from './capture/protocol.ts';
import { CaptureSupervisor } from './capture/supervisor.ts';
import type { Config } from './config.ts';
import { Downstream, type ProgramIo } from './downstream.ts';
import type { Events } from './events.ts';
import { DEFAULT_PATHS, type Host, readHost } from './host.ts';
import type { Incident } from './incident.ts';
import { Families } from './metrics/families.ts';
import type { PartStatus } from './part-status.ts';
import { protectSelf } from './self-protection.ts';
import type { AgentStatus } from './server.ts';
import { giveBackSpareMemory } from './spare-memory.ts';
import { type Bookmark, type Position, StateLockedError, type Store } from './store.ts';
import { Surroundings } from './surroundings.ts';
import { OomRestarts } from './watch/oom-restarts.ts';
import { type Place, parseLogPlace } from './watch/place.ts';

const PROCESSES_FILE = 'processes.jsonl';

/** The exit code when nothing can be seen here. */
const NOTHING_WORKS = 1;

/**
 * @param thread the capture thread, started ahead
 * @returns the exit code: 0 after it was asked to end, 1 when there is nothing that it could do
 */
export async function runAgent(config: Config, io: ProgramIo, thread: Worker | undefined): Promise<number> {
  let agent: Agent;
  try {
    agent = new Agent(config, io, thread);
  } catch (error) {
    if (!(error instanceof StateLockedError)) throw error;
    io.stderr.write(`oom-witness: ${error.message}.\n`);
    return NOTHING_WORKS;
  }
  return agent.run();
}

class Agent {
  readonly #config: Config;
  readonly #io: ProgramIo;
  readonly #host: Host;
  readonly #downstream: Downstream;
  readonly #events: Events;
  readonly #store: Store;
  readonly #surroundings: Surroundings;
  readonly #restarts: OomRestarts;
  #families: Families | undefined;
  readonly #finished = Promise.withResolvers<number>();
  readonly #capture: CaptureSupervisor;
  /** Up to where the kernel's log of this boot, or the file in its place, is dealt with; undefined: never looked at. */
  #place: Place | undefined;

  constructor(config: Config, io: ProgramIo, thread: Worker | undefined) {
    this.#config = config;
    this.#io = io;
    this.#host = readHost(DEFAULT_PATHS, config.hostName);
    // It gets to know the processes while everything else is opened.
    this.#capture = this.#supervise(thread);
    this.#downstream = new Downstream(config, io, {
      host: this.#host,
      kernelVersionLine: this.#host.version_line,
      witness: 'kernel',
    });
    const { store, metrics, events } = this.#downstream;
    this.#store = store;
    this.#events = events;
    this.#surroundings = new Surroundings({
      settings: config,
      logs: DEFAULT_PATHS.logs,
      roots: DEFAULT_PATHS.roots,
      host: this.#host,
      // A capture that has failed reads on where it stopped.
      kernelSees: () => this.#capture.status?.kernelLog.works !== false,
      store,
      series: metrics.kills,
      events,
      enriched: (incident) => {
        this.#families?.enriched(incident);
        this.#downstream.wake();
        this.#capture.thread.named(incident.id);
      },
      commit: (incident) => this.#commit([incident]),
      now: Date.now,
      sleep: (ms, signal) => sleep(ms, undefined, { signal }),
      random: Math.random,
    });
    this.#restarts = new OomRestarts({
      host: this.#host,
      startedAt: Date.now(),
      now: Date.now,
      commit: (restart) => this.#downstream.tellRestart(restart),
    });
    this.#surroundings.pods.table.listen(this.#restarts);
    metrics.attach({
      counter: (name) => this.#capture.thread.counter(name),
      queue: (sink) => store.queue(sink),
      kubernetes: () => this.#surroundings.pods.works,
    });
  }

  async run(): Promise<number> {
    const refused = protectSelf(DEFAULT_PATHS.proc);
    this.#findPlace();
    // Before the first kill can come, so that each counts in each.
    this.#families = await this.#openFamilies();
    this.#capture.resume();
    // The thread does not wait for what is only said.
    if (refused !== undefined) this.#events.agent.selfProtectionRefused(refused);
    for (const note of this.#config.notes) this.#events.agent.noted(note);
    // In the same turn: what it recalls is of earlier runs only.
    const surroundings = this.#surroundings.start();
    this.#downstream.start();
    await surroundings;
    await this.#downstream.listen(() => this.#parts(), this.#families);
    await this.#families.listen(this.#config.replaced, this.#events.agent);
    const stopGivingBack = giveBackSpareMemory(() => this.#store.shrink());
    const { signal } = this.#io;
    const asked = () => this.#finished.resolve(0);
    if (signal.aborted) asked();
    signal.addEventListener('abort', asked);
    const code = await this.#finished.promise;
    stopGivingBack();
    await this.#end(code);
    return code;
  }

  /** Where an earlier run ended: sequence -1 when that was in another boot, undefined when there never was one. */
  #findPlace(): void {
    const { logFile } = this.#config;
    if (logFile !== undefined) {
      const place = this.#store.bookmark(bookmarkName(logFile));
      const parsed = place === undefined ? undefined : parseLogPlace(place);
      if (parsed !== undefined) this.#events.capture.resumed({ offset: parsed.offset });
      this.#place = parsed;
      return;
    }
    const position = this.#store.position();
    if (position === undefined) return;
    const isThisBoot = position.bootId === this.#host.boot_id;
    this.#place = { sequence: isThisBoot ? position.sequence : -1 };
    if (isThisBoot) this.#events.capture.resumed({ after_sequence: position.sequence });
  }

  #supervise(ahead: Worker | undefined): CaptureSupervisor {
    const { redact, redactPatterns, processRefresh, kernelLogRefresh, stateDir, logFile } = this.#config;
    const options: WatchOptions = {
      paths: DEFAULT_PATHS,
      host: this.#host,
      logFile: logFile === undefined ? undefined : path.resolve(logFile),
      journal: path.join(stateDir, PROCESSES_FILE),
      redact,
      redactPatterns,
      processRefreshMs: processRefresh,
      kernelLogRefreshMs: kernelLogRefresh,
    };
    return new CaptureSupervisor(
      {
        open: (received, failed, thread) => new Capture(options, received, failed, thread),
        resumption: (): Resumption => ({ after: this.#place, keepsJournal: this.#store.persistent }),
        received: (message) => this.#received(message),
        failed: (problem) => this.#events.capture.captureFailed(problem),
        // What it takes to load `performance`, the start has no time for.
        now: () => 1000 * process.uptime(),
      },
      ahead,
    );
  }

  #received(message: CaptureMessage): void {
    switch (message.type) {
      case 'armed':
        this.#armed(message.status);
        return;
      case 'witnessed': {
        const fresh = this.#commit(message.incidents, this.#at(message.place));
        this.#capture.thread.taken(message.incidents.length - fresh.length);
        if (message.missed > 0) this.#events.capture.missed(message.missed);
        return;
      }
      case 'place':
      case 'stopped': {
        const position = this.#at(message.place);
        if (position !== undefined) this.#store.commit([], position);
        return;
      }
      case 'kernel-log':
        if (message.reader.works) this.#events.capture.readerRecovered('log file');
        else this.#events.capture.readerBlind('log file', message.reader);
        return;
      case 'log-changed':
        this.#events.capture.logFileChanged(message.how);
        return;
      case 'log-gap':
        this.#events.capture.logFileGap(message.reason);
        this.#surroundings.gap();
        return;
      case 'lost':
        this.#events.capture.kmsgGap(message.records, message.sequence);
        this.#surroundings.gap();
        return;
      case 'overrun':
        this.#events.capture.overrun(message.reader);
        return;
      case 'no-victim':
        this.#events.capture.noVictim(message.cgroup, message.times);
        return;
      case 'untold':
        this.#events.capture.untold(message.where, message.problem);
        return;
      case 'journal-failed':
        this.#events.capture.journalFailed(message.problem);
        return;
    }
  }

  /** The command line exists nowhere else any more: nothing comes before the store. */
  #commit(incidents: readonly Incident[], position?: Position | Bookmark): readonly Incident[] {
    const surroundings = this.#surroundings;
    const heldUntil = (incident: Incident) => surroundings.heldUntil(incident);
    const fresh = this.#downstream.commit(incidents, position, heldUntil);
    this.#families?.witnessed(fresh);
    // Of a file there may be any number, and it can wait.
    for (const { id, witness } of fresh) if (witness.includes('log')) this.#capture.thread.unnamed(id);
    surroundings.committed(fresh);
    return fresh;
  }

  #at(place: Place | undefined): Position | Bookmark | undefined {
    const { logFile } = this.#config;
    if (place === undefined) return undefined;
    this.#place = place;
    if ('sequence' in place) return { bootId: this.#host.boot_id, sequence: place.sequence };
    return { source: bookmarkName(logFile ?? ''), place: JSON.stringify(place) };
  }

  #armed(status: CaptureStatus): void {
    if (this.#io.signal.aborted) return;
    const { works, waits, problem } = status.kernelLog;
    if (works || waits) this.#events.capture.armed(status, this.#capture.age);
    else {
      this.#events.capture.nothingToSee(problem ?? 'no reason given');
      this.#finished.resolve(NOTHING_WORKS);
    }
  }

  #openFamilies(): Promise<Families> {
    const { metrics: shown, replaced } = this.#config;
    const containers = this.#surroundings.containers.table;
    return Families.open({
      own: this.#downstream.metrics,
      shown,
      replaced,
      containers,
      pods: this.#surroundings.pods.table,
      containerUpdates: this.#restarts.counts,
      now: Date.now,
    });
  }

  #parts(): AgentStatus {
    const { status, problem, isAlive: alive } = this.#capture;
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
          cost: status.processEvents.cost,
        }),
      },
      this.#downstream.storePart(),
      ...this.#surroundings.parts(),
      ...(this.#families?.parts() ?? []),
    ];
    return { alive, ready: sees, parts };
  }

  async #end(code: number): Promise<void> {
    const { reason } = this.#io.signal;
    const readerGone = reason instanceof Error;
    if (code === 0)
      this.#events.agent.leaving(readerGone ? `nobody reads stdout any more: ${reason.message}` : reason);
    await this.#capture.stop();
    await this.#surroundings.stop();
    await this.#families?.close();
    await this.#downstream.end();
  }
}

function bookmarkName(logFile: string): string {
  return `log-file ${path.resolve(logFile)}`;
}
