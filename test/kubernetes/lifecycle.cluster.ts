/** Clusters do not disturb each other, and one whose run was killed does not stay. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { describe, it } from 'node:test';
import { ended } from '../kills/kills.ts';
import { cgroupMounts } from '../servers/cgroups.ts';
import { Cluster } from './cluster.ts';
import { runningCluster } from './cluster-test.ts';
import { Daemons } from './daemons.ts';

const MODULE = path.join(import.meta.dirname, 'cluster.ts');
const START = `const { Cluster } = await import(process.argv[1]);
  const cluster = await Cluster.start('all');
  console.log(cluster.folder);
  setInterval(() => {}, 1000);`;

const cgroupsOf = (folder: string) =>
  cgroupMounts().filter((mount) => existsSync(path.join(mount, path.basename(folder))));

describe('a cluster', () => {
  it('beside another one, killed with all that watches over it, is removed by the next', async (t) => {
    const running = runningCluster();
    const run = spawn(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', START, MODULE],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    t.after(() => run.kill('SIGKILL'));
    let folder = '';
    for await (const line of createInterface({ input: run.stdout })) {
      folder = line;
      run.kill('SIGKILL');
    }
    await ended(run);
    const left = new Daemons(folder);
    assert.ok(left.all().length >= 6, 'it goes on without who started it');
    assert.notDeepEqual(cgroupsOf(folder), []);

    const said: string[] = [];
    const next = await Cluster.start('control-plane', (line) => said.push(line));
    t.after(() => next.stop());
    assert.ok(said.some((line) => line.includes(folder)));
    assert.equal(existsSync(folder), false);
    assert.deepEqual(left.all(), []);
    assert.deepEqual(cgroupsOf(folder), []);
    // The others are left alone.
    assert.equal(await running.kubectl(['get', '--raw', '/readyz']), 'ok');
    assert.equal(await next.kubectl(['get', '--raw', '/readyz']), 'ok');

    await next.stop();
    assert.equal(existsSync(next.folder), false);
    assert.deepEqual(next.daemons.all(), []);
  });
});
