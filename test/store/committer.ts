/**
 * A process that commits incidents in small batches as fast as it can and tells each batch after its commit, until it is killed.
 * Usage: committer.ts STATE_DIR FIRST_SEQUENCE
 */
import { writeSync } from 'node:fs';
import { Store } from '../../src/store.ts';
import { storm } from '../incidents.ts';
import { SaidByStore } from './temporary.ts';

const [stateDir, firstSequence] = process.argv.slice(2);
const store = Store.open({
  stateDir: stateDir!,
  sinks: ['kafka'],
  now: Date.now,
  observer: new SaidByStore(),
});
const BATCH = 7;
for (let sequence = Number(firstSequence); ; sequence += BATCH) {
  const incidents = storm(BATCH, sequence).map(({ incident }) => incident);
  store.commit(incidents, { bootId: 'boot', sequence: sequence + BATCH - 1 });
  writeSync(1, `${sequence + BATCH - 1}\n`);
}
