import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  closeSync,
  constants,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import * as file from '../../sinks/file.ts';
import type { SinkContext } from '../../src/sink.ts';
import { containerKill, delivery, groupKill, hostileKills, storm, valid } from '../incidents.ts';
import { readlineLines } from '../lines.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import { sinkContext } from './context.ts';
import { testSinkContract, until } from './contract.ts';

const NEVER = new AbortController().signal;

function folder(t: TestContext): string {
  return temporaryFolder(t, 'oom-witness-file');
}

async function opened(t: TestContext, path: string, context: Partial<SinkContext> = {}) {
  const sink = await file.open({ path }, sinkContext(context));
  t.after(() => sink.close());
  return sink;
}

function idsIn(path: string): string[] {
  const lines = readFileSync(path, 'utf8').split('\n');
  assert.equal(lines.pop(), '', 'the last line is finished');
  return lines.map((line) => valid(JSON.parse(line)).id);
}

testSinkContract(
  'file',
  async (t) => {
    const path = join(folder(t), 'incidents.jsonl');
    return {
      open: () => file.open({ path }, sinkContext()),
      openAgainstNothing: () => file.open({ path: join(path, 'below-a-file') }, sinkContext()),
      openAgainstSilence: () => assert.fail('a file is never silent'),
      received: async () => idsIn(path),
    };
  },
  { local: true },
);

test('appends to what is there, readable by owner and group only', async (t) => {
  const path = join(folder(t), 'incidents.jsonl');
  const [first, second] = storm(2);
  for (const each of [first!, second!]) {
    const sink = await opened(t, path);
    await sink.deliver([each], NEVER);
    await sink.close();
  }
  assert.deepEqual(idsIn(path), [first!.incident.id, second!.incident.id]);
  assert.equal(statSync(path).mode & 0o777 & ~0o640, 0);
});

test('hostile incidents stay one line each for every reader, without a control character', async (t) => {
  const path = join(folder(t), 'incidents.jsonl');
  const sink = await opened(t, path);
  await sink.deliver(
    hostileKills().map(({ incident }) => delivery(incident)),
    NEVER,
  );
  const text = readFileSync(path, 'utf8');
  const lines = await readlineLines(text);
  assert.deepEqual(
    lines.map((line) => JSON.parse(line)),
    hostileKills().map(({ incident }) => JSON.parse(JSON.stringify(incident))),
  );
  assert.doesNotMatch(text, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
});

test('a relative path is meant from where the agent was started', () => {
  assert.deepEqual(file.settings({ file: 'incidents.jsonl' }), {
    path: join(process.cwd(), 'incidents.jsonl'),
  });
  assert.equal(file.settings({}), undefined);
});

test('a line left unfinished by a crash does not spoil the next one', async (t) => {
  const path = join(folder(t), 'incidents.jsonl');
  writeFileSync(path, '{"schema":"oom-witness.inc');
  const sink = await opened(t, path);
  await sink.deliver([delivery(containerKill())], NEVER);
  await sink.deliver([delivery(containerKill())], NEVER);

  const [unfinished, ...lines] = readFileSync(path, 'utf8').trimEnd().split('\n');
  assert.equal(unfinished, '{"schema":"oom-witness.inc');
  assert.deepEqual(
    lines.map((line) => valid(JSON.parse(line)).id),
    [containerKill().id, containerKill().id],
  );
});

for (const [how, rotate] of [
  ['renamed', (path: string) => renameSync(path, `${path}.1`)],
  ['removed', (path: string) => unlinkSync(path)],
] as const)
  test(`a file that was ${how} is made anew`, async (t) => {
    const path = join(folder(t), 'incidents.jsonl');
    const sink = await opened(t, path);
    const [before, after] = storm(2);
    await sink.deliver([before!], NEVER);
    rotate(path);
    await sink.deliver([after!], NEVER);
    assert.deepEqual(idsIn(path), [after!.incident.id]);
  });

test('SIGHUP makes the new file at once, without waiting for the next kill', async (t) => {
  const path = join(folder(t), 'incidents.jsonl');
  const listeners = new Set<() => void>();
  const onReopen: SinkContext['onReopen'] = (listener) => {
    listeners.add(listener);
    return () => listeners.delete(listener);
  };
  const sink = await opened(t, path, { onReopen });
  await sink.deliver([delivery(containerKill())], NEVER);
  renameSync(path, `${path}.1`);
  for (const listener of listeners) listener();
  await until(() => statSync(path, { throwIfNoEntry: false }) !== undefined, 'the new file');

  await sink.close();
  assert.equal(listeners.size, 0, 'a closed sink listens no more');
});

test('SIGHUP with an unwritable path is logged and the next delivery tries again', async (t) => {
  const path = join(folder(t), 'absent', 'incidents.jsonl');
  const logged: string[] = [];
  let reopen = () => {};
  const sink = await opened(t, path, {
    onReopen: (listener) => {
      reopen = listener;
      return () => {};
    },
    log: (level, message) => logged.push(`${level}: ${message}`),
  });
  reopen();
  await until(() => logged.length > 0, 'the log line');
  assert.match(logged[0]!, /^warn: cannot reopen .*ENOENT/);
  assert.equal((await sink.deliver([delivery(containerKill())], NEVER))[0]!.kind, 'retry');
});

test('a full disk is a retry that says so', async (t) => {
  const sink = await opened(t, '/dev/full');
  const outcomes = await sink.deliver(storm(2), NEVER);
  assert.equal(outcomes.length, 2);
  for (const outcome of outcomes) {
    assert.equal(outcome.kind, 'retry');
    assert.match(outcome.kind === 'retry' ? outcome.reason : '', /ENOSPC/);
  }
});

test('what is written into a pipe is delivered only when somebody reads it', async (t) => {
  const path = join(folder(t), 'pipe');
  execFileSync('mkfifo', [path]);
  const sink = await opened(t, path);
  const [outcome] = await sink.deliver([delivery(containerKill())], NEVER);
  assert.equal(outcome?.kind, 'retry');
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  t.after(() => closeSync(reader));
  assert.deepEqual(await sink.deliver([delivery(containerKill())], NEVER), [{ kind: 'delivered' }]);
  const line = Buffer.alloc(64 * 1024);
  assert.equal(JSON.parse(line.toString('utf8', 0, readSync(reader, line))).id, containerKill().id);
});

test('a part of a line written before a failure is ended by the next delivery', async (t) => {
  const path = join(folder(t), 'incidents.jsonl');
  const sink = await opened(t, path);
  await sink.deliver([delivery(containerKill())], NEVER);
  await sink.close();
  appendFileSync(path, '{"half":');
  assert.equal((await sink.deliver([delivery(containerKill())], NEVER))[0]!.kind, 'delivered');
  assert.match(readFileSync(path, 'utf8'), /\n\{"half":\n\{"schema"/);
});

test('in the format of oom-notifier each victim is a line', async (t) => {
  const path = join(folder(t), 'events.jsonl');
  const sink = await opened(t, path, { eventFormat: 'oom-notifier' });
  await sink.deliver([delivery(groupKill())], NEVER);
  const events = readFileSync(path, 'utf8').trimEnd().split('\n');
  assert.deepEqual(
    events.map((line) => JSON.parse(line).pid),
    ['4243', '4240', '4251', '4260'],
  );
});
