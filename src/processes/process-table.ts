/**
 * Who every process is, known before the kernel names it: pid -> command line, executable, cgroup, parent, start.
 *
 * Here they live and die. Whoever reads /proc does it elsewhere and tells the table: process events (process-events.ts),
 * scans and re-reading (proc-scan.ts), an earlier run (journal-replay.ts). Who a pid was: process-lookup.ts.
 *
 * Memory is bounded: MAX_ENTRIES entries; MAX_BYTES of command lines (images.ts), over which new ones are cut
 * short and say so; the dead for a while (the-dead.ts).
 *
 * All times are CLOCK_MONOTONIC in ms.
 */

import type { CaptureSource } from '../incident.ts';
import type { ProcFiles } from '../kernel/proc-files.ts';
import type { Image, Images } from './images.ts';
import { type Entry, newEntry, SAME_START_MS } from './process-entry.ts';
import { TheDead } from './the-dead.ts';

const MAX_ENTRIES = 100_000;
const OVERHEAD_BYTES = 200;

const SIGKILL = 9;

/** Told of every change in the order in which it happened, so that the table outlives the agent. */
export interface ProcessJournal {
  /** What it is now; it may become something else later. */
  image(entry: Entry): void;
  fork(pid: number, parentPid: number, time: number): void;
  exit(pid: number, status: number, time: number): void;
}

export class ProcessTable {
  readonly #files: ProcFiles;
  readonly #images: Images;
  /** CLOCK_MONOTONIC, ms */
  readonly #now: () => number;
  readonly #entries = new Map<number, Entry>();
  readonly #dead: TheDead;
  #journal: ProcessJournal | undefined;

  constructor(files: ProcFiles, images: Images, now: () => number) {
    this.#files = files;
    this.#images = images;
    this.#now = now;
    this.#dead = new TheDead(
      (entry) => this.#livesOn(entry),
      (entry) => this.#drop(entry),
    );
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Of the command lines and what holds them; an estimate, 200 bytes for each entry. */
  get bytes(): number {
    return this.#images.bytes + this.#entries.size * OVERHEAD_BYTES;
  }

  /** The last who had each pid, living or dead; the oldest first. */
  entries(): MapIterator<Entry> {
    return this.#entries.values();
  }

  /** The last who had this pid. */
  latest(pid: number): Entry | undefined {
    return this.#entries.get(pid);
  }

  alive(pid: number): Entry | undefined {
    const entry = this.#entries.get(pid);
    return entry?.exitedAt === undefined ? entry : undefined;
  }

  /** Whoever had this pid at that time. */
  find(pid: number, time: number): Entry | undefined {
    let entry = this.#entries.get(pid);
    while (entry?.start !== undefined && entry.start > time && entry.previous !== undefined)
      entry = entry.previous;
    return entry?.start !== undefined && entry.start > time + SAME_START_MS ? undefined : entry;
  }

  add(entry: Entry): void {
    this.#insert(entry);
    if (!entry.dropped) this.#journal?.image(entry);
  }

  /** A child is what its parent is until it says otherwise. */
  fork(pid: number, parent: Entry, time: number): Entry {
    const child = newEntry(pid, parent.pid, time, 'inherited', parent.image);
    this.#insert(child);
    this.#journal?.fork(pid, parent.pid, time);
    return child;
  }

  become(entry: Entry, image: Image, source: CaptureSource): void {
    this.#images.release(entry.image);
    entry.image = this.#images.retain(image);
    entry.source = source;
    this.#journal?.image(entry);
  }

  /** @param status a wait status */
  exit(entry: Entry, status: number, time: number): void {
    this.#journal?.exit(entry.pid, status, time);
    this.#dead.bury(entry, (status & 0x7f) === SIGKILL, time);
  }

  /** It died unseen, perhaps by the OOM killer: kept as long as the killed are. */
  vanish(entry: Entry): void {
    this.exit(entry, SIGKILL, this.#now());
  }

  /** Those of the dead whom nobody will ask for any more. */
  forget(): void {
    this.#dead.forget(this.#now());
  }

  /**
   * Tells a fresh journal of everybody who may still be asked for, first those that were killed, then the living; and from
   * now on of every change.
   */
  tell(journal: ProcessJournal): void {
    this.#journal = journal;
    for (const entry of this.#dead.killed) {
      if (entry.dropped) continue;
      journal.image(entry);
      journal.exit(entry.pid, SIGKILL, entry.exitedAt as number);
    }
    for (const entry of this.#entries.values()) if (entry.exitedAt === undefined) journal.image(entry);
  }

  #insert(entry: Entry): void {
    const { pid } = entry;
    const before = this.#entries.get(pid);
    if (before !== undefined && before.exitedAt === undefined) this.vanish(before);
    entry.previous = before;
    this.#images.retain(entry.image);
    // Deleted first, so that the map stays in order of age.
    this.#entries.delete(pid);
    this.#entries.set(pid, entry);
    if (this.#entries.size > MAX_ENTRIES) {
      // Not the oldest, which are the machine's own services, but the dead, or else the newest of a fork bomb.
      this.#drop(this.#dead.takeOldest() ?? entry);
    }
  }

  /** A thread-group leader may exit while its other threads live: the kernel can still name the process. */
  #livesOn(entry: Entry): boolean {
    if (this.#entries.get(entry.pid) !== entry) return false;
    const start = this.#files.stat(entry.pid)?.start;
    return start !== undefined && entry.start !== undefined && Math.abs(start - entry.start) < SAME_START_MS;
  }

  #drop(entry: Entry): void {
    if (entry.dropped) return;
    entry.dropped = true;
    const newest = this.#entries.get(entry.pid);
    if (newest === entry) this.#entries.delete(entry.pid);
    for (let later = newest; later !== undefined; later = later.previous)
      if (later.previous === entry) later.previous = undefined;
    // Whoever had the pid still earlier was buried earlier: nobody can reach it any more.
    entry.previous = undefined;
    this.#images.release(entry.image);
  }
}
