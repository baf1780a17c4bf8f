import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmdirSync,
  rmSync,
  statfsSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { DatabaseSync } from 'node:sqlite';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Incident } from '../src/incident.ts';
import type { Store } from '../src/store.ts';
import { containerKill, hostileKills, numbered, storm, unitKill, valid } from './incidents.ts';
import { openStore, stateDir } from './store/temporary.ts';

const DAY_MS = 86_400_000;
const START = Date.parse('2026-11-21T03:15:00.000Z');

const incidents = (count: number, first = 1): Incident[] =>
  storm(count, first).map(({ incident }) => incident);
const ids = (list: readonly Incident[]) => list.map(({ id }) => id);
const pendingIds = (store: Store, sink = 'kafka') =>
  store.pending(sink, 1_000_000).map(({ delivery }) => delivery.incident.id);
const done = (list: readonly string[]) => list.map((id) => ({ id, kind: 'done' }) as const);

test('the folder and the database are for their owner only', (t) => {
  const folder = stateDir(t);
  openStore(t, { stateDir: folder }).store.commit(incidents(1), undefined);
  assert.equal(statSync(folder).mode & 0o777, 0o700);
  for (const name of readdirSync(folder))
    assert.equal(statSync(path.join(folder, name)).mode & 0o777, 0o600, name);
});

test('a commit is there after the next start: incidents, queues of every sink, position', (t) => {
  const folder = stateDir(t);
  const first = openStore(t, { stateDir: folder }).store;
  assert.equal(first.position(), undefined);
  first.commit(incidents(3), { bootId: 'boot', sequence: 4711 });
  first.close();

  const { store, said } = openStore(t, { stateDir: folder });
  assert.deepEqual(store.position(), { bootId: 'boot', sequence: 4711 });
  assert.deepEqual(pendingIds(store, 'kafka'), ids(incidents(3)));
  assert.deepEqual(pendingIds(store, 'slack'), ids(incidents(3)));
  assert.deepEqual(store.get(incidents(1)[0]!.id), incidents(1)[0]);
  assert.deepEqual(said, []);
});

test('a replay is recognised: stored once, delivered once', (t) => {
  const { store } = openStore(t, { stateDir: stateDir(t) });
  assert.deepEqual(ids(store.commit(incidents(3), undefined)), ids(incidents(3)));
  store.settle('kafka', done(ids(incidents(3))));
  assert.deepEqual(ids(store.commit(incidents(4), { bootId: 'boot', sequence: 9 })), ids(incidents(1, 4)));
  assert.equal(store.count, 4);
  assert.deepEqual(pendingIds(store), ids(incidents(1, 4)));
  assert.deepEqual(store.position(), { bootId: 'boot', sequence: 9 });
});

test('hostile incidents come back as they were', (t) => {
  const { store } = openStore(t, { stateDir: stateDir(t) });
  for (const { incident } of hostileKills()) {
    store.commit([incident], undefined);
    assert.deepEqual(valid(store.get(incident.id)), incident);
    assert.equal(store.recurrence(incident).nth, store.count);
  }
});

test('complete() changes what is stored and what is sent', (t) => {
  const { store } = openStore(t, { stateDir: stateDir(t) });
  const [incident] = incidents(1);
  store.commit([incident!], undefined);
  const complete = { ...incident!, systemd: { unit: 'shop.service' } };
  const change = (stored: Incident) => ({ ...stored, systemd: { unit: 'shop.service' } });
  const answers = store.complete([
    { id: 'nobody', change },
    { id: incident!.id, change },
  ]);
  assert.deepEqual(answers, [undefined, complete]);
  assert.deepEqual(store.get(incident!.id), complete);
  assert.deepEqual(store.pending('kafka', 1)[0]!.delivery.incident, complete);
});

test('each source has a bookmark of its own, also over a restart', (t) => {
  const folder = stateDir(t);
  const first = openStore(t, { stateDir: folder });
  assert.equal(first.store.bookmark('pods'), undefined);
  first.store.saveBookmark('pods', '2026-11-21T03:14:15Z');
  first.store.saveBookmark('log', '4711');
  first.store.saveBookmark('pods', '2026-11-21T03:14:16Z');
  first.store.close();
  const { store } = openStore(t, { stateDir: folder });
  assert.equal(store.bookmark('pods'), '2026-11-21T03:14:16Z');
  assert.equal(store.bookmark('log'), '4711');
});

