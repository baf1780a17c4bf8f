import path from 'node:path';
import type { TestContext } from 'node:test';
import { Store, type StoreObserver, type StoreOptions } from '../../src/store.ts';
import { temporaryFolder } from '../temporary-folder.ts';

/** A state folder that does not exist yet, in a folder that goes with the test. */
export function stateDir(t: TestContext): string {
  const folder = temporaryFolder(t, 'oom-witness-store');
  return path.join(folder, 'state');
}

/** What the store said, one string per event. */
export class SaidByStore implements StoreObserver {
  readonly said: string[] = [];

  setAside(file: string, reason: string): void {
    this.said.push(`set aside ${file}: ${reason}`);
  }
  memoryOnly(reason: string): void {
    this.said.push(`memory only: ${reason}`);
  }
  backOnDisk(): void {
    this.said.push('back on disk');
  }
  dropped(sink: string, count: number, reason: string): void {
    this.said.push(`dropped ${count} of ${sink}: ${reason}`);
  }
  notSynced(reason: string): void {
    this.said.push(`not synced: ${reason}`);
  }
}

/** Closed with the test, if it does not close it itself. */
export function openStore(
  t: TestContext,
  options: Partial<StoreOptions> & Pick<StoreOptions, 'stateDir'>,
): { store: Store; said: string[] } {
  const observer = new SaidByStore();
  const store = Store.open({ sinks: ['kafka', 'slack'], now: Date.now, observer, ...options });
  t.after(() => store.close());
  return { store, said: observer.said };
}
