import { chmodSync, closeSync, existsSync, mkdirSync, openSync } from 'node:fs';
import path from 'node:path';

/**
 * A file that only its owner can read: command lines are in it. SQLite gives its `-wal` and `-shm` files the mode of the
 * database.
 *
 * An existing file is not opened: closing it would let go of the POSIX locks that this process holds on it.
 */
export function createPrivately(file: string): void {
  try {
    closeSync(openSync(file, 'ax', 0o600));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    chmodSync(file, 0o600);
  }
}

/**
 * A folder that only its owner can enter, and those above it that are missing. (`mkdir` with `recursive` never returns where
 * the file system answers ENOENT although the parent is there, as in /proc.)
 */
export function makeFolderPrivately(folder: string): void {
  const missing: string[] = [];
  for (let next = path.resolve(folder); !existsSync(next); next = path.dirname(next)) missing.unshift(next);
  for (const next of missing) mkdirSync(next, { mode: 0o700 });
}
