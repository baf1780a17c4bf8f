/** Kills in a file that another program writes the kernel's log to, for hosts where /dev/kmsg is not to be had. */
import path from 'node:path';
import type { NoVictim } from '../assemble/kill-report.ts';
import type { AssembledReport } from '../assemble/report-draft.ts';
import type { Reader } from '../capture/protocol.ts';
import { Inotify } from '../kernel/inotify.ts';
import type { LogRecord } from '../kernel-log/decoder.ts';
import { LogReports, loggedId } from '../kernel-log/log-reports.ts';
import type { KillSource, Sighting, SourceContext, Told } from './kill-source.ts';
import { LogOrigins } from './log-origins.ts';
import { LogTail } from './log-tail.ts';
import { timeOfKill } from './log-time.ts';
import type { LogPlace, Place } from './place.ts';

/** A log that is written to all the time is looked at so often, ms. */
const PACE_MS = 50;
/** One that cannot be watched (a network file system), and one whose name may have passed to another file, ms. */
const LOOK_MS = 1_000;
/** What is understood in one go: no exec event is read meanwhile. */
const SLICE_BYTES = 8 << 10;
const BUDGET_MS = 2;
/** A syslog daemon writes the lines of one kill together, but under a shortage of memory it may be held up between two. */
const SILENCE_MS = 200;
/** So many incidents may wait for the main thread, some 50 KiB each, before the file is read on: it does not run away. */
const MOST_UNTAKEN = 500;
const UNTAKEN_LOOK_MS = 10;
/** How long the file may be away before that is told: at a rotation it is, for milliseconds. */
const MISSING_MS = 5_000;
/** So often the place is told though there is no kill. */
const BYTES_PER_PLACE = 1 << 20;

export function openLogFile(context: SourceContext): KillSource {
  return new LogFileSource(context, Inotify.open());
}

export class LogFileSource implements KillSource {
  readonly #context: SourceContext;
  readonly #path: string;
  readonly #tail: LogTail;
  readonly #reports: LogReports;
  readonly #inotify: Inotify | undefined;
  readonly #lookMs: number;
  readonly #origins: LogOrigins;
  /** Read and not understood yet. */
  #chunk: Buffer = Buffer.alloc(0);
  #sightings: Sighting[] = [];
  #noVictims: NoVictim[] = [];
  #lookAt = 0;
  #lookedAt = Number.NEGATIVE_INFINITY;
  #settleAt = Number.POSITIVE_INFINITY;
  /** What stood in the file before this thread came to its end; infinite until then. */
  #historyEnd = Number.POSITIVE_INFINITY;
  /** Of the stream, what the last told place covers; negative: none was told. */
  #told = -1;
  #troubledSince = Number.POSITIVE_INFINITY;
  #troubleTold = false;

