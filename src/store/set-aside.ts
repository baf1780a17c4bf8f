import { readdirSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';

/**
 * Moves a database that cannot be used out of the way, for people to look at. Only the newest one is kept: a disk that
 * goes bad would fill itself with them.
 *
 * @returns where it is now
 */
export function setAside(databasePath: string, now: number): string {
  const stamp = new Date(now).toISOString().replaceAll(/[:.]/g, '-');
  const aside = `${databasePath}.corrupt-${stamp}`;
  const directory = path.dirname(databasePath);
  const older = `${path.basename(databasePath)}.corrupt-`;
  for (const name of readdirSync(directory))
    if (name.startsWith(older)) rmSync(path.join(directory, name), { force: true });
  for (const suffix of ['', '-wal']) {
    try {
      renameSync(databasePath + suffix, aside + suffix);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
  rmSync(`${databasePath}-shm`, { force: true });
  return aside;
}
