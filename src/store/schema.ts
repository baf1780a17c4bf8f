import { DatabaseSync } from 'node:sqlite';
import { createPrivately } from './private-file.ts';

/**
 * `MIGRATIONS[n]` leads from version n (`PRAGMA user_version`) to n + 1. Appended to, never edited. Whoever goes back to an older
 * version keeps what that one can still read (`salvage`): columns are added rather than renamed.
 *
 * `incident.n` is the order of arrival. `delivery` holds only what is still to be delivered: a settled row is deleted, so
 * that a queue costs what it holds. `next_at` is 0 for a delivery that was never put off.
 */
const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE incident (
    n INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    stored_at INTEGER NOT NULL,
    time INTEGER NOT NULL,
    workload TEXT NOT NULL,
    json TEXT NOT NULL
  ) STRICT;
  CREATE INDEX incident_stored_at ON incident (stored_at);
  CREATE INDEX incident_workload ON incident (workload, time);
  CREATE TABLE sink (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    removed_at INTEGER
  ) STRICT;
  CREATE TABLE delivery (
    sink INTEGER NOT NULL,
    incident INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_at INTEGER NOT NULL DEFAULT 0,
    error TEXT,
    PRIMARY KEY (sink, incident)
  ) STRICT, WITHOUT ROWID;
  CREATE TRIGGER incident_deleted AFTER DELETE ON incident BEGIN
    DELETE FROM delivery WHERE sink IN (SELECT number FROM sink) AND incident = OLD.n;
  END;
  CREATE TABLE position (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    boot_id TEXT NOT NULL,
    sequence INTEGER NOT NULL
  ) STRICT;
  `,
  `
  CREATE TABLE bookmark (
    source TEXT PRIMARY KEY,
    place TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;
  `,
];

/** Another process may look into the file with a tool of its own; the agent waits for it this long, on its main thread. */
const BUSY_MS = 250;

/**
 * Durability: in WAL mode with `synchronous = NORMAL` a commit is in the page cache when it returns. That survives
 * `kill -9` of the agent (the page cache is the kernel's) and leaves a consistent file after a power cut, which may take the
 * newest commits. FULL would sync on every commit, on the main thread: a machine out of memory has a thrashing disk, where that
 * takes seconds. So the log is synced in the background instead (`wal-sync.ts`).
 *
 * The page cache is 512 KiB: the hot pages are few, and memory is what this agent is judged by.
 *
 * @param path a file, created with mode 0600, or `:memory:`
 * @throws Error with an `errcode` of SQLite, or with a `code` of the file system
 */
export function openDatabase(path: string): DatabaseSync {
  if (path !== ':memory:') createPrivately(path);
  const database = new DatabaseSync(path, { timeout: BUSY_MS });
  try {
    database.exec(`
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = NORMAL;
      PRAGMA cache_size = -512;
      PRAGMA temp_store = MEMORY;
      PRAGMA journal_size_limit = 4194304;
      PRAGMA trusted_schema = OFF;
    `);
    migrate(database);
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

export class NewerSchemaError extends Error {
  constructor(version: number) {
    super(
      `written by a newer version of oom-witness (its schema is ${version}, this one's ${MIGRATIONS.length})`,
    );
    this.name = 'NewerSchemaError';
  }
}

function migrate(database: DatabaseSync): void {
  const version = Number(database.prepare('PRAGMA user_version').get()?.user_version);
  if (version > MIGRATIONS.length) throw new NewerSchemaError(version);
  if (version === MIGRATIONS.length) return;
  transaction(database, () => {
    for (const migration of MIGRATIONS.slice(version)) database.exec(migration);
    database.exec(`PRAGMA user_version = ${MIGRATIONS.length}`);
  });
}

/** All of `work` or nothing. */
export function transaction<T>(database: DatabaseSync, work: () => T): T {
  database.exec('BEGIN IMMEDIATE');
  try {
    const result = work();
    database.exec('COMMIT');
    return result;
  } catch (error) {
    // A full disk has already rolled it back.
    if (database.isTransaction) database.exec('ROLLBACK');
    throw error;
  }
}