test('a bookmark moves with the incidents that it covers, or not at all', (t) => {
  const folder = stateDir(t);
  const first = openStore(t, { stateDir: folder });
  first.store.commit(incidents(1), { source: 'log', place: '4711' });
  const broken = { ...incidents(2)[1]!, time: 1n } as unknown as Incident;
  assert.throws(() => first.store.commit([broken], { source: 'log', place: '4712' }), TypeError);
  first.store.close();
  const { store } = openStore(t, { stateDir: folder });
  assert.equal(store.bookmark('log'), '4711');
  assert.equal(store.count, 1);
  assert.equal(store.position(), undefined);
});

test('held deliveries wait for complete(), or until their time has come, also after a crash', (t) => {
  let now = START;
  const { store } = openStore(t, { stateDir: stateDir(t), now: () => now });
  const [first, second] = incidents(2);
  store.commit([first!, second!], undefined, () => now + 2000);
  assert.deepEqual(pendingIds(store), []);
  assert.equal(store.nextDue('kafka'), START + 2000);
  store.complete([{ id: second!.id, change: (stored) => stored }]);
  assert.deepEqual(pendingIds(store), [second!.id]);
  now += 2000;
  assert.deepEqual(pendingIds(store), [first!.id, second!.id]);
});

test('each sink has a queue of its own', (t) => {
  let now = START;
  const { store } = openStore(t, { stateDir: stateDir(t), now: () => now });
  store.commit(incidents(2), undefined);
  now += 60_000;
  store.commit(incidents(1, 3), undefined);
  store.settle('kafka', done(ids(incidents(2))));
  assert.deepEqual(store.queue('kafka'), { depth: 1, oldestAt: START + 60_000 });
  assert.deepEqual(store.queue('slack'), { depth: 3, oldestAt: START });
  store.settle('kafka', done(pendingIds(store)));
  assert.deepEqual(store.queue('kafka'), { depth: 0 });
  assert.equal(store.nextDue('kafka'), undefined);
});

test('a sink gets only what it takes, and a restart after a kill is no part of the history', (t) => {
  const { store } = openStore(t, {
    stateDir: stateDir(t),
    takes: (sink, { kind }) => sink === 'slack' || kind !== 'oom_restart',
  });
  const [kill] = incidents(1);
  const restart = valid<Incident>({ ...kill!, id: 'restart:uid:shop:1', kind: 'oom_restart' });
  store.commit([kill!, restart]);
  assert.deepEqual(pendingIds(store, 'kafka'), [kill!.id]);
  assert.deepEqual(pendingIds(store, 'slack'), [kill!.id, restart.id]);
  assert.deepEqual(ids(store.recent(10)), [kill!.id]);
  const [second] = incidents(1, 2);
  store.commit([second!]);
  assert.equal(store.recurrence(second!).nth, 2);
  assert.deepEqual(store.commit([restart]), []);
});

test('a retry counts the attempt, waits for its time, and keeps its place', (t) => {
  let now = START;
  const { store } = openStore(t, { stateDir: stateDir(t), now: () => now });
  const [first, second] = ids(incidents(2));
  store.commit(incidents(2), undefined);
  store.settle('kafka', [{ id: first!, kind: 'retry', nextAt: now + 5000, reason: '503' }]);
  assert.deepEqual(pendingIds(store), [second]);
  now += 5000;
  assert.deepEqual(
    store.pending('kafka', 9).map(({ delivery, attempts }) => [delivery.incident.id, attempts]),
    [
      [first, 1],
      [second, 0],
    ],
  );
  now -= 365 * DAY_MS;
  assert.deepEqual(pendingIds(store), [first, second], 'a wall clock that was set back delays nothing');
});

test('one batch takes a bounded amount of memory, and at least one incident', (t) => {
  const { store } = openStore(t, { stateDir: stateDir(t) });
  const large = incidents(5).map((incident) => ({ ...incident, raw: Array(30).fill('x'.repeat(100_000)) }));
  store.commit(large, undefined);
  assert.equal(store.pending('kafka', 100).length, 1);
});

test('a new sink begins with the incidents from now on', (t) => {
  const folder = stateDir(t);
  const before = openStore(t, { stateDir: folder, sinks: ['kafka'] }).store;
  before.commit(incidents(2), undefined);
  before.close();
  const { store } = openStore(t, { stateDir: folder, sinks: ['kafka', 'webhook'] });
  store.commit(incidents(1, 3), undefined);
  assert.deepEqual(pendingIds(store, 'webhook'), ids(incidents(1, 3)));
  assert.deepEqual(pendingIds(store, 'kafka'), ids(incidents(3)));
});

