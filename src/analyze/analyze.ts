import { createHash } from 'node:crypto';
import { incidentFromReport } from '../assemble/incident-from-report.ts';
import type { AssembledReport } from '../assemble/report-draft.ts';
import { Assembler } from '../assemble.ts';
import type { Incident, IncidentHost } from '../incident.ts';
import { visibleText } from '../kernel/visible-text.ts';
import type { CapturedProcess } from '../processes/captured-process.ts';
import type { LogRecord } from './decoder.ts';
import { type DetectedFormat, detectFormat } from './detect.ts';
import { LineScanner, type LineTaker } from './line-scanner.ts';
import { syslogDecoder } from './syslog.ts';

export interface AnalyzeOptions {
  /** Milliseconds since the epoch: logs without a year are dated by it. */
  readonly now: number;
  /** When the machine whose log this is was started, ms since the epoch: makes wall time of the kernel's clock. */
  readonly bootTime?: number;
  readonly bootId?: string;
  /** Whose log it is, where the log does not say it. */
  readonly host?: IncidentHost;
  /** Called once, at the end. */
  finished?(summary: LogSummary): void;
}

export interface LogSummary {
  readonly lines: number;
  /** How often the OOM killer found nobody to kill. */
  readonly noVictims: number;
  /** Whether any line was of a format that is known. */
  readonly recognised: boolean;
}

/** So much is read before an input counts as of no known format. */
const SAMPLE_BYTES = 64 << 10;
const SAMPLE_LINES = 200;
/** So many lines after a kill there come no more members of its group; a header's kill comes within the longest table. */
const LINES_AFTER_KILL = 1_000;
const LINES_AFTER_HEADER = 100_000;
/** A second that stands still for a record of the next one is no gap. */
const SECOND_MS = 1_000;

/** The kills in a log, in order. The log may be records of /dev/kmsg, or of dmesg, journalctl or a syslog file. */
export async function* analyze(
  input: AsyncIterable<Buffer>,
  options: AnalyzeOptions,
): AsyncGenerator<Incident> {
  const analysis = new LogAnalysis(options);
  for await (const chunk of input) yield* analysis.push(chunk);
  yield* analysis.end();
  options.finished?.(analysis.summary);
}

class LogAnalysis implements LineTaker {
  readonly #options: AnalyzeOptions;
  readonly #stamps = new Map<number, LogRecord>();
  #sample: Buffer = Buffer.alloc(0);
  #format: DetectedFormat | undefined;
  #recognised = false;
  #scanner: LineScanner | undefined;
  #assembler: Assembler | undefined;
  #incidents: Incident[] = [];
  #noVictims = 0;
  #stale = 0;
  #sinceKill = 0;
  #clock: number | undefined;

  constructor(options: AnalyzeOptions) {
    this.#options = options;
  }

