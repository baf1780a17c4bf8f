import type { DatabaseSync } from 'node:sqlite';
import type { Incident } from '../incident.ts';
import type { Recurrence } from '../sink.ts';
import { Queues } from './queues.ts';
import { openDatabase, transaction } from './schema.ts';
import { Statements } from './statements.ts';
import { RESTART_KEY, workloadKey } from './workload-key.ts';

/** Up to which kernel record everything is stored. */
export interface Position {
  readonly bootId: string;
  readonly sequence: number;
}

/** Up to where everything of another source is stored, in the source's own words. */
export interface Bookmark {
  readonly source: string;
  readonly place: string;
}

/** What has become known of an incident. */
export interface Completion {
  readonly id: string;
  readonly change: (stored: Incident) => Incident;
}

const DAY_MS = 86_400_000;

/** The statements of one open database. It knows no policy: `Store` decides what happens when one fails. */
export class Ledger {
  readonly database: DatabaseSync;
  readonly queues: Queues;
  readonly #statements: Statements;
  #count: number;
  #written = 0;

  /** @param path a file or `:memory:`; throws what `openDatabase` throws */
  constructor(path: string, sinks: readonly string[], now: number) {
    this.database = openDatabase(path);
    try {
      this.#statements = new Statements(this.database);
      this.queues = new Queues(this.#statements, sinks, now);
      this.#count = this.#statements.number('SELECT count(*) FROM incident');
    } catch (error) {
      this.database.close();
      throw error;
    }
  }

  /** Returns those that were not known yet; each of them waits for every sink that takes it, not to be delivered before its `heldUntil`. */
  commit(
    incidents: readonly Incident[],
    position: Position | Bookmark | undefined,
    now: number,
    heldUntil: (incident: Incident) => number,
    takes: (sink: string, incident: Incident) => boolean,
  ): readonly Incident[] {
    return transaction(this.database, () => {
      const fresh = incidents.filter((incident) => this.insert(incident, now));
      for (const incident of fresh) {
        const until = heldUntil(incident);
        for (const sink of this.queues.sinks)
          if (takes(sink, incident)) this.queues.enqueue(sink, incident.id, 0, until, null);
      }
      if (position && 'source' in position) this.saveBookmark(position.source, position.place);
      else if (position) this.savePosition(position);
      return fresh;
    });
  }

  insert(incident: Incident, storedAt: number): boolean {
    const json = this.#encode(incident);
    const { changes } = this.#statements
      .sql('INSERT OR IGNORE INTO incident (id, stored_at, time, workload, json) VALUES (?, ?, ?, ?, ?)')
      .run(incident.id, storedAt, timeOf(incident, storedAt), workloadKey(incident), json);
    this.#count += Number(changes);
    return Number(changes) === 1;
  }

  /** What is stored of it is this from now on. */
  update(incident: Incident): void {
    this.#statements
      .sql('UPDATE incident SET json = ?, workload = ? WHERE id = ?')
      .run(this.#encode(incident), workloadKey(incident), incident.id);
  }

  #encode(incident: Incident): string {
    const json = JSON.stringify(incident);
    this.#written += json.length;
    return json;
  }

  /** Changes what is stored of each, and lets go of its deliveries that were held for this. Undefined: it is not stored. */
  complete(completions: readonly Completion[]): readonly (Incident | undefined)[] {
    return transaction(this.database, () =>
      completions.map(({ id, change }) => {
        const stored = this.get(id);
        if (stored === undefined) return undefined;
        const incident = change(stored);
        if (incident !== stored) this.update(incident);
        this.queues.releaseUntriedOf(id);
        return incident;
      }),
    );
  }

  position(): Position | undefined {
    const row = this.#statements.sql('SELECT boot_id, sequence FROM position').get();
    return row && { bootId: String(row.boot_id), sequence: Number(row.sequence) };
  }

  savePosition({ bootId, sequence }: Position): void {
    this.#statements
      .sql('INSERT OR REPLACE INTO position (one, boot_id, sequence) VALUES (1, ?, ?)')
      .run(bootId, sequence);
  }

  bookmark(source: string): string | undefined {
    const row = this.#statements.sql('SELECT place FROM bookmark WHERE source = ?').get(source);
    return row && String(row.place);
  }

  saveBookmark(source: string, place: string): void {
    this.#statements.sql('INSERT OR REPLACE INTO bookmark (source, place) VALUES (?, ?)').run(source, place);
  }

  recurrence(incident: Incident, now: number): Recurrence {
    const time = timeOf(incident, now);
    const row = this.#statements
      .sql(
        `SELECT count(*) AS earlier, min(time) AS first, max(time) AS last FROM incident
       WHERE workload = ? AND time > ?
         AND (time, n) < (?, coalesce((SELECT n FROM incident WHERE id = ?), 9e15))`,
      )
      .get(workloadKey(incident), time - DAY_MS, time, incident.id);
    const earlier = Number(row?.earlier ?? 0);
    if (earlier === 0) return { nth: 1 };
    return {
      nth: earlier + 1,
      firstTime: new Date(Number(row?.first)).toISOString(),
      lastTime: new Date(Number(row?.last)).toISOString(),
    };
  }

  /** The newest first, without restarts. `before`: only those that arrived before the incident with this id. */
  recent(limit: number, before?: string): readonly Incident[] {
    return this.#newest('json', limit, before);
  }

  /** The same without memory statistics, task table and the kernel's lines, most of what an incident is. */
  outlines(limit: number): readonly Incident[] {
    return this.#newest(`json_set(json_remove(json, '$.memory', '$.tasks'), '$.raw', json('[]'))`, limit);
  }

  #newest(json: string, limit: number, before?: string): readonly Incident[] {
    return this.#statements
      .sql(
        `SELECT ${json} AS json FROM incident
       WHERE n < CASE WHEN ?1 IS NULL THEN 9e15 ELSE coalesce((SELECT n FROM incident WHERE id = ?1), 0) END
         AND workload NOT LIKE '${RESTART_KEY}%'
       ORDER BY n DESC LIMIT ?2`,
      )
      .all(before ?? null, limit)
      .map((row) => JSON.parse(String(row.json)) as Incident);
  }

