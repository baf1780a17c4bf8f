import type { KernelVictim, NoVictim } from './assemble/kill-report.ts';
import { LinePieces } from './assemble/line-pieces.ts';
import { type AssembledReport, type DraftRecord, ReportDraft } from './assemble/report-draft.ts';
import { isWithin } from './kernel/cgroup-path.ts';
import { KERN, type KernelRecord } from './kernel/kmsg-record.ts';
import type { Observation } from './kernel/observation.ts';
import { observe, observeBareKill } from './kernel/oom-report.ts';

/** A record from /dev/kmsg, or one from a log, which may not know the kernel's clock. */
export type AssemblerRecord = Omit<KernelRecord, 'timestampUs'> & {
  readonly timestampUs?: number | undefined;
};

export interface AssemblerOptions {
  report(report: AssembledReport): void;
  noVictim?(none: NoVictim): void;
  /** Where a process lives, when somebody knows: tells a kill of its own from one more member of a group. */
  cgroupOf?(pid: number): string | undefined;
  /** Sequence numbers are line numbers, so that a gap between them is other programs' lines and no loss. */
  lines?: boolean;
  /**
   * There is no more of the log than what is pushed, and lines may be missing or cut: who was chosen was killed, too, and
   * the start of a kill is one.
   */
  excerpt?: boolean;
}

/** The kernel kills a group's members one after another; measured 0.1 to 2 ms apart, emulated machines included. */
const GROUP_GAP_US = 100_000;
/** A clock that goes back this far is another boot's, or somebody has the log with the newest line first (journalctl -r). */
const BACK_US = 1_000_000;
/** Nothing that the OOM killer began is still going on after this. */
const ABANDONED_US = 60_000_000;
const MOST_VICTIMS = 10_000;
/** As many processors may be at it. */
const MOST_WAITING = 64;

/**
 * Kernel records -> one report per invocation of the OOM killer. Pure: no clock, no I/O, memory bounded by one report.
 *
 * The kernel holds a lock while it does all this, so invocations follow each other and never mix: header, statistics and
 * choice (rate limited together, 10 in 5 s), then the kill, which is always printed, then the members of its group, if
 * memory.oom.group is set. Nothing marks the end. So a report is held back until the next one begins, the kernel's clock
 * has gone on, or the watcher says that the kernel is silent.
 */
export class Assembler {
  readonly #options: AssemblerOptions;
  #draft: ReportDraft | undefined;
  /** Before 4.2 cgroups run out of memory side by side: whom one chose while the kill of another was still to come. */
  readonly #waiting = new Map<number, ReportDraft>();
  /** The last time that somebody asked for a kill by sysrq-f. */
  #asked: DraftRecord | undefined;
  /** The log has lines that say who is killed: those of the reaper, which can come late, are not asked. */
  #isNamed = false;
  readonly #pieces: LinePieces;
  #sequence: number | undefined;

