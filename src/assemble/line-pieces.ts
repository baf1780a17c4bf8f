import { isWithin } from '../kernel/cgroup-path.ts';
import type { Observation } from '../kernel/observation.ts';
import { isTooLong } from '../kernel/oom-numbers.ts';
import { observeBareKill } from '../kernel/oom-report.ts';
import type { DraftRecord } from './report-draft.ts';

/** A name holds at most 15 newlines. */
const MOST_PIECES = 16;

/** The start of a line that may go on in the next record. */
interface Split {
  readonly record: DraftRecord;
  readonly text: string;
  readonly pieces: number;
  /** What it says by itself, where that counts. */
  readonly seen: Observation | undefined;
  /** Only sizes can be missing. */
  readonly isWhole: boolean;
}

export interface LinePiecesOptions {
  /** Lines may be cut anywhere, and the start of a kill is one. */
  readonly isExcerpt: boolean;
  /** What a line says, in whatever record it stands. */
  understand(text: string): Observation | undefined;
  /** What was found, in the order of the log. */
  take(record: DraftRecord, seen: Observation): void;
}

/**
 * Lines of the kernel's that stand in several records: names with a newline, lines that it prints piece by piece, and what a
 * window or a log has broken. Memory is bounded by one line.
 */
export class LinePieces {
  readonly #options: LinePiecesOptions;
  #split: Split | undefined;

  constructor(options: LinePiecesOptions) {
    this.#options = options;
  }

  /** What is held back says something by itself. */
  get holdsAny(): boolean {
    return this.#split?.seen !== undefined;
  }

  /** @returns whether anything was found in the record */
  push(record: DraftRecord): boolean {
    const isBetween = this.#isBetween(record);
    const separators = isBetween ? [] : this.#separators(record.text);
    for (const separator of separators) {
      const joined = { ...record, text: `${this.#split?.text}${separator}${record.text}` };
      const whole = this.#options.understand(joined.text);
      // A header begins with a name, which can be anything; and a name ends before the next kill.
      if (whole === undefined || whole.kind === 'header') continue;
      if ((whole.kind === 'kill' && isTooLong(whole.name)) || isCut(whole)) continue;
      this.#split = undefined;
      this.#found(joined, whole);
      return true;
    }
    const seen = this.#options.understand(record.text);
    if (seen !== undefined) {
      if (seen.kind !== 'statistics' || this.#split?.isWhole) this.giveUp();
      this.#found(record, seen);
      return true;
    }
    if (SPLIT_START.test(record.text)) {
      this.giveUp();
      const kill = this.#options.isExcerpt ? observeBareKill(record.text) : undefined;
      this.#split = { record, text: record.text, pieces: 1, seen: kill, isWhole: false };
    } else if (this.#split) {
      const { text, pieces } = this.#split;
      const [separator] = separators;
      const joined = isBetween ? text : separator !== undefined && text + separator + record.text;
      if (joined !== false && pieces < MOST_PIECES)
        this.#split = { ...this.#split, text: joined, pieces: pieces + 1 };
      else this.giveUp();
    }
    return false;
  }

  #found(record: DraftRecord, seen: Observation): void {
    // More may follow, in the next line of a window.
    const isOpen = seen.kind === 'kill' || seen.kind === 'old-cgroups';
    if (this.#options.isExcerpt && isOpen)
      this.#split = { record, text: record.text, pieces: 1, seen, isWhole: seen.kind === 'kill' };
    else this.#options.take(record, seen);
  }

  /** The rest of it does not come. */
  giveUp(): void {
    const split = this.#split;
    this.#split = undefined;
    if (split?.seen !== undefined) this.#options.take(split.record, split.seen);
  }

  /** A record with a time of its own is no piece of a line that a window broke. */
  #isBetween({ timestampUs, text }: DraftRecord): boolean {
    const split = this.#split;
    if (split === undefined || !IN_PIECES.test(split.text) || PIECE.test(text)) return false;
    // Any name may follow.
    if (/=$|,task=/.test(split.text)) return false;
    return timestampUs !== undefined && timestampUs !== split.record.timestampUs;
  }

  /**
   * What may have stood between two pieces of a line, the likeliest first: the kernel begins a new record when one is full,
   * between two fields and before the name; many logs break a name at its newline; and windows break a line anywhere.
   */
  #separators(next: string): readonly string[] {
    if (this.#split === undefined) return [];
    const { text, isWhole } = this.#split;
    const isInPieces = IN_PIECES.test(text);
    if (isInPieces && (CUT.test(text) || next.startsWith('Tasks state ('))) return [];
    if (text.startsWith('oom-kill:') && !text.includes(',task=')) return [''];
    if (isInPieces && !text.startsWith('oom-kill:')) return ['', ' '];
    if (!this.#options.isExcerpt) return ['\n'];
    if (isWhole) return SIZES.test(next) ? [SIZE.test(next) ? ' ' : ''] : [];
    return next.startsWith('total-vm:') ? [' ', '\n'] : ['\n', '', ' '];
  }
}

/** The rest of a kill: `file-rss:4kB, shmem-rss:0kB, UID:0 pgtables:72kB oom_score_adj:0`, begun anywhere. */
const SIZES =
  /^(?=.*\d)[-\w]{0,20}:?-?\d{0,16}(?:kB)?(?:,? (?:[a-z]+-rss|UID|pgtables|oom_score_adj):-?\d+(?:kB)?)*,?$/;
const SIZE = /^(?:[a-z]+-rss|UID|pgtables|oom_score_adj):/;
/** The kernel prints these piece by piece, and another processor's line can come between two. */
const IN_PIECES = /^(?:oom-kill:constraint=|Tasks? in(?: |$)|Memory cgroup stats for )/;
const PIECE =
  /^(?:[,/]| ?killed\b| ?as a result of limit of\b| ?are going to be killed\b|:? ?(?:[a-z_]+:\d+KB|$))/;
/** How journalctl, less and web pages show that there is more of a line. */
const CUT = /(?:>|\u2026|\.\.\.)$/;
const SPLIT_START =
  /^(?:oom-kill:constraint=|Tasks? in(?: \/| ?$)|Memory cgroup stats for \/|(?:(?:Memory cgroup out|Out) of memory(?: \(oom_kill_allocating_task\))?: )?[Kk]ill(?:ed)? process \d+,?(?: UID \d+,)? \()/;

/** A process is killed for the limit of its own cgroup or of one above it. */
function isCut(seen: Observation): boolean {
  return seen.kind === 'old-cgroups' && !isWithin(seen.cgroup, seen.limitCgroup);
}
