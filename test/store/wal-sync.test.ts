import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { WalSync } from '../../src/store/wal-sync.ts';
import { stateDir } from './temporary.ts';

function setup(t: TestContext, failed: (reason: string) => void) {
  const folder = stateDir(t);
  mkdirSync(folder);
  const sync = new WalSync(path.join(folder, 'some.db'), failed);
  t.after(() => sync.close());
  return { sync, log: path.join(folder, 'some.db-wal') };
}

test('a log that cannot be opened is told, and tried again at the next request', (t) => {
  const failures: string[] = [];
  const { sync, log } = setup(t, (reason) => failures.push(reason));
  sync.request();
  assert.match(failures.join(), /^ENOENT/);
  writeFileSync(log, 'x');
  sync.request();
  assert.equal(failures.length, 1);
});

test('a sync that fails is told', async (t) => {
  const told = Promise.withResolvers<string>();
  const { sync, log } = setup(t, told.resolve);
  // A device that has nothing to sync.
  symlinkSync('/dev/null', log);
  sync.request();
  assert.match(await told.promise, /^EINVAL/);
});
