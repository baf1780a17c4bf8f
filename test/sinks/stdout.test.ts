import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { PassThrough, Writable } from 'node:stream';
import { test } from 'node:test';
import * as v from 'valibot';
import * as stdout from '../../sinks/stdout.ts';
import type { Delivery, SinkContext } from '../../src/sink.ts';
import {
  containerKill,
  delivery,
  groupKill,
  hostileKills,
  numbered,
  storm,
  THIRD,
  valid,
} from '../incidents.ts';
import { readlineLines } from '../lines.ts';
import { sinkContext } from './context.ts';
import { testSinkContract } from './contract.ts';

const NEVER = new AbortController().signal;

/** A terminal or a pipe that keeps what it got; `colours` is what a terminal says of itself. */
function stream({ isTTY = false, columns = 100, colours = false } = {}) {
  const chunks: string[] = [];
  const writable = new Writable({
    write(chunk, _encoding, done) {
      chunks.push(String(chunk));
      done();
    },
  });
  const terminal = isTTY ? { isTTY, columns, hasColors: () => colours } : {};
  return { stdout: Object.assign(writable, terminal) as SinkContext['stdout'], text: () => chunks.join('') };
}

async function print(
  batch: Parameters<Awaited<ReturnType<typeof stdout.open>>['deliver']>[0],
  on: ReturnType<typeof stream>,
  mode?: 'text' | 'json',
) {
  const sink = await stdout.open({ mode }, sinkContext({ stdout: on.stdout }));
  assert.deepEqual(
    await sink.deliver(batch, NEVER),
    batch.map(() => ({ kind: 'delivered' })),
  );
  await sink.close();
  return on.text();
}

testSinkContract(
  'stdout',
  async () => {
    const pipe = stream();
    return {
      open: () => stdout.open({}, sinkContext({ stdout: pipe.stdout })),
      openAgainstNothing: async () => {
        const closed = new PassThrough();
        closed.on('error', () => {});
        closed.destroy(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }));
        return stdout.open({}, sinkContext({ stdout: closed }));
      },
      openAgainstSilence: () => assert.fail('not asked for'),
      received: async () =>
        pipe
          .text()
          .split('\n')
          .filter((line) => line !== '')
          .map((line) => valid(JSON.parse(line)).id),
    };
  },
  { local: true },
);

