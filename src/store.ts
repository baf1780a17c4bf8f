import { accessSync, constants } from 'node:fs';
import path from 'node:path';
import type { Incident } from './incident.ts';
import type { Delivery, Recurrence } from './sink.ts';
import { type Bookmark, type Completion, Ledger, type Position } from './store/ledger.ts';
import { lockStateDir, StateLockedError } from './store/lock.ts';
import { makeFolderPrivately } from './store/private-file.ts';
import type { QueueState, Settlement } from './store/queues.ts';
import { DISK_LIMITS, MEMORY_LIMITS, Retention, type RetentionLimits } from './store/retention.ts';
import { setAside } from './store/set-aside.ts';
import { salvage, transfer } from './store/transfer.ts';
import { isDamage, isDiskTrouble, sqliteCode } from './store/trouble.ts';
import { WalSync } from './store/wal-sync.ts';

export type { Bookmark, Completion, Position } from './store/ledger.ts';
export { StateLockedError } from './store/lock.ts';
export type { QueueState, Settlement } from './store/queues.ts';

const DATABASE_FILE = 'oom-witness.db';

/** What happens to the store and is worth a log line and a metric. */
export interface StoreObserver {
  /** The database could not be used and is now at `file`; a new one took its place with what could be read of the old queues. */
  setAside(file: string, reason: string): void;
  /** From now on the history and the queues are in memory only: they are bounded more tightly and end with the process. */
  memoryOnly(reason: string): void;
  /** The disk works again and has everything. */
  backOnDisk(): void;
  /** Deliveries that were given up. */
  dropped(sink: string, count: number, reason: string): void;
  /** A power cut now could take the newest incidents. */
  notSynced(reason: string): void;
}

export interface StoreOptions {
  /** Undefined: in memory, by intention. */
  readonly stateDir: string | undefined;
  /** The names of the configured sinks. Each one has a queue that begins when it is first configured. */
  readonly sinks: readonly string[];
  /** Whether the sink is to get the incident; default: every sink gets every one. */
  readonly takes?: (sink: string, incident: Incident) => boolean;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly observer: StoreObserver;
  readonly limits?: Partial<RetentionLimits>;
}

export interface PendingDelivery {
  readonly delivery: Delivery;
  readonly attempts: number;
  /** Milliseconds since the epoch until which it was put off; 0 if it never was. */
  readonly nextAt: number;
}

/** After the disk failed it is tried again at the first change that comes this much later. */
const DISK_RETRY_MS = 60_000;

/**
 * Incidents, what is still to be delivered to whom, and the watcher's position.
 *
 * What `commit` has returned for survives `kill -9`; a power cut takes at most the last few milliseconds (see `schema.ts`).
 * No method fails because of the disk: a damaged database is set aside, and while the disk is full, read-only or broken
 * everything goes on in memory and is brought back to the disk later. Synchronous, for the main thread: a call takes
 * well under a millisecond, a batch of 1,000 some ten.
 */
export class Store {
  readonly #options: StoreOptions;
  readonly #path: string | undefined;
  #ledger: Ledger;
  #retention: Retention;
  #lock: { release(): void } | undefined;
  #sync: WalSync | undefined;
  #diskTriedAt = 0;
  #closed = false;

  /** @throws StateLockedError when another agent uses the folder; nothing else */
  static open(options: StoreOptions): Store {
    return new Store(options);
  }

  private constructor(options: StoreOptions) {
    this.#options = options;
    this.#path = options.stateDir && path.join(options.stateDir, DATABASE_FILE);
    this.#retention = this.#retentionWithin(MEMORY_LIMITS);
    const disk = this.#path && this.#openAtStart(this.#path);
    this.#ledger = disk || this.#openInMemory();
    if (!disk) return;
    this.#stayOnDisk(this.#path);
    this.#change((ledger) => this.#retention.enforce(ledger, options.now()));
  }

  /** False while the disk cannot be used. */
  get persistent(): boolean {
    return this.#sync !== undefined;
  }

