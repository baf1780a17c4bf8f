import { DatabaseSync } from 'node:sqlite';
import { createPrivately } from './private-file.ts';

/** Another agent works with the same state folder; both would deliver everything. */
export class StateLockedError extends Error {
  constructor(stateDir: string) {
    super(
      `${stateDir}: another oom-witness uses this state folder. Stop it, or give this one its own --state-dir`,
    );
    this.name = 'StateLockedError';
  }
}

const SQLITE_BUSY = 5;

/**
 * One agent per state folder. The lock is a transaction that stays open in an empty database beside the real one: the
 * kernel lets go of it when the process dies, however it dies, and the real one stays readable for other tools.
 *
 * @throws StateLockedError, or the error of the file system or of SQLite
 */
export function lockStateDir(stateDir: string): { release(): void } {
  const file = `${stateDir}/oom-witness.lock`;
  createPrivately(file);
  const database = new DatabaseSync(file);
  try {
    database.exec('PRAGMA cache_size = 1; PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
  } catch (error) {
    database.close();
    if ((error as { errcode?: number }).errcode === SQLITE_BUSY) throw new StateLockedError(stateDir);
    throw error;
  }
  return { release: () => database.close() };
}