test('text on a terminal, JSON otherwise, unless it is said', async () => {
  const batch = [delivery(containerKill())];
  assert.match(await print(batch, stream({ isTTY: true })), /OOM KILL {2}web\/shop/);
  assert.match(await print(batch, stream()), /^\{"schema":/);
  assert.match(await print(batch, stream(), 'text'), /OOM KILL {2}web\/shop/);
  assert.match(await print(batch, stream({ isTTY: true }), 'json'), /^\{"schema":/);
});

test('the option takes text, json and off, and absent is the default', () => {
  assert.deepEqual(stdout.settings({}), { mode: undefined });
  assert.deepEqual(stdout.settings({ stdout: 'json' }), { mode: 'json' });
  assert.equal(stdout.settings({ stdout: 'off' }), undefined);
  const { schema } = stdout.options[0]!;
  assert.equal(v.safeParse(schema, 'xml').issues?.[0].message, 'must be one of text, json, off');
});

test('the block fits the terminal', async () => {
  for (const columns of [60, 80, 132]) {
    const text = await print([delivery(groupKill(), THIRD)], stream({ isTTY: true, columns }));
    const [, ...body] = text.trimEnd().split('\n');
    for (const line of body) assert.ok(line.length <= columns, `${columns}: ${line}`);
  }
});

test('colours only where the terminal has them', async () => {
  const batch = [delivery(containerKill())];
  assert.match(await print(batch, stream({ isTTY: true, colours: true })), /\u001b\[1;31mOOM KILL\u001b\[0m/);
  assert.doesNotMatch(await print(batch, stream({ isTTY: true, colours: false })), /\u001b/);
  assert.doesNotMatch(await print(batch, stream(), 'text'), /\u001b/);
});

test('JSON is one incident a line, whole', async () => {
  const lines = (await print(storm(3), stream())).trimEnd().split('\n');
  assert.deepEqual(
    lines.map((line) => JSON.parse(line)),
    storm(3).map(({ incident }) => incident),
  );
});

test('hostile incidents stay one line each for every reader, without a control character', async () => {
  const batch = hostileKills().map(({ incident }) => delivery(incident));
  const text = await print(batch, stream());
  const lines = await readlineLines(text);
  assert.deepEqual(
    lines.map((line) => JSON.parse(line)),
    hostileKills().map(({ incident }) => JSON.parse(JSON.stringify(incident))),
  );
  assert.doesNotMatch(text, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
});

test('earlier kills are not looked up for JSON, which does not tell them: in a storm that is the dearest part', async () => {
  const incident = containerKill();
  const unread: Delivery = {
    incident,
    get recurrence() {
      return assert.fail('looked up');
    },
  };
  assert.deepEqual(JSON.parse(await print([unread], stream())), incident);
});

test('in the format of oom-notifier each victim is a line', async () => {
  const pipe = stream();
  const sink = await stdout.open({}, sinkContext({ stdout: pipe.stdout, eventFormat: 'oom-notifier' }));
  await sink.deliver([delivery(groupKill())], NEVER);
  const events = pipe
    .text()
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.deepEqual(
    events.map(({ pid }) => pid),
    ['4243', '4240', '4251', '4260'],
  );
  assert.deepEqual(Object.keys(events[0]), ['cmdline', 'hostname', 'kernel', 'pid', 'time']);
});

test('a reader that stops holds up delivery, and never more than one batch waits in memory', async () => {
  const taken: (() => void)[] = [];
  const pipe = new Writable({ highWaterMark: 1, write: (_chunk, _encoding, done) => taken.push(done) });
  const sink = await stdout.open({}, sinkContext({ stdout: pipe }));

  for (let sequence = 1; sequence <= 3; sequence++) {
    const abort = new AbortController();
    const pending = sink.deliver([delivery(numbered(containerKill(), sequence))], abort.signal);
    abort.abort();
    assert.equal((await pending)[0]!.kind, 'retry');
  }
  const one = JSON.stringify(containerKill()).length;
  assert.ok(pipe.writableLength < 1.5 * one, `${pipe.writableLength} bytes wait`);

  taken.shift()?.();
  const resumed = sink.deliver([delivery(containerKill())], NEVER);
  await new Promise(setImmediate);
  taken.shift()?.();
  assert.equal((await resumed)[0]!.kind, 'delivered');
  await sink.close();
});

test('a closed pipe is a wish to retry, and the process lives on', async (t) => {
  const program = `
    import { open } from '${new URL('../../sinks/stdout.ts', import.meta.url)}';
    import { storm } from '${new URL('../incidents.ts', import.meta.url)}';
    import { sinkContext } from '${new URL('./context.ts', import.meta.url)}';
    const sink = await open({}, sinkContext({ stdout: process.stdout }));
    process.stdin.once('data', async () => {
      for (let i = 0; i < 3; i++) {
        const [outcome] = await sink.deliver(storm(1), new AbortController().signal);
        process.stderr.write(outcome.kind + ' ' + outcome.reason + '\\n');
      }
      await sink.close();
      process.exit(7);
    });
    process.stderr.write('ready\\n');
  `;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program]);
  t.after(() => child.kill());
  const lines = createInterface({ input: child.stderr })[Symbol.asyncIterator]();
  while ((await lines.next()).value !== 'ready');
  child.stdout.destroy();
  await once(child.stdout, 'close');
  child.stdin.write('go\n');

  const [code] = await once(child, 'exit');
  assert.match((await lines.next()).value ?? '', /^retry stdout: .*EPIPE/);
  assert.match((await lines.next()).value ?? '', /^retry stdout: /);
  assert.equal(code, 7);
});
