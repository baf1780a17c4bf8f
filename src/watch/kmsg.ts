/** Kills in the kernel's own log. */
import type { KillReport, NoVictim } from '../assemble/kill-report.ts';
import { Assembler } from '../assemble.ts';
import type { Reader } from '../capture/protocol.ts';
import { KmsgReader } from '../kernel/kmsg.ts';
import type { KernelRecord } from '../kernel/kmsg-record.ts';
import type { KillSource, Sighting, SourceContext, Told } from './kill-source.ts';
import type { KmsgPlace, Place } from './place.ts';

/**
 * Records of one look. While records are read and understood (15 µs each) no exec event is: what lives for a
 * shorter time than a turn dies unknown. A report has 34 records on Linux 5.10 and 109 on 7.2, and ten can come at once.
 */
const RECORDS_PER_LOOK = 100;
/** So often the place is told though there is no kill. */
const RECORDS_PER_PLACE = 1_000;

type OpenReader = typeof KmsgReader.open;

export function openKmsg(context: SourceContext): KillSource {
  return new KmsgSource(context, KmsgReader.open);
}

export class KmsgSource implements KillSource {
  readonly #context: SourceContext;
  readonly #openReader: OpenReader;
  readonly #assembler: Assembler;
  #records: KernelRecord[] = [];
  /** Read after the process events of this turn had begun to be taken. */
  #ahead: KernelRecord[] = [];
  #history: KernelRecord[] = [];
  #kmsg: KmsgReader | undefined;
  #more = false;
  #reports: KillReport[] = [];
  #noVictims: NoVictim[] = [];
  /** The last record that was in the ring before we came. */
  #historyEnd = -1;
  /** Of the last place that was told. */
  #told = -1;
  #settleAt = Number.POSITIVE_INFINITY;

