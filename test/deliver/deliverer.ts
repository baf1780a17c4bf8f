/**
 * A process that delivers what is pending for `file` to its standard output, one incident id per line, until it is killed.
 * Usage: deliverer.ts STATE_DIR
 */
import { writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Couriers } from '../../src/deliver/couriers.ts';
import { DELIVERED } from '../../src/sink.ts';
import { Store } from '../../src/store.ts';
import { SaidByStore } from '../store/temporary.ts';
import { SaidByCouriers } from './sinks.ts';

const store = Store.open({
  stateDir: process.argv[2],
  sinks: ['file'],
  now: Date.now,
  observer: new SaidByStore(),
});
const sink = {
  deliver: async (batch: readonly { readonly incident: { readonly id: string } }[]) => {
    for (const { incident } of batch) writeSync(1, `${incident.id}\n`);
    return batch.map(() => DELIVERED);
  },
  close: async () => {},
};
const couriers = new Couriers([{ name: 'file', batchSize: 5, open: async () => sink }], {
  store,
  deadLetters: undefined,
  observer: new SaidByCouriers(),
  now: Date.now,
  sleep: (ms, signal) => sleep(ms, undefined, { signal }),
  random: Math.random,
});
couriers.start();
await couriers.drain(Date.now() + 60_000);
