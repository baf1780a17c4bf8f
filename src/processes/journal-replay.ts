import type { GivenAway } from '../kernel/given-pids.ts';
import { Image, type Images } from './images.ts';
import { type Entry, newEntry, type ProcessRecord, SAME_START_MS } from './process-entry.ts';
import type { ProcessTable } from './process-table.ts';

const MAYBE_ANOTHER =
  'it was there when the agent went down, but its process number may have gone to another before the kill';
const MAYBE_EXECUTED = 'it was forked just before the agent went down and may have executed something since';

const NOTHING = { executable: undefined, cgroup: undefined };

/** What the journal of an earlier run says, taken over before the table tells a journal itself; a scan must follow. */
export class JournalReplay {
  readonly #table: ProcessTable;
  readonly #images: Images;

  constructor(table: ProcessTable, images: Images) {
    this.#table = table;
    this.#images = images;
  }

  image(record: ProcessRecord): void {
    const { pid, parentPid, start, source } = record;
    const image = this.#images.restore(record);
    let entry = this.#table.alive(pid);
    if (entry === undefined) {
      entry = newEntry(pid, parentPid, start, source, image);
      this.#table.add(entry);
    } else this.#table.become(entry, image, source);
    // The journal does not say.
    entry.threaded = true;
  }

  fork(pid: number, parentPid: number, time: number): void {
    const parent = this.#table.alive(parentPid);
    if (parent !== undefined) this.#table.fork(pid, parent, time);
  }

  exit(pid: number, status: number, time: number): void {
    const entry = this.#table.alive(pid);
    if (entry !== undefined) this.#table.exit(entry, status, time);
  }

  /**
   * Forgets the command lines of processes whose number may have been given away again since they were seen. To be called
   * between the last line and the scan, which reads those that are still there.
   *
   * @param seenAt CLOCK_MONOTONIC, ms: whoever was started later had his number from what is counted
   * @param givenAway since then
   */
  distrustNumbers(seenAt: number, givenAway: GivenAway): void {
    for (const entry of this.#table.entries()) {
      if (entry.exitedAt !== undefined) continue;
      const isNewer = entry.start !== undefined && entry.start > seenAt - SAME_START_MS;
      if (!(isNewer ? givenAway.all : givenAway.to(entry.pid))) continue;
      entry.start = undefined;
      entry.parentPid = undefined;
      this.#forget(entry, MAYBE_ANOTHER);
    }
  }

  /**
   * Forgets the command lines of processes that were started after this time and were still what their parent is: what
   * they executed next happened unseen. To be called between the last line and the scan, which reads those that are still
   * there.
   */
  distrustStartsSince(time: number): void {
    for (const entry of this.#table.entries()) {
      if (entry.source === 'exec' || (entry.start ?? 0) < time) continue;
      const parent = entry.parentPid === undefined ? undefined : this.#table.latest(entry.parentPid);
      if (parent !== undefined && !parent.image.hasArgsOf(entry.image)) continue;
      const { executable, cgroup } = entry.image;
      this.#forget(entry, MAYBE_EXECUTED, { executable, cgroup });
    }
  }

  #forget(entry: Entry, missing: string, known: Pick<Image, 'executable' | 'cgroup'> = NOTHING): void {
    const { readAt } = entry.image;
    const unknown = new Image(
      { args: undefined, redacted: 0 },
      { ...known, missing, truncated: false, readAt },
    );
    this.#table.become(entry, unknown, entry.source);
  }
}
