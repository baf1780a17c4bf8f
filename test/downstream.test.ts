import assert from 'node:assert/strict';
import { closeSync, existsSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { loadConfig } from '../src/config.ts';
import { Downstream, type ProgramIo } from '../src/downstream.ts';
import type { SinkModule } from '../src/sink.ts';
import { containerKill, HOST } from './incidents.ts';
import { until } from './sinks/contract.ts';
import { stateDir } from './store/temporary.ts';

const REFUSING: SinkModule = {
  options: [],
  settings: () => ({}),
  open: async () => ({
    deliver: async (batch) => batch.map(() => ({ kind: 'rejected', reason: 'never' })),
    close: async () => {},
  }),
};

test('what a sink refuses is written down also where the state folder was no use at the start', async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() });
  const folder = stateDir(t);
  writeFileSync(folder, 'in its place');
  const fd = openSync('/dev/null', 'w');
  t.after(() => closeSync(fd));
  const stop = new AbortController();
  const io = { stdout: process.stdout, stderr: { fd }, signal: stop.signal, onReopen: () => () => {} };
  const config = await loadConfig([{ name: 'refusing', module: REFUSING }], {
    flags: [{ name: 'state-dir', value: folder }],
    environment: {},
  });
  const downstream = new Downstream(config, io as unknown as ProgramIo, { host: HOST, witness: 'kernel' });
  t.after(() => downstream.end());
  assert.equal(downstream.store.persistent, false);

  rmSync(folder);
  t.mock.timers.tick(60_000);
  downstream.commit([containerKill()]);
  assert.equal(downstream.store.persistent, true);
  downstream.start();
  const letters = path.join(folder, 'dead-letter.jsonl');
  await until(() => existsSync(letters) && readFileSync(letters, 'utf8').endsWith('\n'), 'the letter');
  assert.equal(JSON.parse(readFileSync(letters, 'utf8')).incident.id, containerKill().id);
});
