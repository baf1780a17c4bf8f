import { DatabaseSync, type StatementSync } from 'node:sqlite';
import type { Incident } from '../incident.ts';
import type { Ledger } from './ledger.ts';
import { transaction } from './schema.ts';
import { sqliteCode } from './trouble.ts';
import { workloadKey } from './workload-key.ts';

type Row = Record<string, unknown>;

/**
 * Brings the incidents of `from` into `to` with their deliveries, in place of what `to` has of them, and the position and the
 * bookmarks: `from` is what was worked with last. A `from` that is damaged gives what can still be read of it, so every row is read on its own.
 *
 * @param which all of them, or of those that are still to be delivered the newest so many
 */
export function transfer(
  from: Pick<Ledger, 'database'>,
  to: Ledger,
  which: 'all' | { readonly newestPending: number },
): void {
  const numbers = readable(
    from.database.prepare(
      which === 'all'
        ? 'SELECT n FROM incident ORDER BY n'
        : `SELECT DISTINCT incident AS n FROM delivery ORDER BY n DESC LIMIT ${which.newestPending}`,
    ),
  ).map((row) => Number(row.n));
  const incidentOf = from.database.prepare('SELECT json, stored_at FROM incident WHERE n = ?');
  const deliveriesOf = from.database.prepare(
    `SELECT name, attempts, next_at, error FROM delivery JOIN sink ON number = sink
     WHERE sink IN (SELECT number FROM sink) AND incident = ?`,
  );
  const configured = new Set(to.queues.sinks);

  transaction(to.database, () => {
    for (const n of numbers.sort((a, b) => a - b)) {
      const [row] = readable(incidentOf, n);
      const incident = row && parsed(String(row.json));
      if (incident === undefined) continue;
      if (!to.insert(incident, Number(row?.stored_at))) {
        to.update(incident);
        to.queues.dequeue(incident.id);
      }
      for (const { name, attempts, next_at: nextAt, error } of readable(deliveriesOf, n))
        if (configured.has(String(name)))
          to.queues.enqueue(
            String(name),
            incident.id,
            Number(attempts),
            Number(nextAt),
            error as string | null,
          );
    }
    for (const row of readable(from.database.prepare('SELECT boot_id, sequence FROM position')))
      to.savePosition({ bootId: String(row.boot_id), sequence: Number(row.sequence) });
    for (const row of readable(from.database.prepare('SELECT source, place FROM bookmark')))
      to.saveBookmark(String(row.source), String(row.place));
  });
}

/** As `transfer`, of all that can be read in a database that was set aside: of one that a newer version wrote, as a rule everything. */
export function salvage(file: string, to: Ledger): void {
  try {
    const database = new DatabaseSync(file, { readOnly: true });
    try {
      transfer({ database }, to, 'all');
    } finally {
      database.close();
    }
  } catch (error) {
    // Not even a query can be prepared: nothing of it can be read.
    if (sqliteCode(error) === undefined) throw error;
  }
}

function readable(statement: StatementSync, ...values: number[]): Row[] {
  const rows: Row[] = [];
  try {
    for (const row of statement.iterate(...values)) rows.push(row);
  } catch (error) {
    if ((error as { code?: string }).code !== 'ERR_SQLITE_ERROR') throw error;
  }
  return rows;
}

/** Undefined also for what is no incident as this version has them: it would take all others with it. */
function parsed(json: string): Incident | undefined {
  try {
    const incident = JSON.parse(json) as Incident;
    workloadKey(incident);
    return typeof incident.id === 'string' ? incident : undefined;
  } catch {
    return undefined;
  }
}