  constructor(options: AssemblerOptions) {
    this.#options = options;
    this.#pieces = new LinePieces({
      isExcerpt: options.excerpt === true,
      understand: (text) => observe(text) ?? this.#bareKill(text),
      take: (record, seen) => this.#take(record, seen),
    });
  }

  /** Something has begun and not been told: a kill that group members may follow, or a header whose kill may follow. */
  get open(): boolean {
    return this.#draft !== undefined || this.#waiting.size > 0 || this.#pieces.holdsAny;
  }

  /** Sequence number of the first record of what is open: a reader that starts again there misses nothing. */
  get openSince(): number | undefined {
    const [waiting] = this.#waiting.values();
    return (waiting ?? this.#draft)?.firstSequence;
  }

  /** The last process killed in the report that is held back. */
  get lastVictim(): KernelVictim | undefined {
    return this.#draft?.victims.at(-1);
  }

  /** @param record any record, in order; all but the kernel's own are ignored, or anybody could forge a kill */
  push(record: AssemblerRecord): void {
    const lost = this.#sequence !== undefined && record.sequence > this.#sequence + 1 && !this.#options.lines;
    this.#sequence = record.sequence;
    if (lost && this.#draft !== undefined) this.#draft.lossy = true;
    if (record.facility !== KERN) return;
    if (!this.#pieces.push(record)) this.#pass(record);
  }

  /** The kernel has been silent for a while: a kill that was seen is told now. */
  settle(): void {
    this.#pieces.giveUp();
    this.#closeWaiting();
    if (this.#draft?.killed || this.#draft?.exiting) this.#close();
  }

  /** There will be no more records. */
  end(): void {
    this.#pieces.giveUp();
    this.#closeWaiting();
    this.#close();
  }

  #take(record: DraftRecord, seen: Observation): void {
    this.#isNamed ||= seen.kind === 'kill' || seen.kind === 'choice' || seen.kind === 'old-choice';
    switch (seen.kind) {
      case 'header':
        this.#begin(record).take(record, seen);
        if (this.#isAskedFor(record, seen.name)) this.#draft?.take(record, { kind: 'sysrq' });
        break;
      case 'sysrq':
        this.#asked = record;
        this.#pass(record);
        break;
      case 'kill':
        this.#kill(record, seen);
        break;
      case 'together':
        // Of a kill that was not seen there is nothing to add it to.
        if (this.#draft?.killed && this.#draft.victimCount < MOST_VICTIMS)
          this.#draft.take(record, { ...seen, kind: 'kill', memory: {} });
        break;
      case 'group':
        this.#group(record, seen);
        break;
      case 'already-exiting':
        // Within a group it is one more member; otherwise it stands where a kill would stand.
        if (this.#draft?.killed && this.#draft.group === undefined) this.#close();
        (this.#draft ?? this.#begin(record)).take(record, seen);
        break;
      case 'choice':
        this.#head(({ choice }) => choice === undefined || choice.pid === seen.pid, record).take(
          record,
          seen,
        );
        break;
      case 'old-choice':
        this.#wait(record, seen.pid);
        this.#head(({ oldChoice }) => oldChoice === undefined || oldChoice.pid === seen.pid, record).take(
          record,
          seen,
        );
        break;
      case 'reaped':
        if (this.#options.excerpt && !this.#isNamed) this.#collecting?.take(record, seen);
        this.#pass(record);
        break;
      case 'no-victim':
        this.#noVictim(record);
        break;
      case 'suppressed':
        this.#close();
        break;
      default:
        if (this.#options.excerpt && this.#collecting === undefined && ONLY_BEFORE_KILLS.has(seen.kind))
          this.#begin(record);
        if (this.#collecting !== undefined) this.#collecting.take(record, seen);
        else this.#pass(record);
    }
  }

  #bareKill(text: string): Observation | undefined {
    return text.startsWith('Killed ') && this.#collecting?.head.oldChoice?.bareKill
      ? observeBareKill(text)
      : undefined;
  }

  /** Before 4.2 the header does not tell; a worker of the kernel's does what sysrq-f asks for. */
  #isAskedFor({ timestampUs }: DraftRecord, name: string): boolean {
    const asked = this.#asked;
    this.#asked = undefined;
    if (asked === undefined || !/^(?:kworker|events)\//.test(name)) return false;
    return (timestampUs ?? 0) - (asked.timestampUs ?? 0) <= BACK_US;
  }

  /** The draft whose kill is still to come. */
  get #collecting(): ReportDraft | undefined {
    const draft = this.#draft;
    return draft === undefined || draft.killed || draft.exiting ? undefined : draft;
  }

  /** The draft that is still without such a line, or a new one: the header of this line's report is missing. */
  #head(isFree: (head: ReportDraft['head']) => boolean, record: DraftRecord): ReportDraft {
    const draft = this.#collecting;
    return draft !== undefined && isFree(draft.head) ? draft : this.#begin(record);
  }

  #begin(record: DraftRecord): ReportDraft {
    this.#close();
    this.#draft = new ReportDraft(record);
    return this.#draft;
  }

  #close(): void {
    const draft = this.#draft;
    this.#draft = undefined;
    if (draft !== undefined) this.#report(draft);
  }

  #report(draft: ReportDraft): void {
    if (this.#options.excerpt) draft.killChosen();
    const report = draft.report();
    if (report !== undefined) this.#options.report(report);
  }

  /** Another process is chosen now. */
  #wait(record: DraftRecord, pid: number): void {
    const draft = this.#collecting;
    const waiting = draft?.head.oldChoice?.pid;
    if (draft === undefined || waiting === undefined || waiting === pid) return;
    const [first] = this.#waiting.values();
    const isOver = first !== undefined && isLater(record, first, ABANDONED_US);
    if (isOver || this.#waiting.size >= MOST_WAITING) this.#closeWaiting();
    this.#draft = undefined;
    this.#waiting.set(waiting, draft);
  }

  #closeWaiting(): void {
    const drafts = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const draft of drafts) this.#report(draft);
  }

  #kill(record: DraftRecord, seen: Observation & { kind: 'kill' }): void {
    const waiting = this.#waiting.get(seen.pid);
    if (waiting !== undefined && !isLater(record, waiting, ABANDONED_US)) {
      this.#waiting.delete(seen.pid);
      waiting.take(record, seen);
      this.#report(waiting);
      return;
    }
    const draft = this.#draft;
    const belongs =
      draft !== undefined &&
      !isEarlier(record, draft, BACK_US) &&
      (draft.group !== undefined
        ? this.#isMember(draft, record, seen)
        : draft.killed
          ? draft.knows(seen.pid) && !isLater(record, draft, GROUP_GAP_US)
          : !draft.exiting && draft.expects(seen.pid));
    (belongs ? draft : this.#begin(record)).take(record, seen);
  }

  #isMember(draft: ReportDraft, record: DraftRecord, seen: Observation & { kind: 'kill' }): boolean {
    if (isLater(record, draft, GROUP_GAP_US) || draft.victimCount >= MOST_VICTIMS) return false;
    if (draft.knows(seen.pid)) return true;
    if (draft.prefix !== undefined && seen.prefix !== undefined && seen.prefix !== draft.prefix) return false;
    const cgroup = this.#options.cgroupOf?.(seen.pid);
    return cgroup === undefined || isWithin(cgroup, draft.group as string);
  }

  #group(record: DraftRecord, seen: Observation & { kind: 'group' }): void {
    const draft = this.#draft;
    if (this.#options.excerpt && isWithin(draft?.head.taskCgroup ?? seen.cgroup, seen.cgroup))
      draft?.killChosen();
    if (draft !== undefined && draft.group === undefined && (draft.killed || draft.exiting)) {
      draft.take(record, seen);
      return;
    }
    // The kill before this line was no member of the last group but the first victim of this one.
    const first = draft?.giveLastKill();
    const again = first === undefined && draft?.group === seen.cgroup && !draft.exiting;
    if (again) return;
    const next = this.#begin(first?.record ?? record);
    if (first !== undefined) next.take(first.record, first.seen);
    next.take(record, seen);
  }

  #noVictim(record: DraftRecord): void {
    const cgroup = this.#collecting?.head.limitCgroup;
    if (this.#isNamed) this.#close();
    this.#draft = undefined;
    this.#options.noVictim?.({ sequence: record.sequence, ...(cgroup !== undefined && { cgroup }) });
  }

  /** A record of no interest still tells that time has passed. */
  #pass(record: DraftRecord): void {
    const draft = this.#draft;
    if (draft === undefined) return;
    if (isLater(record, draft, draft.killed || draft.exiting ? GROUP_GAP_US : ABANDONED_US)) this.#close();
  }
}

/** What nothing but a report of the OOM killer holds: it begins with such a line where what was above is cut off. */
const ONLY_BEFORE_KILLS: ReadonlySet<Observation['kind']> = new Set<Observation['kind']>([
  'old-cgroups',
  'usage',
  'cgroup-statistics',
  'task-columns',
]);
function isEarlier(record: DraftRecord, draft: ReportDraft, us: number): boolean {
  const { timestampUs } = record;
  return (
    timestampUs !== undefined &&
    draft.lastTimestampUs !== undefined &&
    draft.lastTimestampUs - timestampUs > us
  );
}

function isLater(record: DraftRecord, draft: ReportDraft, us: number): boolean {
  const { timestampUs } = record;
  return (
    timestampUs !== undefined &&
    draft.lastTimestampUs !== undefined &&
    timestampUs - draft.lastTimestampUs > us
  );
}