  get(id: string): Incident | undefined {
    const row = this.#statements.sql('SELECT json FROM incident WHERE id = ?').get(id);
    return row && (JSON.parse(String(row.json)) as Incident);
  }

  has(id: string): boolean {
    return this.#statements.number('SELECT count(*) FROM incident WHERE id = ?', id) > 0;
  }

  get count(): number {
    return this.#count;
  }

  /** Characters of incidents since it was opened, whatever has become of them. */
  get written(): number {
    return this.#written;
  }

  /** Of all that is stored; free pages do not count, they are used again. */
  bytes(): number {
    const pages =
      this.#statements.number('PRAGMA page_count') - this.#statements.number('PRAGMA freelist_count');
    return pages * this.#statements.number('PRAGMA page_size');
  }

  shrink(): void {
    this.database.exec('PRAGMA shrink_memory');
  }

  /**
   * Deletes the oldest incidents stored before `storedBefore` that no configured sink waits for, at most `limit`.
   *
   * @returns how many
   */
  deleteSettled(storedBefore: number, limit: number): number {
    const { changes } = this.#statements
      .sql(
        `DELETE FROM incident WHERE n IN (
         SELECT n FROM incident AS old WHERE stored_at < ? AND NOT EXISTS (
           SELECT 1 FROM delivery
           WHERE sink IN (SELECT number FROM sink WHERE removed_at IS NULL) AND incident = old.n)
         ORDER BY stored_at, n LIMIT ?)`,
      )
      .run(storedBefore, limit);
    this.#count -= Number(changes);
    return Number(changes);
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
