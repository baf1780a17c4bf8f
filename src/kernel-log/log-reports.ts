import { createHash } from 'node:crypto';
import type { NoVictim } from '../assemble/kill-report.ts';
import type { AssembledReport } from '../assemble/report-draft.ts';
import { Assembler } from '../assemble.ts';
import { visibleText } from '../kernel/visible-text.ts';
import { Chronology } from './chronology.ts';
import type { Decoder, LogRecord } from './decoder.ts';
import { type DetectedFormat, detectFormat, knownFormats } from './detect.ts';
import { LineScanner, type LineTaker } from './line-scanner.ts';
import { pastedDecoder } from './pasted.ts';
import { syslogDecoder } from './syslog.ts';
import { ToldKills } from './told-kills.ts';

export interface LogReportsOptions {
  /** Milliseconds since the epoch: logs without a year are dated by it. */
  readonly now: () => number;
  /** Lines of no known format are read, too: no program writes to the log, somebody hands it over. */
  readonly pasted?: boolean;
  /** @param stamp the record of the first kill, where it is still known */
  report(report: AssembledReport, stamp: LogRecord | undefined): void;
  noVictim(none: NoVictim): void;
}

/** So much is read before an input counts as of no known format. */
export const SAMPLE_BYTES = 64 << 10;
const SAMPLE_LINES = 200;
/** So many lines after a kill there come no more members of its group; a header's kill comes within the longest table. */
const LINES_AFTER_KILL = 1_000;
const LINES_AFTER_HEADER = 100_000;
/** A name can break its line into 16: the record after a kill may be the rest of it. */
const STAMPS_AFTER_KILL = 16;
/** Whoever can write to the log can begin a report that never ends. Of a long one the first are kept. */
const MOST_STAMPS = 1_000;
/** A second that stands still for a record of the next one is no gap. */
const SECOND_MS = 1_000;
/** Of a name in the DNS. In a log anything may stand there. */
const LONGEST_HOST = 253;
/** A file that collects the logs of more hosts than this has reports of so few of them at the same time. */
const MOST_HOSTS = 64;

/** What is kept of one host. */
interface Host {
  readonly name: string | undefined;
  readonly assembler: Assembler;
  /** See `#clockOf`. */
  clock: number | undefined;
  offsetUs: number;
}

/** The bytes of a log of the kernel, in whatever format -> kill reports. Pure; memory bounded by one report and one line. */
export class LogReports implements LineTaker {
  readonly #options: LogReportsOptions;
  /** Of what somebody hands over. A daemon writes what it reads. */
  readonly #chronology: Chronology | undefined;
  readonly #told: ToldKills | undefined;
  readonly #stamps = new Map<number, LogRecord>();
  #sample: Buffer = Buffer.alloc(0);
  #format: DetectedFormat | undefined;
  #recognised = false;
  #scanner: LineScanner | undefined;
  /** By name: the lines of several hosts come mixed in one file. */
  readonly #hosts = new Map<string | undefined, Host>();
  /** The one of the last record, which mostly is the only one. */
  #host: Host | undefined;
  #settledAt = 0;
  #stale = 0;
  #sinceKill = 0;

  constructor(options: LogReportsOptions) {
    this.#options = options;
    this.#chronology = options.pasted ? new Chronology() : undefined;
    this.#told = options.pasted ? new ToldKills() : undefined;
  }

  /** How many lines have been seen. */
  get lines(): number {
    return this.#scanner?.lines ?? 0;
  }

  /** Whether any line was of a format that is known. */
  get recognised(): boolean {
    return this.#recognised;
  }

  /** The log keeps the kernel's own sequence numbers. */
  get isKmsg(): boolean {
    return this.#format?.isKmsg === true;
  }

