import type { Incident } from '../incident.ts';
import { transaction } from './schema.ts';
import type { Statements } from './statements.ts';

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

/** Nothing is put off for longer, so a later time comes from a wall clock that has been set back since. */
const LONGEST_DELAY_MS = 2 * 3_600_000;

/** So that one batch with the task tables of large machines costs a bounded amount of memory. */
const BATCH_CHARACTERS = 4 * 1024 * 1024;

/** What is still to be delivered, by sink. */
export class Queues {
  readonly #statements: Statements;
  readonly #sinks = new Map<string, number>();

  constructor(statements: Statements, sinks: readonly string[], now: number) {
    this.#statements = statements;
    this.#configure(sinks, now);
  }

  #configure(sinks: readonly string[], now: number): void {
    transaction(this.#statements.database, () => {
      this.#statements.sql('UPDATE sink SET removed_at = coalesce(removed_at, ?)').run(now);
      for (const name of sinks) {
        this.#statements
          .sql('INSERT INTO sink (name) VALUES (?) ON CONFLICT (name) DO UPDATE SET removed_at = NULL')
          .run(name);
        this.#sinks.set(name, this.#statements.number('SELECT number FROM sink WHERE name = ?', name));
      }
    });
  }

  #sink(name: string): number {
    const number = this.#sinks.get(name);
    if (number === undefined) throw new Error(`no sink of this name is configured: ${name}`);
    return number;
  }

  get sinks(): readonly string[] {
    return [...this.#sinks.keys()];
  }

  enqueue(sink: string, id: string, attempts: number, nextAt: number, error: string | null): void {
    this.#statements
      .sql(
        `INSERT OR REPLACE INTO delivery (sink, incident, attempts, next_at, error)
       SELECT ?, n, ?, ?, ? FROM incident WHERE id = ?`,
      )
      .run(this.#sink(sink), attempts, nextAt, error, id);
  }

  /** Takes it out of the queue of every configured sink. */
  dequeue(id: string): void {
    for (const sink of this.#sinks.values()) this.#delete(sink, id);
  }

  #delete(sink: number, id: string): void {
    this.#statements
      .sql('DELETE FROM delivery WHERE sink = ? AND incident = (SELECT n FROM incident WHERE id = ?)')
      .run(sink, id);
  }

  /** What is due for the sink, in order of arrival: at most `limit` and at most about 4 MiB, but at least one. */
  pending(sink: string, limit: number, now: number): readonly Pending[] {
    const due: Pending[] = [];
    let characters = 0;
    const rows = this.#statements
      .sql(
        `SELECT json, attempts, next_at FROM delivery JOIN incident ON n = incident
       WHERE sink = ? AND next_at NOT BETWEEN ? AND ? ORDER BY incident LIMIT ?`,
      )
      .iterate(this.#sink(sink), now + 1, now + LONGEST_DELAY_MS, limit);
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
    const row = this.#statements
      .sql('SELECT min(next_at) AS at FROM delivery WHERE sink = ?')
      .get(this.#sink(sink));
    return row?.at == null ? undefined : Number(row.at);
  }

  /** Whether any configured sink waits for it. */
  isPending(id: string): boolean {
    return [...this.#sinks.values()].some(
      (sink) =>
        this.#statements.number(
          'SELECT count(*) FROM delivery WHERE sink = ? AND incident = (SELECT n FROM incident WHERE id = ?)',
          sink,
          id,
        ) > 0,
    );
  }

  settle(sink: string, settlements: readonly Settlement[]): void {
    const number = this.#sink(sink);
    transaction(this.#statements.database, () => {
      for (const settlement of settlements) {
        if (settlement.kind === 'done') this.#delete(number, settlement.id);
        else
          this.#statements
            .sql(
              `UPDATE delivery SET attempts = attempts + 1, next_at = ?, error = ?
             WHERE sink = ? AND incident = (SELECT n FROM incident WHERE id = ?)`,
            )
            .run(settlement.nextAt, settlement.reason, number, settlement.id);
      }
    });
  }

  release(sink: string, ids: readonly string[], nextAt: number): void {
    const number = this.#sink(sink);
    transaction(this.#statements.database, () => {
      for (const id of ids)
        this.#statements
          .sql(
            'UPDATE delivery SET next_at = ? WHERE sink = ? AND incident = (SELECT n FROM incident WHERE id = ?)',
          )
          .run(nextAt, number, id);
    });
  }

  releaseUntried(sink: string): void {
    this.#statements
      .sql('UPDATE delivery SET next_at = 0 WHERE sink = ? AND attempts = 0 AND next_at > 0')
      .run(this.#sink(sink));
  }

  state(sink: string): QueueState {
    const number = this.#sink(sink);
    const depth = this.#statements.number('SELECT count(*) FROM delivery WHERE sink = ?', number);
    const oldest = this.#statements
      .sql(
        `SELECT stored_at FROM delivery JOIN incident ON n = incident
       WHERE sink = ? ORDER BY incident LIMIT 1`,
      )
      .get(number);
    return { depth, ...(oldest && { oldestAt: Number(oldest.stored_at) }) };
  }

  /** @returns how many of the sink's oldest deliveries are given up */
  dropOldest(sink: string, limit: number): number {
    const number = this.#sink(sink);
    return Number(
      this.#statements
        .sql(
          `DELETE FROM delivery WHERE sink = ?1 AND incident IN (
           SELECT incident FROM delivery WHERE sink = ?1 ORDER BY incident LIMIT ?2)`,
        )
        .run(number, limit).changes,
    );
  }

  /** Forgets the sinks that left the configuration before `removedBefore`; tells how many deliveries each still had. */
  forgetSinks(removedBefore: number): readonly { readonly name: string; readonly dropped: number }[] {
    const gone = this.#statements
      .sql('SELECT number, name FROM sink WHERE removed_at < ?')
      .all(removedBefore);
    return gone.map(({ number, name }) => {
      const { changes } = this.#statements.sql('DELETE FROM delivery WHERE sink = ?').run(Number(number));
      this.#statements.sql('DELETE FROM sink WHERE number = ?').run(Number(number));
      return { name: String(name), dropped: Number(changes) };
    });
  }

  /** Lets go of the incident's deliveries that no sink has seen yet. */
  releaseUntriedOf(id: string): void {
    for (const sink of this.#sinks.values())
      this.#statements
        .sql(
          `UPDATE delivery SET next_at = 0
           WHERE sink = ? AND incident = (SELECT n FROM incident WHERE id = ?) AND attempts = 0`,
        )
        .run(sink, id);
  }
}
