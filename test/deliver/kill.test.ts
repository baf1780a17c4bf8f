import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { storm } from '../incidents.ts';
import { openStore, stateDir } from '../store/temporary.ts';

const DELIVERER = fileURLToPath(new URL('deliverer.ts', import.meta.url));
const BATCH = 5;

test('kill -9 in the middle of deliveries: nothing lost, and at most one batch twice per kill', async (t) => {
  const folder = stateDir(t);
  const { store } = openStore(t, { stateDir: folder, sinks: ['file'] });
  const all = storm(400, 1).map(({ incident }) => incident.id);
  store.commit(
    storm(400, 1).map(({ incident }) => incident),
    undefined,
  );
  store.close();

  const delivered: string[] = [];
  let kills = 0;
  for (let over = false; !over; ) {
    const child = spawn(process.execPath, [DELIVERER, folder], { stdio: ['ignore', 'pipe', 'inherit'] });
    t.after(() => child.kill('SIGKILL'));
    const exited = once(child, 'exit');
    const before = delivered.length;
    for await (const line of createInterface({ input: child.stdout })) {
      delivered.push(line);
      if (delivered.length - before === 33 + kills) child.kill('SIGKILL');
    }
    await exited;
    if (child.signalCode === 'SIGKILL') kills += 1;
    else over = true;
  }

  assert.ok(kills >= 1, `${kills} kills`);
  assert.deepEqual([...new Set(delivered)], all, 'every one, and in order');
  assert.ok(delivered.length - all.length <= kills * BATCH, `${delivered.length - all.length} twice`);
  assert.equal(openStore(t, { stateDir: folder, sinks: ['file'] }).store.queue('file').depth, 0);
});
