/** What the store and a courier cost: `node bench/store.ts`. Prints one table; nothing is asserted. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Couriers } from '../src/deliver/couriers.ts';
import { DELIVERED } from '../src/sink.ts';
import { Store } from '../src/store.ts';
import { SaidByCouriers } from '../test/deliver/sinks.ts';
import { storm } from '../test/incidents.ts';
import { SaidByStore } from '../test/store/temporary.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'oom-witness-bench-'));
const rows: Record<string, Record<string, string>> = {};
const said = new SaidByStore();
const open = (name: string) =>
  Store.open({ stateDir: path.join(folder, name), sinks: ['a', 'b'], now: Date.now, observer: said });

function residentMB(): string {
  return (process.memoryUsage().rss / 1e6).toFixed(1);
}

function row(what: string, count: number, ms: number): void {
  rows[what] = {
    ms: ms.toFixed(1),
    'per second': Math.round((count / ms) * 1000).toString(),
    RSS: residentMB(),
  };
}

function timed(what: string, count: number, work: () => void): void {
  const start = performance.now();
  work();
  row(what, count, performance.now() - start);
}

const incidents = storm(10_000).map(({ incident }) => incident);

/** The machine's own speed, to compare with. */
timed('append 1,000 x 3 KB to a file', 1000, () => {
  const line = JSON.stringify(incidents[0]);
  for (let n = 0; n < 1000; n++) writeFileSync(path.join(folder, 'plain'), line, { flag: 'a' });
});

const singly = open('singly');
timed('commit 1,000 one by one', 1000, () => {
  for (const incident of incidents.slice(0, 1000)) singly.commit([incident], { bootId: 'b', sequence: 1 });
});
singly.close();

const store = open('batches');
timed('commit 10,000 in batches of 50', 10_000, () => {
  for (let n = 0; n < incidents.length; n += 50)
    store.commit(incidents.slice(n, n + 50), { bootId: 'b', sequence: n });
});
timed('queue depth and age, 10,000 waiting', 1, () => void store.queue('b'));
timed('recurrence, 10,000 of one workload', 1, () => void store.recurrence(incidents.at(-1)!));
timed('the newest 50', 50, () => void store.recent(50));

const couriers = new Couriers(
  [
    {
      name: 'a',
      batchSize: 500,
      open: async () => ({ deliver: async (batch) => batch.map(() => DELIVERED), close: async () => {} }),
    },
  ],
  {
    store,
    deadLetters: undefined,
    observer: new SaidByCouriers(),
    now: Date.now,
    sleep: (ms, signal) => sleep(ms, undefined, { signal }),
    random: Math.random,
  },
);
const start = performance.now();
couriers.start();
await couriers.drain(Date.now() + 60_000);
row('courier: 10,000 to a sink that does nothing', 10_000, performance.now() - start);
await couriers.close();
store.close();
console.table(rows);
for (const line of said.said) console.log(line);
rmSync(folder, { recursive: true });