  constructor(context: SourceContext, openReader: OpenReader) {
    this.#context = context;
    this.#openReader = openReader;
    this.#assembler = new Assembler({
      report: (report) => this.#reports.push(report),
      noVictim: (none) => this.#noVictims.push(none),
      cgroupOf: (pid) => context.cgroupOf(pid),
    });
  }

  get fds(): readonly number[] {
    return this.#kmsg === undefined ? [] : [this.#kmsg.fd];
  }

  get foreignFds(): readonly number[] {
    return [];
  }

  /** At once where there is more: without poll(2) the loop would look again after 50 ms, and take 2,000 records a second. */
  get dueAt(): number {
    return this.#more ? 0 : this.#settleAt;
  }

  /** Reads what the log holds already, at once: whatever comes after that is news. */
  open(place: Place | undefined): Reader {
    const { options, add, post } = this.#context;
    const { paths } = options;
    const after = place !== undefined && 'sequence' in place ? place.sequence : undefined;
    try {
      this.#kmsg = this.#openReader(
        paths.kmsg,
        {
          overrun: () => {
            add('kmsgOverruns', 1);
            post({ type: 'overrun', reader: 'kmsg' });
          },
          lost: (count, sequence) => {
            add('kmsgLost', count);
            post({ type: 'lost', records: count, sequence });
          },
        },
        after,
      );
      const kmsg = this.#kmsg;
      const read = (): 'empty' | 'more' =>
        after === undefined
          ? kmsg.passOver(RECORDS_PER_LOOK)
          : kmsg.drain((record) => this.#history.push(record), RECORDS_PER_LOOK);
      while (read() === 'more');
      this.#historyEnd = this.#kmsg.sequence;
      return { works: true };
    } catch (error) {
      this.close();
      return { works: false, problem: explained(paths.kmsg, error as NodeJS.ErrnoException) };
    }
  }

  /** Records that were in the ring before we came: missed, unless an earlier run has reported them. */
  replay(): void {
    for (const record of this.#history) this.#push(record);
    this.#history = [];
    this.#armSettle();
  }

  read(isReadable: (fd: number) => boolean): void {
    this.#records = this.#ahead;
    this.#ahead = [];
    this.#more = this.#take(this.#records, isReadable);
  }

  readAhead(isReadable: (fd: number) => boolean): void {
    this.#take(this.#ahead, isReadable);
    if (this.#ahead.length > 0) this.#more = true;
  }

  /** @returns whether there may be more */
  #take(records: KernelRecord[], isReadable: (fd: number) => boolean): boolean {
    // An empty look costs as much as a process event: node:fs says EAGAIN with an exception.
    if (this.#kmsg === undefined || !isReadable(this.#kmsg.fd)) return false;
    return this.#kmsg.drain((record) => records.push(record), RECORDS_PER_LOOK) === 'more';
  }

  understand(): void {
    const { clock, add } = this.#context;
    const newest = this.#records.at(-1);
    if (newest !== undefined) {
      add('kmsgRecords', this.#records.length);
      // Only when the ring has been emptied is the newest record as late as our waking up, no later.
      if (!this.#more) clock.observe(newest.timestampUs);
      for (const record of this.#records) this.#push(record);
      this.#records = [];
      this.#armSettle();
    }
    if (clock.now() >= this.#settleAt && !this.#more) {
      this.#assembler.settle();
      this.#settleAt = Number.POSITIVE_INFINITY;
    }
  }

  tell(): Told | undefined {
    const reports = this.#reports;
    const noVictims = this.#noVictims;
    const place = this.#placeAfter(reports.at(-1));
    if (reports.length === 0 && noVictims.length === 0 && place === undefined) return undefined;
    this.#reports = [];
    this.#noVictims = [];
    return { sightings: reports.map((report) => this.#sighting(report)), noVictims, place };
  }

  end(): void {
    this.#assembler.settle();
  }

  get place(): KmsgPlace | undefined {
    const { openSince } = this.#assembler;
    const sequence = openSince === undefined ? this.#understood : openSince - 1;
    return sequence < 0 ? undefined : { sequence };
  }

  /** The last record that was; -1: none was. */
  get #understood(): number {
    const next = this.#records[0] ?? this.#ahead[0];
    return next === undefined ? (this.#kmsg?.sequence ?? -1) : next.sequence - 1;
  }

  close(): void {
    this.#kmsg?.close();
    this.#kmsg = undefined;
  }

  #push(record: KernelRecord): void {
    try {
      this.#assembler.push(record);
    } catch (error) {
      this.#context.untold(`record ${record.sequence}`, error);
    }
  }

  #placeAfter(last: KillReport | undefined): KmsgPlace | undefined {
    const { openSince } = this.#assembler;
    if (last !== undefined)
      this.#told = openSince === undefined ? Math.max(last.lastSequence, this.#told) : openSince - 1;
    else {
      const sequence = this.#understood;
      // The first time, what the ring held counts as read.
      const due = this.#told < 0 ? sequence >= 0 : sequence - this.#told >= RECORDS_PER_PLACE;
      if (openSince !== undefined || !due) return undefined;
      this.#told = sequence;
    }
    return { sequence: this.#told };
  }

  /** How long the kernel has to be silent before an open kill is told: no time at all unless it may kill a group. */
  #armSettle(): void {
    const victim = this.#assembler.lastVictim;
    this.#settleAt =
      victim === undefined
        ? Number.POSITIVE_INFINITY
        : this.#context.clock.now() + this.#context.silenceMs(victim);
  }

  #sighting(report: KillReport): Sighting {
    const { clock, options } = this.#context;
    const { name, boot_id, kernel, arch } = options.host;
    const missed = report.lastSequence <= this.#historyEnd;
    const killedAt = report.timestampUs === undefined ? clock.now() : clock.ofKernel(report.timestampUs);
    const unknown = missed
      ? { ...report.unknown, time: "converted from the kernel's clock, which may be off after a long uptime" }
      : report.unknown;
    return {
      report: { ...report, unknown },
      id: `${boot_id}:${report.firstSequence}`,
      witness: 'kmsg',
      host: { name, boot_id, kernel, arch },
      killedAt,
      wallTime: missed ? clock.wallTime(killedAt) : Date.now(),
      missed,
    };
  }
}

function explained(path: string, { code, message }: NodeJS.ErrnoException): string {
  const otherwise = "or tail a file that the kernel's log is written to: --log-file PATH";
  switch (code) {
    case 'EACCES':
    case 'EPERM':
      return `${path}: permission denied. Run as root, or give the container CAP_SYSLOG and the device, ${otherwise}`;
    case 'ENOENT':
      return `${path}: not there. Mount the host's /dev/kmsg, ${otherwise}`;
    case undefined:
      return `${message}, ${otherwise}`;
    default:
      return `${path}: ${message}`;
  }
}