  get summary(): LogSummary {
    return { lines: this.#scanner?.lines ?? 0, noVictims: this.#noVictims, recognised: this.#recognised };
  }

  push(chunk: Buffer): Incident[] {
    if (this.#scanner !== undefined) this.#scanner.push(chunk);
    else {
      this.#sample = Buffer.concat([this.#sample, chunk]);
      this.#detect(this.#sample.length >= SAMPLE_BYTES);
    }
    return this.#takeIncidents();
  }

  end(): Incident[] {
    if (this.#scanner === undefined) this.#detect(true);
    this.#scanner?.end();
    this.#assembler?.end();
    return this.#takeIncidents();
  }

  get idle(): boolean {
    return this.#assembler?.open !== true;
  }

  take(line: string, number: number): void {
    const record = this.#format?.decoder.line(line, number);
    if (record !== undefined) this.#record(record);
    this.#stale += 1;
    if (this.#stale === LINES_AFTER_KILL) this.#assembler?.settle();
    if (this.#stale === LINES_AFTER_HEADER) this.#assembler?.end();
  }

  skipped(): void {
    this.#format?.decoder.skipped();
  }

  complete(): void {
    const record = this.#format?.decoder.flush();
    if (record !== undefined) this.#record(record);
  }

  #detect(enough: boolean): void {
    const lines = visibleText(this.#sample.subarray(0, SAMPLE_BYTES)).split('\n', SAMPLE_LINES);
    if (!enough) lines.pop();
    const format = detectFormat(lines, this.#options.now);
    if (format === undefined && !enough) return;
    this.#recognised = format !== undefined;
    this.#format = format ?? { decoder: syslogDecoder(this.#options.now), isKmsg: false };
    this.#assembler = new Assembler({
      report: (report) => this.#incidents.push(this.#incident(report)),
      noVictim: () => {
        this.#noVictims += 1;
      },
      lines: !this.#format.isKmsg,
    });
    this.#scanner = new LineScanner(this.#format.decoder, this);
    this.#scanner.push(this.#sample);
    this.#sample = Buffer.alloc(0);
  }

  #takeIncidents(): Incident[] {
    const incidents = this.#incidents;
    this.#incidents = [];
    return incidents;
  }

  #record(record: LogRecord): void {
    const assembler = this.#assembler as Assembler;
    const kills = record.text.includes('Kill');
    // A kill whose name holds newlines is known by the number of its last line.
    this.#sinceKill = kills ? 0 : this.#sinceKill + 1;
    if (this.#sinceKill <= 16) this.#stamps.set(record.sequence, record);
    assembler.push({ ...record, timestampUs: this.#timestamp(record) });
    if (kills || record.text.includes('oom-k')) this.#stale = 0;
    if (!assembler.open && !kills) this.#stamps.clear();
  }

  /** The kernel's clock, or the wall's: what matters is how much time lies between two records. */
  #timestamp(record: LogRecord): number | undefined {
    if (record.timestampUs !== undefined) return record.timestampUs;
    const { wallTime, wholeSeconds } = record;
    if (wallTime === undefined) return undefined;
    const clock = this.#clock;
    const still = wholeSeconds && clock !== undefined && wallTime >= clock && wallTime - clock <= SECOND_MS;
    this.#clock = still ? clock : wallTime;
    return (this.#clock as number) * 1000;
  }

  #incident(report: AssembledReport): Incident {
    const stamp = this.#stamps.get(report.victims[0]?.sequence ?? -1);
    const unknown: Record<string, string> = { ...report.unknown };
    const time = this.#time(stamp, unknown);
    const host = this.#host(stamp, report, unknown);
    return incidentFromReport(
      { ...report, unknown },
      {
        id: this.#id(report, stamp, host),
        time: new Date(time).toISOString(),
        host,
        witness: this.#format?.isKmsg ? 'kmsg' : 'log',
        captured: report.victims.map(({ pid }) => notCaptured(pid)),
      },
    );
  }

  #time(stamp: LogRecord | undefined, unknown: Record<string, string>): number {
    const { bootTime } = this.#options;
    if (stamp?.wallTime !== undefined) {
      if (stamp.doubt !== undefined) unknown.time = stamp.doubt;
      return stamp.wallTime;
    }
    if (bootTime !== undefined && stamp?.timestampUs !== undefined) {
      unknown.time = "converted from the kernel's clock, which stands still while the machine sleeps";
      const time = bootTime + stamp.timestampUs / 1000;
      if (Math.abs(time) < 8.64e15) return time;
    }
    const since =
      stamp?.timestampUs === undefined ? '' : `, only ${(stamp.timestampUs / 1e6).toFixed(3)} s since boot`;
    unknown.time = `the log has no wall-clock time${since}`;
    return 0;
  }

  #host(
    stamp: LogRecord | undefined,
    report: AssembledReport,
    unknown: Record<string, string>,
  ): IncidentHost {
    const host = { ...this.#options.host, name: stamp?.host ?? this.#options.host?.name ?? '' };
    if (host.name === '') unknown['host.name'] = 'the log does not name its host';
    const bootId = this.#options.bootId ?? stamp?.bootId;
    return {
      ...host,
      ...(bootId !== undefined && { boot_id: bootId }),
      ...(report.kernel !== undefined && { kernel: report.kernel }),
    };
  }

  /** Without the kernel's own numbers, what the log says is what makes it the same kill. */
  #id(report: AssembledReport, stamp: LogRecord | undefined, host: IncidentHost): string {
    const { bootId } = this.#options;
    if (bootId !== undefined && this.#format?.isKmsg) return `${bootId}:${report.firstSequence}`;
    const hash = createHash('sha256');
    hash.update(
      JSON.stringify([host.name, stamp?.bootId, stamp?.timestampUs ?? stamp?.wallTime, report.raw]),
    );
    return `log:${hash.digest('hex').slice(0, 32)}`;
  }
}

function notCaptured(pid: number): CapturedProcess {
  return {
    pid,
    source: 'kernel-comm',
    truncated: false,
    redacted: 0,
    missing: "the kernel's log holds no command lines",
  };
}
