import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

/** An empty folder that goes with the test. @param name for whoever finds it left over */
export function temporaryFolder(t: { after(clean: () => void): void }, name: string): string {
  const folder = mkdtempSync(path.join(tmpdir(), `${name}-`));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
