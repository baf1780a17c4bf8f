import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import files from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { PodmanFinder } from '../../src/enrich/podman.ts';
import type { Incident } from '../../src/incident.ts';
import { containerKill, valid } from '../incidents.ts';
import { temporaryFolder } from '../temporary-folder.ts';

const ID = 'a08b934a083eee263e809b5a2d33b68813f3c1209748dd3c12c4ef349a9dbe4d';
const IMAGE = 'e8796a8123aa58a9eb28418974a67a3da63eb3e17e6b597f75e3de6bed840f65';
/** As podman 4.3.1 wrote it. */
const STORED = {
  id: ID,
  names: ['shop'],
  image: IMAGE,
  layer: 'c797f7cc96ba5564eefdcc9752ea6e9dfdb9818296d522a0680713420b188a70',
  metadata: `{"image-name":"localhost/victim:1","image-id":"${IMAGE}","name":"shop","created-at":1795783675}`,
  created: '2026-11-27T12:47:55.508492818Z',
  flags: { MountLabel: '', ProcessLabel: '' },
};
const STORAGE = 'var/lib/containers/storage';
const SYSTEM = `${STORAGE}/overlay-containers/containers.json`;
const CHOSEN = new Set(['team']);
const NEVER = new AbortController().signal;

function killIn(cgroup: string): Incident {
  const incident = containerKill();
  const [victim = assert.fail()] = incident.victims;
  const process = { ...victim.process, cgroup };
  const { k8s: _, ...rest } = incident;
  return valid({
    ...rest,
    process,
    victims: [{ ...victim, process }],
    container: { id: ID, runtime: 'podman' },
  });
}

const OF_ROOT = killIn(`/machine.slice/libpod-${ID}.scope`);
const OF_USER = killIn(`/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-${ID}.scope`);

/** A machine with these files. */
function machine(t: TestContext, files: Readonly<Record<string, string>>): string {
  const root = temporaryFolder(t, 'oom-witness-root');
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(root, name)), { recursive: true });
    writeFileSync(path.join(root, name), text);
  }
  return root;
}

/** The part of podman 5.4.2's database that names a container; its JSON is a blob there. */
function writeDatabase(folder: string, config: string): void {
  mkdirSync(folder, { recursive: true });
  using database = new DatabaseSync(path.join(folder, 'db.sql'));
  database.exec(`CREATE TABLE IF NOT EXISTS ContainerConfig(
    ID TEXT PRIMARY KEY NOT NULL, Name TEXT UNIQUE NOT NULL, PodID TEXT, JSON TEXT NOT NULL)`);
  const insert = database.prepare('INSERT INTO ContainerConfig VALUES (?, ?, NULL, ?)');
  insert.run(ID, 'shop', Buffer.from(config));
}

const LABELS = { team: 'fruit', 'com.docker.compose.project': 'shop', secret: 'x' };

const labelsOf = async (root: string, incident = OF_ROOT) =>
  (await new PodmanFinder([root], CHOSEN).find(incident, NEVER))?.identity.container?.labels;

const nameOf = async (root: string, incident = OF_ROOT) =>
  (await new PodmanFinder([root], CHOSEN).find(incident, NEVER))?.identity.container?.name;