test('a sink that leaves the configuration keeps its queue for a day, in case that was a mistake', (t) => {
  const folder = stateDir(t);
  let now = START;
  const run = (sinks: string[]) => openStore(t, { stateDir: folder, sinks, now: () => now });
  const restart = (sinks: string[]) => {
    const { store, said } = run(sinks);
    const depths = sinks.map((sink) => store.queue(sink).depth);
    store.close();
    return { depths, said };
  };
  const first = run(['kafka', 'slack']).store;
  first.commit(incidents(2), undefined);
  first.close();
  restart(['kafka']);
  now += DAY_MS - 1;
  assert.deepEqual(restart(['kafka', 'slack']).depths, [2, 2]);
  restart(['kafka']);
  now += DAY_MS + 1;
  assert.deepEqual(restart(['kafka']).said, ['dropped 2 of slack: the sink is no longer configured']);
  assert.deepEqual(restart(['kafka', 'slack']).depths, [2, 0]);
});

test('recurrence: the nth kill of the same workload within 24 hours, whenever it is asked', (t) => {
  const { store } = openStore(t, { stateDir: stateDir(t) });
  const at = (sequence: number, time: string, kill = containerKill()) => ({
    ...numbered(kill, sequence),
    time,
  });
  const kills = [
    at(1, '2026-11-20T03:00:00.000Z'),
    at(2, '2026-11-21T01:04:10.000Z'),
    at(3, '2026-11-21T01:30:00.000Z', unitKill()),
    at(4, '2026-11-21T02:00:00.000Z'),
    at(5, '2026-11-21T03:14:15.000Z'),
  ];
  store.commit(kills, undefined);
  const third = { nth: 3, firstTime: '2026-11-21T01:04:10.000Z', lastTime: '2026-11-21T02:00:00.000Z' };
  assert.deepEqual(store.recurrence(kills[4]!), third);
  assert.deepEqual(store.recurrence(kills[2]!), { nth: 1 });
  assert.deepEqual(
    store.pending('slack', 9).map(({ delivery }) => delivery.recurrence.nth),
    [1, 2, 1, 3, 3],
  );
  store.commit([at(6, '2026-11-21T03:15:00.000Z')], undefined);
  assert.deepEqual(store.recurrence(kills[4]!), third);
  const { time } = kills[4]!;
  assert.equal(store.recurrence(at(99, time)).nth, 4, 'one that is not stored comes after all that are');
});

test('recurrence follows what enrichment finds out later', (t) => {
  const { store } = openStore(t, { stateDir: stateDir(t) });
  const { k8s, container: _, ...bare } = containerKill();
  const [first, second] = [1, 2].map((sequence) => numbered(bare, sequence));
  store.commit([first!, second!], undefined);
  store.complete([{ id: second!.id, change: (stored) => ({ ...stored, k8s: k8s! }) }]);
  assert.equal(store.recurrence({ ...second!, k8s: k8s! }).nth, 1);
  store.complete([{ id: first!.id, change: (stored) => ({ ...stored, k8s: k8s! }) }]);
  assert.equal(store.recurrence({ ...second!, k8s: k8s! }).nth, 2);
});

test('recent() pages through the history, the newest first', (t) => {
  const { store } = openStore(t, { stateDir: stateDir(t) });
  const all = ids(incidents(5)).reverse();
  store.commit(incidents(5), undefined);
  assert.deepEqual(ids(store.recent(2)), all.slice(0, 2));
  assert.deepEqual(ids(store.recent(2, all[1])), all.slice(2, 4));
  assert.deepEqual(ids(store.recent(2, all[3])), all.slice(4));
  assert.deepEqual(store.recent(2, 'nobody'), []);
  assert.equal(store.get('nobody'), undefined);
});

test('outlines() leaves out what most of an incident is, and nothing else', (t) => {
  const { store } = openStore(t, { stateDir: stateDir(t) });
  const [first, second] = incidents(2);
  const tasks = [{ pid: 1, name: 'java', total_vm: 0, rss: 0, swap: 0, oom_score_adj: 0 }];
  store.commit([first!, valid<Incident>({ ...second!, tasks })]);
  const { memory: _, tasks: __, ...rest } = second!;
  assert.ok(second!.memory && second!.raw.length > 0);
  assert.deepEqual(store.outlines(1), [{ ...rest, raw: [] }]);
  assert.deepEqual(ids(store.outlines(9)), ids(incidents(2)).reverse());
});

