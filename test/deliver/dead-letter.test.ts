import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmdirSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { DeadLetterFile } from '../../src/deliver/dead-letter.ts';
import { containerKill, hostileKills, storm } from '../incidents.ts';
import { readlineLines } from '../lines.ts';
import { stateDir } from '../store/temporary.ts';

function deadLetters(t: TestContext, maxBytes?: number) {
  const folder = stateDir(t);
  mkdirSync(folder);
  const file = path.join(folder, 'dead-letter.jsonl');
  const letters = new DeadLetterFile(file, () => Date.parse('2026-11-21T03:15:00.000Z'), maxBytes);
  const read = (name = file) =>
    readFileSync(name, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
  return { letters, file, read };
}

test('one line per incident, with time, sink and reason, for its owner only', async (t) => {
  const { letters, file, read } = deadLetters(t);
  await letters.add([{ sink: 'kafka', reason: 'too large', incident: containerKill() }]);
  await letters.add([{ sink: 'es', reason: '400', incident: containerKill() }]);
  assert.deepEqual(read(), [
    { time: '2026-11-21T03:15:00.000Z', sink: 'kafka', reason: 'too large', incident: containerKill() },
    { time: '2026-11-21T03:15:00.000Z', sink: 'es', reason: '400', incident: containerKill() },
  ]);
  assert.equal(statSync(file).mode & 0o777, 0o600);
});

test('hostile incidents stay one line each', async (t) => {
  const { letters, file, read } = deadLetters(t);
  const kills = hostileKills();
  await letters.add(kills.map(({ incident }) => ({ sink: 's', reason: 'r', incident })));
  assert.equal(read().length, kills.length);
  assert.equal((await readlineLines(readFileSync(file, 'utf8'))).length, kills.length);
});

test('a pipe in its place that nobody reads is an error and holds nobody up', async (t) => {
  const { letters, file } = deadLetters(t);
  execFileSync('mkfifo', [file]);
  const added = letters.add([{ sink: 's', reason: 'r', incident: containerKill() }]);
  await assert.rejects(added, { code: 'ENXIO' });
});

test('half a letter, as a full disk leaves it, does not take the next one with it', async (t) => {
  const { letters, file } = deadLetters(t);
  writeFileSync(file, '{"time":"2026-11-21T03:15:00.000Z","sink":"kaf');
  await letters.add([{ sink: 'es', reason: '400', incident: containerKill() }]);
  const [, next, end] = readFileSync(file, 'utf8').split('\n');
  assert.equal(JSON.parse(next ?? '').sink, 'es');
  assert.equal(end, '');
});

test('it is bounded: one full file and one before it, whoever writes at the same time', async (t) => {
  const { letters, file, read } = deadLetters(t, 40_000);
  await Promise.all(storm(100, 1).map(({ incident }) => letters.add([{ sink: 's', reason: 'r', incident }])));
  assert.ok(statSync(file).size <= 40_000 && statSync(`${file}.1`).size <= 40_000);
  const ids = [...read(`${file}.1`), ...read()].map(({ incident }) => incident.id);
  assert.deepEqual(
    ids,
    storm(100, 1)
      .map(({ incident }) => incident.id)
      .slice(-ids.length),
  );
});

test('a failure is told, and the next one is written', async (t) => {
  const { letters, file, read } = deadLetters(t);
  mkdirSync(file);
  await assert.rejects(letters.add([{ sink: 's', reason: 'r', incident: containerKill() }]), {
    code: 'EISDIR',
  });
  rmdirSync(file);
  await letters.add([{ sink: 's', reason: 'r', incident: containerKill() }]);
  assert.equal(read().length, 1);
});
