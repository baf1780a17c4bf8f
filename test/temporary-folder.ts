import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { tellJanitor } from './janitor.ts';

/** An empty folder for whoever removes it himself; with this process it goes in any case. @param name for whoever finds it left over */
export function freshFolder(name: string): string {
  const folder = mkdtempSync(path.join(tmpdir(), `${name}-`));
  tellJanitor(folder);
  return folder;
}

/** One that goes with the test. */
export function temporaryFolder(t: { after(clean: () => void): void }, name: string): string {
  const folder = freshFolder(name);
  // What the test runs in it may end, and write, later: hooks run in the order in which they were registered.
  t.after(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }));
  return folder;
}
