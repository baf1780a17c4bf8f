/**
 * Scans and re-reading of /proc. Scans find who is there: at start, after process events were lost, and all the time where
 * there are none. Re-reading finds what they call themselves by now: titles are set later (nginx, postgres).
 */
import type { ProcFiles } from '../kernel/proc-files.ts';
import type { Images } from './images.ts';
import { type Entry, newEntry, SAME_START_MS } from './process-entry.ts';
import type { ProcessTable } from './process-table.ts';

/** A forked child has set its title by then, if it ever does. */
const TITLE_AFTER_MS = 500;
const MAX_YOUNG = 4_096;
/** Read again at one refresh, besides those whose turn it is: about 4 ms. */
const YOUNG_AT_ONCE = 200;

/** Of one turn, which takes a fifth of it as a rule: not many of those who do not answer are waited for at once. */
const BUDGET_MS = 20;

/** A process found by a scan is read again by the following ones until it is this old in the table. */
const SETTLED_AFTER_MS = 2_000;

export class ProcScan {
  readonly #table: ProcessTable;
  readonly #files: ProcFiles;
  readonly #images: Images;
  /** CLOCK_MONOTONIC, ms */
  readonly #now: () => number;
  #unscanned: number[] = [];
  /** Found by scans a moment ago, perhaps between their fork and their exec. */
  #found: { readonly entry: Entry; readonly at: number }[] = [];
  #young: Entry[] = [];
  #cursor: Iterator<Entry> | undefined;

  constructor(table: ProcessTable, files: ProcFiles, images: Images, now: () => number) {
    this.#table = table;
    this.#files = files;
    this.#images = images;
    this.#now = now;
  }

  /** Puts every process of /proc on the list of `continue`. */
  begin(): void {
    this.#unscanned = this.#files.pids();
    this.#buryMissing(this.#unscanned);
  }

  /** Looks at up to `limit` processes of the scan; false when it is done. A scan must not make us miss events. */
  continue(limit: number): boolean {
    const startedAt = this.#now();
    for (let i = 0; i < limit && this.#now() - startedAt < BUDGET_MS; i++) {
      const pid = this.#unscanned.pop();
      if (pid === undefined) return false;
      this.#look(pid);
    }
    return this.#unscanned.length > 0;
  }

  /** Adds the processes of /proc that are not known yet; the way of knowing where there are no events. @returns how many */
  findNew(): number {
    const now = this.#now();
    this.#found = this.#found.filter(
      ({ entry, at }) => entry.exitedAt === undefined && now - at < SETTLED_AFTER_MS,
    );
    for (const { entry } of this.#found) this.#reread(entry);
    const pids = this.#files.pids();
    let found = 0;
    for (const pid of pids) {
      if (this.#table.alive(pid) !== undefined) continue;
      this.#look(pid);
      const added = this.#table.alive(pid);
      if (added !== undefined && this.#found.length < MAX_YOUNG) this.#found.push({ entry: added, at: now });
      found++;
    }
    this.#buryMissing(pids);
    return found;
  }

  /** It was forked just now: read again when it has had the time to set its title. */
  awaitTitle(child: Entry): void {
    if (!child.dropped && this.#young.length < MAX_YOUNG) this.#young.push(child);
  }

  /**
   * Reads up to `limit` command lines again: first children that were forked a moment ago, then everybody in turn.
   *
   * @param verifyStart without events a pid may have changed hands: its start is compared too
   */
  refresh(limit: number, verifyStart: boolean): void {
    const now = this.#now();
    for (let young = 0; young < YOUNG_AT_ONCE && this.#now() - now < BUDGET_MS; young++) {
      const youngest = this.#young[0];
      if (youngest === undefined || now - (youngest.start ?? now) < TITLE_AFTER_MS) break;
      this.#young.shift();
      if (youngest.exitedAt !== undefined || youngest.source !== 'inherited') continue;
      this.#reread(youngest);
    }
    for (let left = limit; left > 0 && this.#now() - now < BUDGET_MS; left--) {
      this.#cursor ??= this.#table.entries();
      const next = this.#cursor.next();
      if (next.done) {
        this.#cursor = undefined;
        break;
      }
      if (next.value.exitedAt !== undefined) continue;
      if (verifyStart) this.#look(next.value.pid);
      else this.#reread(next.value);
    }
  }

  #buryMissing(pids: readonly number[]): void {
    const there = new Set(pids);
    for (const entry of [...this.#table.entries()])
      if (entry.exitedAt === undefined && !there.has(entry.pid)) this.#table.vanish(entry);
  }

  #look(pid: number): void {
    const stat = this.#files.stat(pid);
    if (stat === undefined) return;
    const entry = this.#table.alive(pid);
    if (entry !== undefined) {
      if (entry.start === undefined || Math.abs(entry.start - stat.start) < SAME_START_MS) {
        entry.start ??= stat.start;
        entry.parentPid ??= stat.parentPid;
        entry.threaded = true;
        this.#reread(entry);
        return;
      }
      this.#table.vanish(entry);
    }
    const image = this.#images.read(pid, this.#now());
    const found = newEntry(pid, stat.parentPid, stat.start, 'scan', image);
    // Whether a process found by a scan has threads is not known.
    found.threaded = true;
    this.#table.add(found);
  }

  /** Keeps what is known when nothing can be read: the process is dying, or a zombie. */
  #reread(entry: Entry): void {
    const now = this.#now();
    const image = this.#images.read(entry.pid, now);
    if (image.missing !== undefined) return;
    if (image.cgroup === entry.image.cgroup && image.hasArgsOf(entry.image)) entry.image.readAt = now;
    else this.#table.become(entry, image, 'scan');
  }
}