  /** @param inotify undefined: looks at the file again and again */
  constructor(context: SourceContext, inotify: Inotify | undefined) {
    this.#context = context;
    const { logFile, kernelLogRefreshMs } = context.options;
    this.#path = logFile ?? '';
    this.#lookMs = Math.min(LOOK_MS, kernelLogRefreshMs);
    this.#inotify = inotify;
    this.#origins = new LogOrigins(context.options);
    this.#tail = new LogTail(this.#path, {
      changed: (how) => {
        context.add('logFileChanges', 1);
        context.post({ type: 'log-changed', how });
      },
      gap: (reason) => {
        context.add('logFileGaps', 1);
        context.post({ type: 'log-gap', reason });
      },
    });
    this.#reports = new LogReports({
      now: Date.now,
      report: (report, stamp) => this.#sightings.push(this.#sighting(report, stamp)),
      noVictim: (none) => this.#noVictims.push(none),
    });
  }

  get fds(): readonly number[] {
    return this.#inotify === undefined ? [] : [this.#inotify.fd];
  }

  get foreignFds(): readonly number[] {
    return this.fds;
  }

  get dueAt(): number {
    return Math.min(this.#settleAt, this.#lookAt);
  }

  open(place: Place | undefined): Reader {
    const after = place !== undefined && 'inode' in place ? place : undefined;
    try {
      // Watched first, so that nothing that comes meanwhile is missed.
      this.#inotify?.watchFolder(path.dirname(path.resolve(this.#path)));
      this.#reports.learn(this.#tail.open(after));
    } catch (error) {
      return { works: false, problem: `--log-file ${this.#path}: ${(error as Error).message}` };
    }
    if (after === undefined) this.#historyEnd = 0;
    const { problem, isAwaited } = this.#tail;
    if (problem === undefined) return { works: true };
    this.#troubleTold = true;
    return { works: false, problem: `--log-file ${problem}`, ...(isAwaited && { waits: true }) };
  }

  /** Its history is read in turns like all the rest: there may be any amount of it. */
  replay(): void {}

  read(isReadable: (fd: number) => boolean): void {
    const now = this.#context.clock.now();
    const inotify = this.#inotify;
    if (inotify !== undefined && isReadable(inotify.fd)) {
      inotify.drain();
      this.#lookAt = Math.min(this.#lookAt, Math.max(now, this.#lookedAt + PACE_MS));
    }
    if (this.#chunk.length > 0 || now < this.#lookAt) return;
    if (this.#context.untaken() >= MOST_UNTAKEN) {
      this.#lookAt = now + UNTAKEN_LOOK_MS;
      return;
    }
    this.#lookedAt = now;
    if (this.#tail.fd !== undefined)
      inotify?.watchOnce(`${this.#context.options.paths.proc}/self/fd/${this.#tail.fd}`);
    const chunk = this.#tail.read();
    this.#observe(now);
    if (chunk === undefined) {
      this.#lookAt = now + this.#lookMs;
      this.#historyEnd = Math.min(this.#historyEnd, this.#tail.streamed);
      return;
    }
    this.#lookAt = now;
    this.#context.add('logFileBytes', chunk.length);
    this.#chunk = chunk;
  }

  understand(): void {
    const { clock } = this.#context;
    if (this.#chunk.length > 0) {
      const until = clock.now() + BUDGET_MS;
      do {
        const slice = this.#chunk.subarray(0, SLICE_BYTES);
        this.#push(slice);
        this.#chunk = this.#chunk.subarray(SLICE_BYTES);
      } while (this.#chunk.length > 0 && clock.now() < until);
      this.#settleAt = clock.now() + SILENCE_MS;
      return;
    }
    if (clock.now() < this.#settleAt) return;
    this.#reports.settle();
    this.#settleAt = Number.POSITIVE_INFINITY;
  }

  /** What was read in one go is told in one go, some 30 kills of a storm: each telling is a transaction for who takes it. */
  tell(): Told | undefined {
    if (this.#chunk.length > 0) return undefined;
    const sightings = this.#sightings;
    const noVictims = this.#noVictims;
    const settledAt = this.#reports.settledAt;
    const isQuiet = this.#settleAt === Number.POSITIVE_INFINITY && settledAt > this.#told;
    const isDue = isQuiet || settledAt - this.#told >= BYTES_PER_PLACE || this.#told < 0;
    const place = sightings.length > 0 || isDue ? this.place : undefined;
    if (sightings.length === 0 && noVictims.length === 0 && place === undefined) return undefined;
    this.#sightings = [];
    this.#noVictims = [];
    if (place !== undefined) this.#told = settledAt;
    return { sightings, noVictims, place };
  }

  /** What is not understood yet, be it the start of a line or of a report, is read again by the next run. */
  end(): void {
    this.#chunk = Buffer.alloc(0);
    this.#reports.settle();
  }

  get place(): LogPlace | undefined {
    return this.#tail.place(this.#reports.settledAt);
  }

  close(): void {
    this.#tail.close();
  }

  #push(lines: Buffer): void {
    try {
      this.#reports.push(lines);
    } catch (error) {
      this.#context.untold(`the ${lines.length} bytes after byte ${this.#reports.settledAt}`, error);
    }
  }

  #observe(now: number): void {
    const { problem } = this.#tail;
    if (problem === undefined) {
      if (this.#troubleTold) this.#context.post({ type: 'kernel-log', reader: { works: true } });
      this.#troubleTold = false;
      this.#troubledSince = Number.POSITIVE_INFINITY;
      return;
    }
    this.#troubledSince = Math.min(this.#troubledSince, now);
    if (this.#troubleTold || now - this.#troubledSince < MISSING_MS) return;
    this.#troubleTold = true;
    this.#context.post({
      type: 'kernel-log',
      reader: { works: false, waits: true, problem: `--log-file ${problem}` },
    });
  }

  #sighting(report: AssembledReport, stamp: LogRecord | undefined): Sighting {
    const { clock } = this.#context;
    // Sequence numbers are places in the stream, but where the log keeps the kernel's own.
    const missed = this.#reports.isKmsg
      ? this.#historyEnd === Number.POSITIVE_INFINITY
      : report.firstSequence < this.#historyEnd;
    const time = timeOfKill(stamp, missed ? undefined : Date.now());
    const now = clock.now();
    const killedAt =
      time.latest !== undefined
        ? now - (Date.now() - time.latest)
        : stamp?.timestampUs !== undefined
          ? clock.ofKernel(stamp.timestampUs)
          : now;
    const { host, stranger } = this.#origins.of(report, stamp?.host, time.latest);
    return {
      report: { ...report, unknown: { ...report.unknown, ...(time.doubt && { time: time.doubt }) } },
      id: loggedId(report, stamp, stamp?.host ?? ''),
      witness: 'log',
      host,
      killedAt: Math.min(now, killedAt),
      wallTime: time.wall ?? clock.wallTime(Math.min(now, killedAt)),
      missed,
      ...(stranger !== undefined && { stranger }),
    };
  }
}