test('retention: the newest so many, but none that a sink still waits for', (t) => {
  const { store, said } = openStore(t, {
    stateDir: stateDir(t),
    sinks: ['kafka'],
    limits: { incidents: 10 },
  });
  store.commit(incidents(5), undefined);
  const waiting = ids(incidents(2, 4));
  store.settle('kafka', done(ids(incidents(3))));
  for (let next = 6; next <= 40; next++) {
    store.commit(incidents(1, next), undefined);
    store.settle('kafka', done(ids(incidents(1, next))));
  }
  assert.equal(store.count, 10);
  assert.deepEqual(pendingIds(store), waiting);
  assert.deepEqual(ids(store.recent(99)), [...ids(incidents(8, 33)).reverse(), ...waiting.reverse()]);
  assert.deepEqual(said, []);
});

test('retention: what is too many goes in portions', (t) => {
  const { store } = openStore(t, { stateDir: stateDir(t), sinks: [], limits: { incidents: 64 } });
  const counts = incidents(70).map((incident) => {
    store.commit([incident], undefined);
    return store.count;
  });
  assert.deepEqual(counts.slice(62), [63, 64, 65, 66, 64, 65, 66, 64]);
  assert.deepEqual(ids(store.recent(99)), ids(incidents(64, 7)).reverse());
});

test('retention: what is too old is looked for once a minute', (t) => {
  let now = START;
  const { store } = openStore(t, { stateDir: stateDir(t), sinks: [], now: () => now });
  const [old, ...others] = incidents(4) as [Incident, ...Incident[]];
  const keeps = () => store.get(old.id) !== undefined;
  store.commit([old]);
  now = START + 30 * DAY_MS + 1 - 59_000;
  store.commit([others[0]!]);
  now += 59_000;
  store.commit([others[1]!]);
  assert.equal(keeps(), true, 'looked at 59 s ago');
  now += 1_000;
  store.commit([others[2]!]);
  assert.equal(keeps(), false);
});

test('retention: 30 days, but none that a sink still waits for', (t) => {
  let now = START;
  const { store } = openStore(t, { stateDir: stateDir(t), sinks: ['kafka'], now: () => now });
  store.commit(incidents(3), undefined);
  store.settle('kafka', done(ids(incidents(2))));
  now += 31 * DAY_MS;
  store.commit(incidents(1, 4), undefined);
  assert.deepEqual(ids(store.recent(9)), ids(incidents(2, 3)).reverse());
});

test('retention: a queue has a hard bound, and what it drops is said by name', (t) => {
  const limits = { incidents: 10, pending: 20 };
  const { store, said } = openStore(t, { stateDir: stateDir(t), limits });
  store.commit(incidents(15), undefined);
  store.settle('slack', done(ids(incidents(15))));
  store.commit(incidents(10, 16), undefined);
  assert.deepEqual(said, ['dropped 5 of kafka: more than 20 were waiting']);
  assert.deepEqual(pendingIds(store), ids(incidents(20, 6)));
  assert.equal(store.queue('slack').depth, 10);
});

test('retention: the file has a hard bound too', (t) => {
  const folder = stateDir(t);
  const bytes = 4 * 1024 ** 2;
  const { store, said } = openStore(t, { stateDir: folder, sinks: ['kafka'], limits: { bytes } });
  const large = (sequence: number) => ({
    ...incidents(1, sequence)[0]!,
    raw: Array(10).fill('x'.repeat(10_000)),
  });
  for (let sequence = 1; sequence <= 200; sequence++) store.commit([large(sequence)], undefined);
  assert.ok(said.length > 0 && said.every((line) => /^dropped \d of kafka: the store is larger/.test(line)));
  assert.ok(pendingIds(store).length > 30, 'only the oldest go');
  assert.equal(store.get(large(200).id)?.id, large(200).id);
  store.close();
  assert.ok(statSync(path.join(folder, 'oom-witness.db')).size < 1.5 * bytes);
});