describe("names from podman's own files", () => {
  it('of a container of root', async (t) => {
    const root = machine(t, { [SYSTEM]: JSON.stringify([{ ...STORED, id: IMAGE }, STORED]) });
    const finding = await new PodmanFinder([root], CHOSEN).find(OF_ROOT, NEVER);
    const image = { name: 'localhost/victim:1', id: `sha256:${IMAGE}` };
    const container = { id: ID, name: 'shop', runtime: 'podman', image };
    assert.deepEqual(finding, { identity: { container }, isPartial: false });
  });

  it('of a container made with --rm, and of any storage driver', async (t) => {
    const file = 'var/lib/containers/storage/btrfs-containers/volatile-containers.json';
    assert.equal(await nameOf(machine(t, { [file]: JSON.stringify([STORED]) })), 'shop');
  });

  it("of a user's container, in the home that the machine gives him", async (t) => {
    const passwd = 'root:x:0:0::/root:/bin/sh\nann:x:1000:1000:Ann:/data/ann:/bin/sh\n';
    const file = 'data/ann/.local/share/containers/storage/overlay-containers/containers.json';
    const root = machine(t, { 'etc/passwd': passwd, [file]: JSON.stringify([STORED]) });
    assert.equal(await nameOf(root, OF_USER), 'shop');
    assert.equal(await nameOf(root, OF_ROOT), undefined);
  });

  it('not from outside of the machine that it was told of', async (t) => {
    const passwd = 'ann:x:1000:1000::/home/../../elsewhere:/bin/sh\n';
    const file = '.local/share/containers/storage/overlay-containers/containers.json';
    const outside = machine(t, {
      [`elsewhere/${file}`]: JSON.stringify([STORED]),
      'root/etc/passwd': passwd,
    });
    assert.equal(await nameOf(path.join(outside, 'root'), OF_USER), undefined);
  });

  it('not where there is nothing, or nonsense', async (t) => {
    assert.equal(await nameOf(machine(t, {})), undefined);
    for (const text of ['', 'x', '{}', '[null]', '[7]', `[{"id":["${ID}"]}]`])
      assert.equal(await nameOf(machine(t, { [SYSTEM]: text })), undefined, text);
    for (const wrong of [
      { names: 'shop' },
      { names: [7] },
      { metadata: '[' },
      { metadata: 'null' },
      { metadata: {} },
    ]) {
      const root = machine(t, { [SYSTEM]: JSON.stringify([{ ...STORED, ...wrong }]) });
      const finding = await new PodmanFinder([root], CHOSEN).find(OF_ROOT, NEVER);
      assert.equal(finding?.identity.container?.id, ID, JSON.stringify(wrong));
    }
  });

  it('not from a link, a pipe or a file without an end in a place that a user may fill', async (t) => {
    const root = machine(t, { real: JSON.stringify([STORED]), [SYSTEM]: '' });
    const file = path.join(root, SYSTEM);
    rmSync(file);
    symlinkSync(path.join(root, 'real'), file);
    assert.equal(await nameOf(root), undefined);
    rmSync(file);
    execFileSync('mkfifo', [file]);
    assert.equal(await nameOf(root), undefined);
    rmSync(file);
    writeFileSync(file, JSON.stringify([STORED]));
    truncateSync(file, 2 ** 40);
    assert.equal(await nameOf(root), undefined);
  });

  it("with the labels that say whose it is and those that were chosen, from podman's database", async (t) => {
    const root = machine(t, { [SYSTEM]: JSON.stringify([STORED]) });
    assert.equal(await labelsOf(root), undefined, 'podman before 4.8');
    writeDatabase(path.join(root, STORAGE), JSON.stringify({ id: ID, labels: LABELS }));
    assert.deepEqual(await labelsOf(root), { team: 'fruit', 'com.docker.compose.project': 'shop' });
  });

  it("one user's after the other's, so that a home that does not answer holds one reader only", {
    timeout: 30_000,
  }, async (t) => {
    const passwd = 'ann:x:1000:1000::/home/ann:/bin/sh\nbob:x:1001:1001::/home/bob:/bin/sh\n';
    const root = machine(t, { 'etc/passwd': passwd, [SYSTEM]: JSON.stringify([STORED]) });
    const { readdir } = files;
    const homes: string[] = [];
    const { promise, resolve: answer } = Promise.withResolvers<string[]>();
    const dead = t.mock.method(files, 'readdir', async (folder: string) => {
      if (!folder.startsWith(`${root}/home/`)) return readdir(folder);
      homes.push(folder);
      return homes.length === 1 ? promise : [];
    });
    syncBuiltinESMExports();
    t.after(() => {
      dead.mock.restore();
      syncBuiltinESMExports();
    });
    const finder = new PodmanFinder([root], CHOSEN);
    const ofBob = killIn(`/user.slice/user-1001.slice/user@1001.service/user.slice/libpod-${ID}.scope`);
    const patience = new AbortController();
    const [first, ...others] = [OF_USER, OF_USER, ofBob, ofBob].map((incident) =>
      finder.find(incident, patience.signal),
    );
    await sleep(50);
    assert.deepEqual(homes, [`${root}/home/ann/.local/share/containers/storage`]);
    assert.equal((await finder.find(OF_ROOT, patience.signal))?.identity.container?.name, 'shop');
    patience.abort();
    await Promise.all(others);
    answer([]);
    await first;
    assert.equal(homes.length, 1, 'who has given up does not read any more');
    await finder.find(ofBob, NEVER);
    assert.equal(homes.length, 2);
  });

  it('while podman writes: nobody waits for the other', async (t) => {
    const root = machine(t, { [SYSTEM]: JSON.stringify([STORED]) });
    writeDatabase(path.join(root, STORAGE), JSON.stringify({ id: ID, labels: LABELS }));
    using podman = new DatabaseSync(path.join(root, STORAGE, 'db.sql'));
    podman.exec('BEGIN EXCLUSIVE');
    assert.equal((await labelsOf(root))?.team, 'fruit');
    podman.exec('COMMIT');
  });

  it('without labels where there are none, nonsense, or too much', async (t) => {
    for (const config of [
      '',
      'x',
      '[]',
      '{}',
      '{"labels":null}',
      '{"labels":"team"}',
      '{"labels":{"team":7}}',
      JSON.stringify({ labels: { team: 'fruit', other: 'x'.repeat(4 << 20) } }),
    ]) {
      const root = machine(t, { [SYSTEM]: JSON.stringify([STORED]) });
      writeDatabase(path.join(root, STORAGE), config);
      assert.equal(await labelsOf(root), undefined, config.slice(0, 100));
      assert.equal(await nameOf(root), 'shop');
    }
    const root = machine(t, { [SYSTEM]: JSON.stringify([STORED]), [`${STORAGE}/db.sql`]: 'no database' });
    assert.equal(await nameOf(root), 'shop');
  });

  it("without labels from a user's database: it could bring a query that never ends", async (t) => {
    const passwd = 'ann:x:1000:1000:Ann:/home/ann:/bin/sh\n';
    const storage = 'home/ann/.local/share/containers/storage';
    const file = `${storage}/overlay-containers/containers.json`;
    const root = machine(t, { 'etc/passwd': passwd, [file]: JSON.stringify([STORED]) });
    writeDatabase(path.join(root, storage), JSON.stringify({ id: ID, labels: LABELS }));
    assert.equal(await nameOf(root, OF_USER), 'shop');
    assert.equal(await labelsOf(root, OF_USER), undefined);
  });

  it('only where podman is meant and nobody else has said the name', () => {
    const finder = new PodmanFinder([], CHOSEN);
    assert.equal(finder.concerns(OF_ROOT), true);
    for (const container of [
      { id: ID, runtime: 'docker' },
      { id: ID },
      { id: ID, runtime: 'podman', name: 'x' },
    ])
      assert.equal(finder.concerns({ ...OF_ROOT, container }), false);
  });
});
