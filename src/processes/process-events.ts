/** Process events as they happen. */
import type { ProcEventHandler } from '../kernel/proc-connector.ts';
import type { ProcFiles } from '../kernel/proc-files.ts';
import type { Images } from './images.ts';
import type { ProcScan } from './proc-scan.ts';
import { newEntry } from './process-entry.ts';
import type { ProcessTable } from './process-table.ts';

export class ProcessEvents implements ProcEventHandler {
  readonly #table: ProcessTable;
  readonly #files: ProcFiles;
  readonly #images: Images;
  readonly #scan: ProcScan;
  readonly #now: () => number;

  constructor(table: ProcessTable, files: ProcFiles, images: Images, scan: ProcScan, now: () => number) {
    this.#table = table;
    this.#files = files;
    this.#images = images;
    this.#scan = scan;
    this.#now = now;
  }

  fork(pid: number, parentPid: number, time: number): void {
    const parent = this.#table.alive(parentPid);
    if (parent === undefined)
      this.#table.add(newEntry(pid, parentPid, time, 'scan', this.#images.read(pid, time)));
    else this.#scan.awaitTitle(this.#table.fork(pid, parent, time));
  }

  /** The first thread may have exited before its process was looked at: another one still has the memory. */
  thread(pid: number, threadId: number): void {
    const entry = this.#table.alive(pid);
    if (entry === undefined) return;
    entry.threaded = true;
    if (entry.image.missing === undefined) return;
    const image = this.#images.read(threadId, this.#now());
    if (image.missing !== undefined || this.#files.threadGroup(threadId) !== pid) return;
    this.#table.become(entry, image, entry.source);
  }

  /** What it was before is forgotten even when what it is now cannot be read: a wrong command line is worse than none. */
  exec(pid: number, time: number): void {
    const image = this.#images.readAtOnce(pid, time);
    const entry = this.#table.alive(pid);
    if (entry === undefined) {
      const stat = this.#files.stat(pid);
      this.#table.add(newEntry(pid, stat?.parentPid, stat?.start, 'exec', image));
    } else {
      this.#table.become(entry, image, 'exec');
      entry.threaded = false;
    }
  }

  exit(pid: number, status: number, time: number): void {
    const entry = this.#table.alive(pid);
    if (entry !== undefined) this.#table.exit(entry, status, time);
  }
}