  /** Nothing has begun that the next lines could be part of. */
  get idle(): boolean {
    if (this.#chronology?.open) return false;
    if (this.#host?.assembler.open) return false;
    return this.#hosts.size <= 1 || !this.#all().some(({ open }) => open);
  }

  /** Where in the stream a later reader can begin that is to miss nothing that has not been reported yet. */
  get settledAt(): number {
    const settledAt = this.#scanner?.settledAt;
    if (settledAt !== undefined) this.#settledAt = settledAt;
    else if (!this.isKmsg) {
      const open = this.#all().flatMap(({ openSince }) => openSince ?? []);
      this.#settledAt = Math.max(this.#settledAt, open.length > 0 ? Math.min(...open) : 0);
    }
    return this.#settledAt;
  }

  /** Tells the format by lines that are not read themselves, e.g. those before the place where reading begins. */
  learn(sample: Buffer): void {
    if (this.#format === undefined) this.#detect(sample, false);
  }

  push(chunk: Buffer): void {
    if (this.#scanner !== undefined) {
      this.#scanner.push(chunk);
      return;
    }
    this.#sample = Buffer.concat([this.#sample, chunk]);
    this.#detect(this.#sample, this.#sample.length >= SAMPLE_BYTES);
    this.#scan();
  }

  /** Nothing has come for a while: a kill that was seen is told now. */
  settle(): void {
    this.#scanner?.settle();
    for (const assembler of this.#all()) assembler.settle();
    this.#scanner?.settle();
    if (this.idle) this.#stamps.clear();
  }

  /** There will be no more. */
  end(): void {
    if (this.#format === undefined) this.#detect(this.#sample, true);
    this.#scan();
    this.#scanner?.end();
    for (const record of this.#chronology?.end() ?? []) this.#assemble(record);
    for (const assembler of this.#all()) assembler.end();
  }

  take(line: string, at: number): void {
    const record = this.#format?.decoder.line(line, at);
    if (record !== undefined) this.#record(record);
    this.#stale += 1;
    if (this.#stale === LINES_AFTER_KILL) for (const assembler of this.#all()) assembler.settle();
    if (this.#stale === LINES_AFTER_HEADER) for (const assembler of this.#all()) assembler.end();
  }

  skipped(): void {
    this.#format?.decoder.skipped();
  }

  complete(): void {
    const record = this.#format?.decoder.flush();
    if (record !== undefined) this.#record(record);
  }

  /** @param enough there is no more to tell it by */
  #detect(sample: Buffer, enough: boolean): void {
    const lines = visibleText(sample.subarray(0, SAMPLE_BYTES)).split('\n', SAMPLE_LINES);
    if (!enough) lines.pop();
    const format = detectFormat(lines, this.#options.now, this.#options.pasted === true);
    if (format === undefined && !enough) return;
    this.#recognised = format !== undefined;
    this.#format = format ?? { decoder: this.#unknown(), isKmsg: false };
    this.#scanner = new LineScanner(
      this.#format.decoder,
      this,
      // What somebody cut out can begin in the middle of a report.
      this.#options.pasted ? SAMPLE_LINES : 0,
    );
  }

  #unknown(): Decoder {
    const { now, pasted } = this.#options;
    return pasted ? pastedDecoder(knownFormats(now, false)) : syslogDecoder(now);
  }

  #scan(): void {
    if (this.#sample.length > 0) this.#scanner?.push(this.#sample);
    if (this.#scanner !== undefined) this.#sample = Buffer.alloc(0);
  }

  #record(record: LogRecord): void {
    if (this.#chronology === undefined) this.#assemble(record);
    else for (const next of this.#chronology.push(record)) this.#assemble(next);
    for (const line of record.more ?? []) this.#record(line);
  }

  #assemble(read: LogRecord): void {
    const isAnything = (read.host?.length ?? 0) > LONGEST_HOST;
    const record = isAnything ? { ...read, host: read.host?.slice(0, LONGEST_HOST) } : read;
    const host = this.#hostOf(record);
    const kills = record.text.includes('Kill') || record.text.includes('OOM k');
    // A kill whose name holds newlines is known by the place of its last line.
    this.#sinceKill = kills ? 0 : this.#sinceKill + 1;
    const timestampUs = this.#clockOf(record, host);
    host.assembler.push(record.timestampUs === timestampUs ? record : { ...record, timestampUs });
    if (kills || record.text.includes('oom-k')) this.#stale = 0;
    if (this.idle) this.#stamps.clear();
    else if (this.#sinceKill <= STAMPS_AFTER_KILL && this.#stamps.size < MOST_STAMPS)
      this.#stamps.set(record.sequence, record);
  }

  #hostOf({ host: name }: LogRecord): Host {
    const last = this.#host;
    if (last !== undefined && last.name === name) return last;
    const host = this.#hosts.get(name) ?? this.#newHost(name);
    // The one that has been silent for longest stands first.
    this.#hosts.delete(name);
    this.#hosts.set(name, host);
    this.#host = host;
    return host;
  }

  #newHost(name: string | undefined): Host {
    const [silent] = this.#hosts.values();
    if (silent !== undefined && this.#hosts.size >= MOST_HOSTS) {
      silent.assembler.end();
      this.#hosts.delete(silent.name);
    }
    const assembler = new Assembler({
      report: (report) => this.#report(report, name),
      noVictim: (none) => this.#options.noVictim(none),
      lines: !this.isKmsg,
      excerpt: this.#options.pasted === true,
    });
    return { name, assembler, clock: undefined, offsetUs: 0 };
  }

  #all(): Assembler[] {
    return Array.from(this.#hosts.values(), ({ assembler }) => assembler);
  }

  #report(report: AssembledReport, host: string | undefined): void {
    const stamp = this.#stamps.get(report.victims[0]?.sequence ?? -1);
    const isAgain = stamp !== undefined && this.#told?.tell(report, stamp);
    if (!isAgain) this.#options.report(report, stamp);
    // In a storm one report follows the other and nothing is ever idle.
    for (const [sequence, stamp] of this.#stamps) {
      const { open = false, openSince = Infinity } = this.#hosts.get(stamp.host)?.assembler ?? {};
      const isWanted = open && (stamp.host !== host || sequence >= openSince);
      if (sequence <= report.lastSequence && !isWanted) this.#stamps.delete(sequence);
    }
  }

  /**
   * The kernel's clock, or the wall's in its place, by what lay between them where a record had both: what matters is how
   * much time lies between two records.
   */
  #clockOf({ timestampUs, wallTime, wholeSeconds }: LogRecord, host: Host): number | undefined {
    if (wallTime === undefined) return timestampUs;
    const { clock } = host;
    const still = wholeSeconds && clock !== undefined && wallTime >= clock && wallTime - clock <= SECOND_MS;
    const now = still ? clock : wallTime;
    host.clock = now;
    if (timestampUs !== undefined) host.offsetUs = timestampUs - now * 1000;
    return timestampUs ?? now * 1000 + host.offsetUs;
  }
}

/** Without the kernel's own numbers, what the log says is what makes it the same kill. */
export function loggedId(report: AssembledReport, stamp: LogRecord | undefined, hostName: string): string {
  const hash = createHash('sha256');
  hash.update(JSON.stringify([hostName, stamp?.bootId, stamp?.timestampUs ?? stamp?.wallTime, report.raw]));
  return `log:${hash.digest('hex').slice(0, 32)}`;
}