test('two agents do not share a state folder', (t) => {
  const folder = stateDir(t);
  const { store } = openStore(t, { stateDir: folder });
  assert.throws(() => openStore(t, { stateDir: folder }), {
    name: 'StateLockedError',
    message: /another oom-witness uses this state folder/,
  });
  store.commit(incidents(1), undefined);
  store.close();
  assert.equal(openStore(t, { stateDir: folder }).store.count, 1);
});

test('other tools can read the database while the agent runs', (t) => {
  const folder = stateDir(t);
  const { store } = openStore(t, { stateDir: folder });
  store.commit(incidents(2), undefined);
  const script = `const { DatabaseSync } = require('node:sqlite');
    const db = new DatabaseSync(process.argv[1], { readOnly: true });
    console.log(db.prepare('SELECT count(*) AS count FROM incident').get().count);`;
  const count = execFileSync(process.execPath, ['-e', script, path.join(folder, 'oom-witness.db')], {
    encoding: 'utf8',
  });
  assert.equal(count.trim(), '2');
});

test('without a state folder everything works in memory', (t) => {
  const { store, said } = openStore(t, { stateDir: undefined });
  store.commit(incidents(2), { bootId: 'boot', sequence: 2 });
  assert.deepEqual(pendingIds(store), ids(incidents(2)));
  assert.equal(store.persistent, false);
  assert.deepEqual(said, []);
});

test('a state folder that cannot be made: memory, said once with the reason', (t) => {
  const { store, said } = openStore(t, { stateDir: '/proc/oom-witness' });
  store.commit(incidents(2), { bootId: 'boot', sequence: 2 });
  assert.deepEqual(pendingIds(store), ids(incidents(2)));
  assert.equal(store.persistent, false);
  assert.equal(said.length, 1);
  assert.match(said[0]!, /^memory only: .*\/proc\/oom-witness/);
});

for (const [what, damage] of [
  ['a file that is no database', (file: string) => writeFileSync(file, 'x'.repeat(10_000))],
  ['a file that is cut off', (file: string) => truncateSync(file, 5000)],
  [
    "somebody else's database",
    (file: string) => {
      const database = new DatabaseSync(file);
      database.exec('DROP TABLE incident');
      database.close();
    },
  ],
] as const)
  test(`${what} is set aside at start, and a new one takes its place`, (t) => {
    const folder = stateDir(t);
    const file = path.join(folder, 'oom-witness.db');
    const before = openStore(t, { stateDir: folder }).store;
    before.commit(incidents(50), undefined);
    before.close();
    damage(file);

    const { store, said } = openStore(t, { stateDir: folder, now: () => START });
    assert.equal(said.length, 1);
    assert.ok(said[0]?.startsWith(`set aside ${file}.corrupt-2026-11-21T03-15-00-000Z: `));
    assert.ok(existsSync(`${file}.corrupt-2026-11-21T03-15-00-000Z`));
    assert.equal(store.persistent, true);
    store.commit(incidents(1), undefined);
    store.close();
    assert.equal(openStore(t, { stateDir: folder }).store.count, 1);
  });

