import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { Incident } from '../incident.ts';
import type { Recurrence } from '../sink.ts';
import { openDatabase, transaction } from './schema.ts';
import { workloadKey } from './workload-key.ts';

/** Up to which kernel record everything is stored. */
export interface Position {
  readonly bootId: string;
  readonly sequence: number;
}

export interface Pending {
  readonly incident: Incident;
  /** How often it was tried before. */
  readonly attempts: number;
  /** Milliseconds since the epoch until which it was put off; 0 if it never was. */
  readonly nextAt: number;
}

export type Settlement =
  /** It leaves the queue: the sink took it, or refused it for good. */
  | { readonly id: string; readonly kind: 'done' }
  /** It stays; `nextAt` 0 keeps its place in the queue. */
  | { readonly id: string; readonly kind: 'retry'; readonly nextAt: number; readonly reason: string };

export interface QueueState {
  readonly depth: number;
  /** When the oldest one was stored, milliseconds since the epoch. */
  readonly oldestAt?: number;
}

const DAY_MS = 86_400_000;

/** Nothing is put off for longer, so a later time comes from a wall clock that has been set back since. */
const LONGEST_DELAY_MS = 2 * 3_600_000;

/** So that one batch with the task tables of large machines costs a bounded amount of memory. */
const BATCH_CHARACTERS = 4 * 1024 * 1024;

/** The statements of one open database. It knows no policy: `Store` decides what happens when one fails. */
export class Ledger {
  readonly database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  readonly #sinks = new Map<string, number>();
  #count: number;

  /** @param path a file or `:memory:`; throws what `openDatabase` throws */
  constructor(path: string, sinks: readonly string[], now: number) {
    this.database = openDatabase(path);
    try {
      this.#configure(sinks, now);
      this.#count = this.#number('SELECT count(*) FROM incident');
    } catch (error) {
      this.database.close();
      throw error;
    }
  }

