import { incidentFromReport } from '../assemble/incident-from-report.ts';
import type { AssembledReport } from '../assemble/report-draft.ts';
import type { Incident, IncidentHost } from '../incident.ts';
import type { LogRecord } from '../kernel-log/decoder.ts';
import { LogReports, loggedId } from '../kernel-log/log-reports.ts';
import type { CapturedProcess } from '../processes/captured-process.ts';
import { objectsInLines } from './one-line-json.ts';

export interface AnalyzeOptions {
  /** Milliseconds since the epoch: logs without a year are dated by it. */
  readonly now: number;
  /** When the machine whose log this is was started, ms since the epoch: makes wall time of the kernel's clock. */
  readonly bootTime?: number;
  readonly bootId?: string;
  /** Whose log it is, where the log does not say it. */
  readonly host?: IncidentHost;
  /** Whether it is to be left out: it was told already. */
  isTold?(report: AssembledReport, stamp: LogRecord): boolean;
  /** Called once, at the end, also where that comes early. */
  finished?(summary: LogSummary): void;
}

export interface LogSummary {
  readonly lines: number;
  /** How often the OOM killer found nobody to kill. */
  readonly noVictims: number;
  /** Whether any line was of a format that is known. */
  readonly recognised: boolean;
}

/** The kills in a log, in order. The log may be records of /dev/kmsg, or of dmesg, journalctl or a syslog file. */
export async function* analyze(
  input: AsyncIterable<Buffer>,
  options: AnalyzeOptions,
): AsyncGenerator<Incident> {
  const analysis = new LogAnalysis(options);
  try {
    for await (const chunk of objectsInLines(input)) yield* analysis.push(chunk);
  } finally {
    // Also where it breaks off: a packed log that is still written to has no end.
    yield* analysis.end();
    options.finished?.(analysis.summary);
  }
}

class LogAnalysis {
  readonly #options: AnalyzeOptions;
  readonly #reports: LogReports;
  #incidents: Incident[] = [];
  #noVictims = 0;

  constructor(options: AnalyzeOptions) {
    this.#options = options;
    this.#reports = new LogReports({
      now: () => options.now,
      pasted: true,
      report: (report, stamp) => {
        const isTold = stamp !== undefined && options.isTold?.(report, stamp) === true;
        if (!isTold) this.#incidents.push(this.#incident(report, stamp));
      },
      noVictim: () => {
        this.#noVictims += 1;
      },
    });
  }

  get summary(): LogSummary {
    const { lines, recognised } = this.#reports;
    return { lines, noVictims: this.#noVictims, recognised };
  }

  push(chunk: Buffer): Incident[] {
    this.#reports.push(chunk);
    return this.#takeIncidents();
  }

  end(): Incident[] {
    this.#reports.end();
    return this.#takeIncidents();
  }

  #takeIncidents(): Incident[] {
    const incidents = this.#incidents;
    this.#incidents = [];
    return incidents;
  }

  #incident(report: AssembledReport, stamp: LogRecord | undefined): Incident {
    const unknown: Record<string, string> = { ...report.unknown };
    const time = this.#time(stamp, unknown);
    const host = this.#host(stamp, report, unknown);
    return incidentFromReport(
      { ...report, unknown },
      {
        id: this.#id(report, stamp, host),
        time: new Date(time).toISOString(),
        host,
        witness: this.#reports.isKmsg ? 'kmsg' : 'log',
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
    unknown.time = `${stamp?.doubt ?? 'the log has no wall-clock time'}${since}`;
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

  #id(report: AssembledReport, stamp: LogRecord | undefined, host: IncidentHost): string {
    const { bootId } = this.#options;
    return bootId !== undefined && this.#reports.isKmsg
      ? `${bootId}:${report.firstSequence}`
      : loggedId(report, stamp, host.name);
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