test('an older version takes over from a newer one what it can read: nothing is lost by going back', (t) => {
  const folder = stateDir(t);
  const file = path.join(folder, 'oom-witness.db');
  const newer = openStore(t, { stateDir: folder }).store;
  newer.commit(incidents(50), { bootId: 'boot', sequence: 4711 });
  newer.settle('slack', done(ids(incidents(50))));
  newer.saveBookmark('pod status', '2026-11-21T03:14:00Z');
  newer.close();
  const database = new DatabaseSync(file);
  database.exec(`
    PRAGMA user_version = 99; ALTER TABLE incident ADD COLUMN colour TEXT; CREATE TABLE more (n INTEGER);
    INSERT INTO incident (id, stored_at, time, workload, json) VALUES
      ('another form', 1, 1, '', '{"id":"another form","victim":{}}'), ('no object', 1, 1, '', 'null');
  `);
  database.close();

  const { store, said } = openStore(t, { stateDir: folder, now: () => START });
  assert.equal(said.length, 1);
  assert.match(said[0]!, /^set aside .*: written by a newer version of oom-witness \(its schema is 99, /);
  assert.deepEqual(store.position(), { bootId: 'boot', sequence: 4711 });
  assert.equal(store.bookmark('pod status'), '2026-11-21T03:14:00Z');
  assert.deepEqual(pendingIds(store, 'kafka'), ids(incidents(50)));
  assert.deepEqual(pendingIds(store, 'slack'), []);
  assert.equal(store.count, 50);
  store.close();
  assert.equal(openStore(t, { stateDir: folder }).store.count, 50);
  assert.ok(existsSync(`${file}.corrupt-2026-11-21T03-15-00-000Z`), 'the newer one, for its own version');
});

test('damage that shows while running: set aside, and what could be read of the queues goes on', (t) => {
  const folder = stateDir(t);
  const file = path.join(folder, 'oom-witness.db');
  const before = openStore(t, { stateDir: folder, sinks: ['kafka'] }).store;
  before.commit(incidents(300), { bootId: 'boot', sequence: 300 });
  before.close();
  const { store, said } = openStore(t, { stateDir: folder, sinks: ['kafka'] });
  const lastPage = statSync(file).size - 4096;
  const descriptor = openSync(file, 'r+');
  writeSync(descriptor, Buffer.alloc(4096, 0xee), 0, 4096, lastPage);
  closeSync(descriptor);

  store.commit(incidents(1, 1000), { bootId: 'boot', sequence: 1000 });
  const rest = pendingIds(store);
  assert.match(said.join('\n'), /^set aside .*malformed/);
  assert.ok(rest.includes(incidents(1, 1000)[0]!.id), 'the new one is there');
  assert.ok(rest.length > 290, `${rest.length} of 301 could be read`);
  assert.equal(store.persistent, true);
  assert.deepEqual(store.position(), { bootId: 'boot', sequence: 1000 });
});

test('an incident that is no JSON any more does not jam its queue', (t) => {
  const folder = stateDir(t);
  const before = openStore(t, { stateDir: folder, sinks: ['kafka'] }).store;
  before.commit(incidents(3), undefined);
  before.close();
  const database = new DatabaseSync(path.join(folder, 'oom-witness.db'));
  database.exec(`UPDATE incident SET json = '{' WHERE n = 2`);
  database.close();
  const { store, said } = openStore(t, { stateDir: folder, sinks: ['kafka'] });
  assert.deepEqual(pendingIds(store), [incidents(1, 1)[0]!.id, incidents(1, 3)[0]!.id]);
  assert.match(said.join('\n'), /^set aside /);
});

test('only the newest damaged database is kept', (t) => {
  const folder = stateDir(t);
  for (let hour = 0; hour < 3; hour++) {
    mkdirSync(folder, { recursive: true });
    writeFileSync(path.join(folder, 'oom-witness.db'), 'x'.repeat(5000));
    openStore(t, { stateDir: folder, now: () => START + hour * 3_600_000 }).store.close();
  }
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.includes('corrupt')),
    ['oom-witness.db.corrupt-2026-11-21T05-15-00-000Z'],
  );
});