  /** Prepared once each: preparing takes longer than running. */
  #sql(text: string): StatementSync {
    let statement = this.#statements.get(text);
    if (statement === undefined) {
      statement = this.database.prepare(text);
      this.#statements.set(text, statement);
    }
    return statement;
  }

  #number(text: string, ...values: (string | number)[]): number {
    return Number(Object.values(this.#sql(text).get(...values) ?? {})[0] ?? 0);
  }

  #sink(name: string): number {
    const number = this.#sinks.get(name);
    if (number === undefined) throw new Error(`no sink of this name is configured: ${name}`);
    return number;
  }

  #configure(sinks: readonly string[], now: number): void {
    transaction(this.database, () => {
      this.#sql('UPDATE sink SET removed_at = coalesce(removed_at, ?)').run(now);
      for (const name of sinks) {
        this.#sql(
          'INSERT INTO sink (name) VALUES (?) ON CONFLICT (name) DO UPDATE SET removed_at = NULL',
        ).run(name);
        this.#sinks.set(name, this.#number('SELECT number FROM sink WHERE name = ?', name));
      }
    });
  }

  get sinks(): readonly string[] {
    return [...this.#sinks.keys()];
  }

  /** Returns those that were not known yet; each of them waits for every sink, not to be delivered before `heldUntil`. */
  commit(
    incidents: readonly Incident[],
    position: Position | undefined,
    now: number,
    heldUntil: number,
  ): readonly Incident[] {
    return transaction(this.database, () => {
      const fresh = incidents.filter((incident) => this.insert(incident, now));
      for (const { id } of fresh)
        for (const sink of this.#sinks.keys()) this.enqueue(sink, id, 0, heldUntil, null);
      if (position) this.savePosition(position);
      return fresh;
    });
  }

  insert(incident: Incident, storedAt: number): boolean {
    const { changes } = this.#sql(
      'INSERT OR IGNORE INTO incident (id, stored_at, time, workload, json) VALUES (?, ?, ?, ?, ?)',
    ).run(incident.id, storedAt, timeOf(incident, storedAt), workloadKey(incident), JSON.stringify(incident));
    this.#count += Number(changes);
    return Number(changes) === 1;
  }

  enqueue(sink: string, id: string, attempts: number, nextAt: number, error: string | null): void {
    this.#sql(
      `INSERT OR REPLACE INTO delivery (sink, incident, attempts, next_at, error)
       SELECT ?, n, ?, ?, ? FROM incident WHERE id = ?`,
    ).run(this.#sink(sink), attempts, nextAt, error, id);
  }

  /** Takes it out of the queue of every configured sink. */
  dequeue(id: string): void {
    for (const sink of this.#sinks.values()) this.#delete(sink, id);
  }

  #delete(sink: number, id: string): void {
    this.#sql('DELETE FROM delivery WHERE sink = ? AND incident = (SELECT n FROM incident WHERE id = ?)').run(
      sink,
      id,
    );
  }

  /** Replaces what is stored of it, and lets go of its deliveries that were held for this. */
  complete(incident: Incident): void {
    transaction(this.database, () => {
      this.#sql('UPDATE incident SET json = ?, workload = ? WHERE id = ?').run(
        JSON.stringify(incident),
        workloadKey(incident),
        incident.id,
      );
      for (const sink of this.#sinks.values())
        this.#sql(
          `UPDATE delivery SET next_at = 0
           WHERE sink = ? AND incident = (SELECT n FROM incident WHERE id = ?) AND attempts = 0`,
        ).run(sink, incident.id);
    });
  }

  position(): Position | undefined {
    const row = this.#sql('SELECT boot_id, sequence FROM position').get();
    return row && { bootId: String(row.boot_id), sequence: Number(row.sequence) };
  }

  savePosition({ bootId, sequence }: Position): void {
    this.#sql('INSERT OR REPLACE INTO position (one, boot_id, sequence) VALUES (1, ?, ?)').run(
      bootId,
      sequence,
    );
  }

  /** What is due for the sink, in order of arrival: at most `limit` and at most about 4 MiB, but at least one. */
  pending(sink: string, limit: number, now: number): readonly Pending[] {
    const due: Pending[] = [];
    let characters = 0;
    const rows = this.#sql(
      `SELECT json, attempts, next_at FROM delivery JOIN incident ON n = incident
       WHERE sink = ? AND next_at NOT BETWEEN ? AND ? ORDER BY incident LIMIT ?`,
    ).iterate(this.#sink(sink), now + 1, now + LONGEST_DELAY_MS, limit);
    for (const row of rows) {
      const json = String(row.json);
      if (due.length > 0 && characters + json.length > BATCH_CHARACTERS) break;
      characters += json.length;
      due.push({
        incident: JSON.parse(json) as Incident,
        attempts: Number(row.attempts),
        nextAt: Number(row.next_at),
      });
    }
    return due;
  }

  /** When the next delivery of the sink is due, milliseconds since the epoch; undefined when nothing is pending. */
  nextDue(sink: string): number | undefined {
    const row = this.#sql('SELECT min(next_at) AS at FROM delivery WHERE sink = ?').get(this.#sink(sink));
    return row?.at == null ? undefined : Number(row.at);
  }

  settle(sink: string, settlements: readonly Settlement[]): void {
    const number = this.#sink(sink);
    transaction(this.database, () => {
      for (const settlement of settlements) {
        if (settlement.kind === 'done') this.#delete(number, settlement.id);
        else
          this.#sql(
            `UPDATE delivery SET attempts = attempts + 1, next_at = ?, error = ?
             WHERE sink = ? AND incident = (SELECT n FROM incident WHERE id = ?)`,
          ).run(settlement.nextAt, settlement.reason, number, settlement.id);
      }
    });
  }

  release(sink: string, ids: readonly string[]): void {
    const number = this.#sink(sink);
    transaction(this.database, () => {
      for (const id of ids)
        this.#sql(
          'UPDATE delivery SET next_at = 0 WHERE sink = ? AND incident = (SELECT n FROM incident WHERE id = ?)',
        ).run(number, id);
    });
  }

  releaseUntried(sink: string): void {
    this.#sql('UPDATE delivery SET next_at = 0 WHERE sink = ? AND attempts = 0 AND next_at > 0').run(
      this.#sink(sink),
    );
  }

  queue(sink: string): QueueState {
    const number = this.#sink(sink);
    const depth = this.#number('SELECT count(*) FROM delivery WHERE sink = ?', number);
    const oldest = this.#sql(
      `SELECT stored_at FROM delivery JOIN incident ON n = incident
       WHERE sink = ? ORDER BY incident LIMIT 1`,
    ).get(number);
    return { depth, ...(oldest && { oldestAt: Number(oldest.stored_at) }) };
  }

  recurrence(incident: Incident, now: number): Recurrence {
    const time = timeOf(incident, now);
    const row = this.#sql(
      `SELECT count(*) AS earlier, min(time) AS first, max(time) AS last FROM incident
       WHERE workload = ? AND time > ?
         AND (time, n) < (?, coalesce((SELECT n FROM incident WHERE id = ?), 9e15))`,
    ).get(workloadKey(incident), time - DAY_MS, time, incident.id);
    const earlier = Number(row?.earlier ?? 0);
    if (earlier === 0) return { nth: 1 };
    return {
      nth: earlier + 1,
      firstTime: new Date(Number(row?.first)).toISOString(),
      lastTime: new Date(Number(row?.last)).toISOString(),
    };
  }

  /** The newest first. `before`: only those that arrived before the incident with this id. */
  recent(limit: number, before?: string): readonly Incident[] {
    return this.#sql(
      `SELECT json FROM incident
       WHERE n < CASE WHEN ?1 IS NULL THEN 9e15 ELSE coalesce((SELECT n FROM incident WHERE id = ?1), 0) END
       ORDER BY n DESC LIMIT ?2`,
    )
      .all(before ?? null, limit)
      .map((row) => JSON.parse(String(row.json)) as Incident);
  }

  get(id: string): Incident | undefined {
    const row = this.#sql('SELECT json FROM incident WHERE id = ?').get(id);
    return row && (JSON.parse(String(row.json)) as Incident);
  }

  get count(): number {
    return this.#count;
  }

  /** Of all that is stored; free pages do not count, they are used again. */
  bytes(): number {
    const pages = this.#number('PRAGMA page_count') - this.#number('PRAGMA freelist_count');
    return pages * this.#number('PRAGMA page_size');
  }

  /**
   * Deletes the oldest incidents stored before `storedBefore` that no configured sink waits for, at most `limit`.
   *
   * @returns how many
   */
  deleteSettled(storedBefore: number, limit: number): number {
    const { changes } = this.#sql(
      `DELETE FROM incident WHERE n IN (
         SELECT n FROM incident AS old WHERE stored_at < ? AND NOT EXISTS (
           SELECT 1 FROM delivery
           WHERE sink IN (SELECT number FROM sink WHERE removed_at IS NULL) AND incident = old.n)
         ORDER BY stored_at, n LIMIT ?)`,
    ).run(storedBefore, limit);
    this.#count -= Number(changes);
    return Number(changes);
  }

  /** @returns how many of the sink's oldest deliveries are given up */
  dropOldest(sink: string, limit: number): number {
    const number = this.#sink(sink);
    return Number(
      this.#sql(
        `DELETE FROM delivery WHERE sink = ?1 AND incident IN (
           SELECT incident FROM delivery WHERE sink = ?1 ORDER BY incident LIMIT ?2)`,
      ).run(number, limit).changes,
    );
  }

  /** Forgets the sinks that left the configuration before `removedBefore`; tells how many deliveries each still had. */
  forgetSinks(removedBefore: number): readonly { readonly name: string; readonly dropped: number }[] {
    const gone = this.#sql('SELECT number, name FROM sink WHERE removed_at < ?').all(removedBefore);
    return gone.map(({ number, name }) => {
      const { changes } = this.#sql('DELETE FROM delivery WHERE sink = ?').run(Number(number));
      this.#sql('DELETE FROM sink WHERE number = ?').run(Number(number));
      return { name: String(name), dropped: Number(changes) };
    });
  }

  close(): void {
    this.database.close();
  }
}

/** Milliseconds since the epoch. */
function timeOf(incident: Incident, otherwise: number): number {
  const time = Date.parse(incident.time);
  return Number.isNaN(time) ? otherwise : time;
}