  /**
   * Stores, in one transaction, the incidents, a delivery of each for every sink that takes it, and the position up to which the source is
   * done with. Only then may the watcher forget them.
   *
   * @param heldUntil milliseconds since the epoch until which its deliveries wait for `complete`; after a crash they go out
   * then. 0: they do not wait
   * @returns those that were not known yet
   */
  commit(
    incidents: readonly Incident[],
    position?: Position | Bookmark,
    heldUntil: (incident: Incident) => number = () => 0,
  ): readonly Incident[] {
    const now = this.#options.now();
    const fresh = this.#change((ledger) => {
      const stored = ledger.commit(incidents, position, now, heldUntil, this.#options.takes ?? (() => true));
      if (stored.length > 0) this.#retention.enforce(ledger, now);
      return stored;
    });
    if (fresh.length > 0) this.#sync?.request();
    return fresh;
  }

  /**
   * Changes, in one transaction, what is stored of incidents, now that more is known of them, and lets their deliveries go.
   *
   * @returns what is stored of each now; undefined where it was not, or is no longer
   */
  complete(completions: readonly Completion[]): readonly (Incident | undefined)[] {
    return this.#change((ledger) => ledger.complete(completions));
  }

  /** Up to where a source other than the kernel's log is dealt with, in the source's own words. */
  bookmark(source: string): string | undefined {
    return this.#run((ledger) => ledger.bookmark(source));
  }

  saveBookmark(source: string, place: string): void {
    this.#change((ledger) => ledger.saveBookmark(source, place));
  }

  position(): Position | undefined {
    return this.#run((ledger) => ledger.position());
  }

  /** What is due for the sink, in order of arrival: at most `limit`, fewer where they are large. */
  pending(sink: string, limit: number): readonly PendingDelivery[] {
    return this.#run((ledger) => ledger.queues.pending(sink, limit, this.#options.now())).map(
      ({ incident, attempts, nextAt }) => ({ delivery: this.#delivery(incident), attempts, nextAt }),
    );
  }

  /** The recurrence is looked up by those who read it: machines don't, and in a storm it is the dearest part. */
  #delivery(incident: Incident): Delivery {
    const recurrence = () => this.recurrence(incident);
    let known: Recurrence | undefined;
    return {
      incident,
      get recurrence() {
        known ??= recurrence();
        return known;
      },
    };
  }

  /** When the sink's next delivery is due, milliseconds since the epoch (0: now); undefined when nothing is pending. */
  nextDue(sink: string): number | undefined {
    return this.#run((ledger) => ledger.queues.nextDue(sink));
  }

  settle(sink: string, settlements: readonly Settlement[]): void {
    this.#change((ledger) => ledger.queues.settle(sink, settlements));
  }

  /** Whether it is stored and no sink waits for it. */
  isDelivered(id: string): boolean {
    return this.#run((ledger) => ledger.has(id) && !ledger.queues.isPending(id));
  }

  /** Makes deliveries that were put off due at another time; 0 gives them their places back. */
  release(sink: string, ids: readonly string[], nextAt: number): void {
    this.#change((ledger) => ledger.queues.release(sink, ids, nextAt));
  }

  /** Makes all deliveries due that are held for `complete`. */
  releaseHeld(sink: string): void {
    this.#change((ledger) => ledger.queues.releaseUntried(sink));
  }

  queue(sink: string): QueueState {
    return this.#run((ledger) => ledger.queues.state(sink));
  }

  /** Earlier kills of the same workload in the 24 hours before this one. The same answer whenever it is asked. */
  recurrence(incident: Incident): Recurrence {
    return this.#run((ledger) => ledger.recurrence(incident, this.#options.now()));
  }

  /** The newest first. `before`: the id of an incident; only those that arrived before it (none if it is unknown). */
  recent(limit: number, before?: string): readonly Incident[] {
    return this.#run((ledger) => ledger.recent(limit, before));
  }

  /** The newest first, without memory statistics, task table and the kernel's lines (`raw` is empty): 2 KiB instead of 70. */
  outlines(limit: number): readonly Incident[] {
    return this.#run((ledger) => ledger.outlines(limit));
  }

  get(id: string): Incident | undefined {
    return this.#run((ledger) => ledger.get(id));
  }

  get count(): number {
    return this.#ledger.count;
  }

  /** Lets go of the pages of the database that are in memory: they are read again when they are needed. */
  shrink(): void {
    this.#run((ledger) => ledger.shrink());
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#sync?.close();
    this.#sync = undefined;
    closeQuietly(this.#ledger);
    this.#releaseLock();
  }

  #change<T>(operation: (ledger: Ledger) => T): T {
    this.#returnToDisk();
    return this.#run(operation);
  }

  #run<T>(operation: (ledger: Ledger) => T): T {
    try {
      return operation(this.#ledger);
    } catch (error) {
      if (!this.persistent || !isDiskTrouble(error)) throw error;
      this.#leaveDisk(error);
      return operation(this.#ledger);
    }
  }

  #leaveDisk(cause: unknown): void {
    const { now, observer } = this.#options;
    const memory = this.#openInMemory();
    try {
      transfer(this.#ledger, memory, { newestPending: MEMORY_LIMITS.incidents });
    } catch (error) {
      // Not even a query can be prepared: nothing of it can be read.
      if (sqliteCode(error) === undefined) throw error;
    }
    this.#sync?.close();
    this.#sync = undefined;
    closeQuietly(this.#ledger);
    this.#ledger = memory;
    this.#retention = this.#retentionWithin(MEMORY_LIMITS);
    this.#diskTriedAt = now();
    if (this.#path === undefined) return;
    try {
      if (!isDamage(cause)) throw cause;
      observer.setAside(setAside(this.#path, now()), reasonOf(cause));
      this.#moveToDisk(this.#path);
    } catch (error) {
      observer.memoryOnly(reasonOf(error));
    }
  }

  #returnToDisk(): void {
    const { now, observer } = this.#options;
    const waitedMs = now() - this.#diskTriedAt;
    // Less than nothing: the clock was set back, perhaps by days.
    const isTooEarly = waitedMs >= 0 && waitedMs < DISK_RETRY_MS;
    if (this.#path === undefined || this.persistent || isTooEarly) return;
    this.#diskTriedAt = now();
    try {
      this.#moveToDisk(this.#path);
      observer.backOnDisk();
    } catch {
      // Said when it began; it is tried again.
    }
  }

  #openAtStart(file: string): Ledger | undefined {
    try {
      return this.#openOnDisk(file);
    } catch (error) {
      this.#releaseLock();
      if (error instanceof StateLockedError) throw error;
      this.#options.observer.memoryOnly(reasonOf(error));
      return undefined;
    }
  }

  #openInMemory(): Ledger {
    return new Ledger(':memory:', this.#options.sinks, this.#options.now());
  }

  #openOnDisk(file: string): Ledger {
    this.#diskTriedAt = this.#options.now();
    const directory = path.dirname(file);
    makeFolderPrivately(directory);
    accessSync(directory, constants.W_OK | constants.X_OK);
    this.#lock ??= lockStateDir(directory);
    return this.#openOrReplace(file);
  }

  /** From memory to the disk, with everything. */
  #moveToDisk(file: string): void {
    const disk = this.#openOnDisk(file);
    try {
      transfer(this.#ledger, disk, 'all');
    } catch (error) {
      closeQuietly(disk);
      throw error;
    }
    closeQuietly(this.#ledger);
    this.#ledger = disk;
    this.#stayOnDisk(file);
  }

  #stayOnDisk(file: string): void {
    this.#retention = this.#retentionWithin(DISK_LIMITS);
    this.#sync = new WalSync(file, (reason) => this.#options.observer.notSynced(reason));
  }

  #openOrReplace(file: string): Ledger {
    const { sinks, now, observer } = this.#options;
    try {
      return new Ledger(file, sinks, now());
    } catch (error) {
      if (!isDamage(error)) throw error;
      const aside = setAside(file, now());
      observer.setAside(aside, reasonOf(error));
      const fresh = new Ledger(file, sinks, now());
      salvage(aside, fresh);
      return fresh;
    }
  }

  #retentionWithin(limits: RetentionLimits): Retention {
    const { observer } = this.#options;
    return new Retention({ ...limits, ...this.#options.limits }, (sink, count, reason) =>
      observer.dropped(sink, count, reason),
    );
  }

  #releaseLock(): void {
    this.#lock?.release();
    this.#lock = undefined;
  }
}

/** Closing a database on a broken disk may fail in its last checkpoint; what it holds is let go of all the same. */
function closeQuietly(ledger: Ledger): void {
  try {
    ledger.close();
  } catch (error) {
    if (sqliteCode(error) === undefined) throw error;
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