/** A file system of 4 MiB, or undefined (and the test skipped) where nobody may mount one. */
function smallDisk(t: TestContext): string | undefined {
  const folder = mkdtempSync(path.join(tmpdir(), 'oom-witness-disk-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'oom-witness-test', folder], { stdio: 'ignore' });
    t.after(() => execFileSync('umount', ['-l', folder]));
    return folder;
  } catch {
    t.skip('needs to mount a small file system');
    return undefined;
  } finally {
    t.after(() => rmdirSync(folder));
  }
}

function fill(folder: string): () => void {
  const file = path.join(folder, 'filler');
  const { bsize, bfree } = statfsSync(folder);
  writeFileSync(file, Buffer.alloc(bsize * bfree));
  return () => truncateSync(file, 0);
}

test('a full disk: everything goes on in memory, and goes back to the disk when there is room', (t) => {
  const folder = smallDisk(t);
  if (folder === undefined) return;
  let now = START;
  const { store, said } = openStore(t, { stateDir: folder, sinks: ['kafka', 'slack'], now: () => now });
  store.commit(incidents(3), { bootId: 'boot', sequence: 3 });
  const makeRoom = fill(folder);
  for (let next = 4; next <= 200; next++)
    store.commit(incidents(1, next), { bootId: 'boot', sequence: next });
  assert.match(said.join('\n'), /^memory only: .*(full|I\/O)/);
  assert.equal(store.persistent, false);
  assert.deepEqual(pendingIds(store), ids(incidents(200)));
  store.settle('kafka', done(ids(incidents(100))));

  now += 60_000;
  store.commit([], { bootId: 'boot', sequence: 201 });
  assert.equal(store.persistent, false, 'the disk is still full');
  makeRoom();
  now += 60_000;
  store.commit([], { bootId: 'boot', sequence: 202 });
  assert.equal(said.at(-1), 'back on disk');
  store.close();

  const after = openStore(t, { stateDir: folder }).store;
  assert.deepEqual(pendingIds(after, 'kafka'), ids(incidents(100, 101)));
  assert.deepEqual(pendingIds(after, 'slack'), ids(incidents(200)));
  assert.deepEqual(after.position(), { bootId: 'boot', sequence: 202 });
});

test('what was found out about an incident while the disk was full is not forgotten when it works again', (t) => {
  const folder = smallDisk(t);
  if (folder === undefined) return;
  let now = START;
  const { store } = openStore(t, { stateDir: folder, now: () => now });
  const [known] = incidents(1) as [Incident];
  store.commit([known], undefined, () => now + 7000);
  const makeRoom = fill(folder);
  for (let next = 2; store.persistent; next++) store.commit(incidents(1, next));
  store.complete([{ id: known.id, change: (stored) => ({ ...stored, systemd: { unit: 'found.service' } }) }]);
  makeRoom();
  now += 60_000;
  store.commit([]);
  assert.equal(store.persistent, true);
  assert.equal(store.get(known.id)?.systemd?.unit, 'found.service');
  assert.equal(store.pending('kafka', 1)[0]?.delivery.incident.systemd?.unit, 'found.service');
});

test('a clock that is set back by a day does not keep the store from its disk', (t) => {
  const folder = stateDir(t);
  writeFileSync(folder, 'in its place');
  let now = START;
  const { store, said } = openStore(t, { stateDir: folder, now: () => now });
  assert.equal(store.persistent, false);
  rmSync(folder);
  now -= DAY_MS;
  store.commit(incidents(1));
  assert.equal(said.at(-1), 'back on disk');
});

test('a read-only disk: memory, said once with the reason', (t) => {
  const folder = smallDisk(t);
  if (folder === undefined) return;
  execFileSync('mount', ['-o', 'remount,ro', folder]);
  const { store, said } = openStore(t, { stateDir: folder });
  store.commit(incidents(1), undefined);
  assert.deepEqual(pendingIds(store), ids(incidents(1)));
  assert.equal(said.length, 1);
  assert.match(said[0]!, /^memory only: EROFS/);
});

test('a database file of somebody else: its rights are put right', (t) => {
  const folder = stateDir(t);
  openStore(t, { stateDir: folder }).store.close();
  chmodSync(path.join(folder, 'oom-witness.db'), 0o644);
  openStore(t, { stateDir: folder });
  assert.equal(statSync(path.join(folder, 'oom-witness.db')).mode & 0o777, 0o600);
});

test('kill -9 in the middle of commits, ten times: nothing lost, nothing twice, position and incidents agree', async (t) => {
  const folder = stateDir(t);
  const committer = fileURLToPath(new URL('store/committer.ts', import.meta.url));
  let told = 0;
  for (let round = 0; round < 10; round++) {
    const child = spawn(process.execPath, [committer, folder, String(told + 1)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    t.after(() => child.kill('SIGKILL'));
    const lines: string[] = [];
    for await (const line of createInterface({ input: child.stdout })) {
      lines.push(line);
      if (lines.length === 20 + round) child.kill('SIGKILL');
    }
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    assert.equal(child.signalCode, 'SIGKILL');

    const { store, said } = openStore(t, { stateDir: folder, sinks: ['kafka'] });
    const sequence = store.position()!.sequence;
    assert.ok(sequence >= Number(lines.at(-1)), 'all that it told is there');
    assert.deepEqual(ids(store.recent(1_000_000)).reverse(), ids(incidents(sequence)), 'all up to it, once');
    assert.equal(store.queue('kafka').depth, sequence);
    assert.deepEqual(said, []);
    told = sequence;
    store.close();
  }
});

test('the write-ahead log stays small, whatever goes through the store', (t) => {
  const folder = stateDir(t);
  const { store } = openStore(t, { stateDir: folder, sinks: ['kafka'] });
  for (let next = 1; next <= 3000; next += 100) {
    store.commit(incidents(100, next), undefined);
    store.settle('kafka', done(ids(incidents(100, next))));
  }
  assert.ok(statSync(path.join(folder, 'oom-witness.db-wal')).size < 8 * 1024 ** 2);
});
