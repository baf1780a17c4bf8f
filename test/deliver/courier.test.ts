import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { Couriers } from '../../src/deliver/couriers.ts';
import { DeadLetterFile } from '../../src/deliver/dead-letter.ts';
import { DELIVERED, type Sink } from '../../src/sink.ts';
import { storm } from '../incidents.ts';
import { openStore, stateDir } from '../store/temporary.ts';
import { FakeSink, hangs, isDown, number, SaidByCouriers, takesEverything } from './sinks.ts';
import { VirtualTime } from './virtual-time.ts';

interface Lane {
  readonly sink?: FakeSink;
  readonly batchSize?: number;
  readonly open?: () => Promise<Sink>;
  readonly isOutdated?: () => Promise<boolean>;
}

/** Couriers on a real store, on a clock that stands still, with full jitter that always says "all of it". */
function setup(t: TestContext, lanes: Readonly<Record<string, Lane>>, folder = stateDir(t)) {
  const time = new VirtualTime();
  const { store } = openStore(t, { stateDir: folder, sinks: Object.keys(lanes), now: time.now });
  const observer = new SaidByCouriers();
  const deadLetterPath = path.join(folder, 'dead-letter.jsonl');
  const couriers = new Couriers(
    Object.entries(lanes).map(([name, { sink = new FakeSink(), batchSize, open, isOutdated }]) => ({
      name,
      ...(batchSize && { batchSize }),
      open: open ?? (async () => sink),
      ...(isOutdated && { isOutdated }),
    })),
    {
      store,
      deadLetters: new DeadLetterFile(deadLetterPath, time.now),
      observer,
      now: time.now,
      sleep: time.sleep,
      random: () => 0.999_999_9,
    },
  );
  const commit = (count: number, first = 1) => {
    store.commit(
      storm(count, first).map(({ incident }) => incident),
      undefined,
    );
    couriers.wake();
  };
  t.after(async () => {
    const closed = couriers.close();
    let done = false;
    void closed.then(() => (done = true));
    await time.until(() => done, 'close');
  });
  couriers.start();
  return { time, store, observer, said: observer.said, couriers, commit, folder, deadLetterPath };
}

const numbers = (first: number, last: number) =>
  Array.from({ length: last - first + 1 }, (_, index) => String(first + index));

test('what is committed is delivered in order, in batches of the size that the sink asks for', async (t) => {
  const sink = new FakeSink();
  const { time, store, commit } = setup(t, { kafka: { sink, batchSize: 4 } });
  commit(10);
  await time.until(() => sink.taken.length === 10, 'ten deliveries');
  assert.deepEqual(sink.calls, [numbers(1, 4), numbers(5, 8), numbers(9, 10)]);
  await time.rest();
  assert.deepEqual(store.queue('kafka'), { depth: 0 });
});

test('an idle courier owns no timer; wake() is what makes it look', async (t) => {
  const sink = new FakeSink();
  const { time, store, commit } = setup(t, { kafka: { sink } });
  await time.rest();
  assert.equal(time.timers, 0);
  store.commit([storm(1, 1)[0]!.incident], undefined);
  await time.rest();
  assert.deepEqual(sink.taken, []);
  commit(1, 2);
  await time.rest();
  assert.deepEqual(sink.taken, ['1', '2']);
  assert.equal(time.timers, 0);
});

test('an incident that is held for its enrichment is delivered complete, or incomplete when its time has come', async (t) => {
  const sink = new FakeSink();
  const names: (string | undefined)[] = [];
  sink.answer = async (batch) => {
    names.push(...batch.map(({ incident }) => incident.systemd?.unit));
    return batch.map(() => DELIVERED);
  };
  const { time, store, couriers } = setup(t, { kafka: { sink } });
  const [first, second] = storm(2, 1).map(({ incident }) => incident);
  store.commit([first!], undefined, () => time.now() + 2000);
  couriers.wake();
  await time.rest();
  assert.deepEqual(sink.calls, []);
  store.complete([{ id: first!.id, change: (stored) => ({ ...stored, systemd: { unit: 'shop.service' } }) }]);
  couriers.wake();
  await time.rest();
  assert.deepEqual(names, ['shop.service']);

  store.commit([second!], undefined, () => time.now() + 2000);
  couriers.wake();
  await time.advance(1999);
  assert.equal(sink.calls.length, 1);
  await time.advance(1);
  await time.until(() => sink.calls.length === 2, 'the incomplete one');
});

/** A sink whose settings a test replaces: what it opens is the newest, and throws where that is bad. */
function replaceable(answer?: FakeSink['answer']) {
  const sinks: FakeSink[] = [];
  const files = { changed: false, problem: undefined as string | undefined, looks: 0 };
  return {
    sinks,
    files,
    lane: {
      batchSize: 4,
      open: async () => {
        files.changed = false;
        if (files.problem !== undefined) throw new Error(files.problem);
        sinks.push(new FakeSink(answer));
        return sinks.at(-1)!;
      },
      isOutdated: async () => {
        files.looks += 1;
        return files.changed;
      },
    },
  };
}

test('files that were replaced: the sink is closed and opened with the new ones, when there is something to deliver', async (t) => {
  const { sinks, files, lane } = replaceable();
  const { time, commit, said } = setup(t, { kafka: lane });
  commit(2);
  await time.until(() => sinks[0]?.taken.length === 2, 'the first two');
  await time.rest();
  const looks = files.looks;

  files.changed = true;
  await time.advance(24 * 3_600_000);
  assert.deepEqual(
    [time.timers, files.looks, sinks[0]?.closed],
    [0, looks, 0],
    'an idle courier looks at nothing',
  );

  commit(2, 3);
  await time.until(() => sinks[1]?.taken.length === 2, 'the next two');
  assert.deepEqual([sinks[0]!.taken, sinks[0]!.closed], [['1', '2'], 1]);
  assert.deepEqual(sinks[1]!.taken, ['3', '4']);
  assert.deepEqual(
    said.filter((line) => /opened|renewed/.test(line)),
    ['kafka opened', 'kafka renewed', 'kafka opened'],
  );
});

test('files that are no use for a moment: a failure with its reason, nothing is sent with the old ones, nothing is lost', async (t) => {
  const { sinks, files, lane } = replaceable();
  const { time, store, commit, said } = setup(t, { kafka: lane });
  commit(1);
  await time.until(() => sinks[0]?.taken.length === 1, 'the first');
  files.changed = true;
  files.problem = '--kafka-cert: not usable PEM: key values mismatch';
  commit(3, 2);
  await time.until(() => said.filter((line) => line.includes('not opened')).length === 3, 'three failures');
  assert.match(said.at(-1)!, /^kafka not opened, \d+ ms: --kafka-cert: not usable PEM: key values mismatch$/);
  assert.deepEqual([sinks.length, sinks[0]!.taken, store.queue('kafka').depth], [1, ['1'], 3]);

  files.problem = undefined;
  await time.until(() => sinks[1]?.taken.length === 3, 'the rest');
  assert.deepEqual(sinks[1]!.taken, ['2', '3', '4']);
});

test('what is refused while the files are being replaced is asked again, with the new ones', async (t) => {
  const { sinks, files, lane } = replaceable(async (batch) => {
    const isOld = sinks.length === 1;
    if (isOld) files.changed = true;
    return batch.map(({ incident }) =>
      isOld || number(incident.id) === '2' ? { kind: 'rejected', reason: 'HTTP 404' } : DELIVERED,
    );
  });
  const { time, store, commit, deadLetterPath } = setup(t, { kafka: lane });
  commit(3);
  await time.until(() => store.queue('kafka').depth === 0, 'the end of the queue');
  assert.deepEqual([sinks[0]!.taken, sinks[1]!.taken], [[], ['1', '3']]);
  assert.equal(readFileSync(deadLetterPath, 'utf8').trim().split('\n').length, 1);
});

test('whether files were replaced cannot be found out: the courier says so and can be stopped', async (t) => {
  const { sinks, lane } = replaceable();
  const { time, commit, said, couriers } = setup(t, { kafka: { ...lane, isOutdated: hangs } });
  commit(1);
  await time.until(() => said.some((line) => line.includes('stumbled')), 'a stumble');
  assert.match(
    said.at(-1)!,
    /^kafka stumbled, 1000 ms: it did not stop when told to: no answer within 30 s$/,
  );
  let left: ReadonlyMap<string, number> | undefined;
  void couriers.drain(time.now() + 60_000).then((value) => (left = value));
  await time.until(() => left !== undefined, 'the end');
  assert.deepEqual([...left!, sinks[0]!.taken], [['kafka', 1], []]);
});

test('a sink that is down for minutes: backoff up to a minute, then everything in order, nothing lost, nothing twice', async (t) => {
  const sink = new FakeSink(isDown);
  const { time, commit, said } = setup(t, { kafka: { sink, batchSize: 50 } });
  const start = time.now();
  commit(200);
  await time.until(() => time.now() - start > 10 * 60_000, 'ten minutes');
  const delays = said.flatMap((line) => /retries \d+ in (\d+) ms/.exec(line)?.[1] ?? []).map(Number);
  assert.deepEqual(delays.slice(0, 5), [1000, 2000, 4000, 8000, 16_000]);
  assert.equal(Math.max(...delays), 60_000);
  assert.ok(sink.calls.length < 60, `${sink.calls.length} tries in ten minutes`);
  assert.match(said[1]!, /kafka retries 50 in 1000 ms: connect ECONNREFUSED/);

  sink.answer = takesEverything;
  await time.until(() => sink.taken.length === 200, 'all of them');
  assert.equal(new Set(sink.taken).size, 200);
  const late = sink.taken.filter((id, index) => index > 0 && Number(id) < Number(sink.taken[index - 1]));
  assert.ok(late.length <= 2, `out of order: ${late}`);
});

test('after an outage of any length nothing comes more than two places late', async (t) => {
  for (let failures = 1; failures <= 24; failures++) {
    let left = failures;
    const sink = new FakeSink((batch) => (left-- > 0 ? isDown() : takesEverything(batch)));
    const { time, commit, couriers } = setup(t, { slack: { sink } });
    commit(8);
    await time.until(() => sink.taken.length === 8, 'all of them');
    for (const [index, id] of sink.taken.entries())
      assert.ok(index + 1 - Number(id) <= 2, `after ${failures} failures: ${sink.taken}`);
    await couriers.close();
  }
});

test('after an outage the batches grow back to their size', async (t) => {
  const sink = new FakeSink(isDown);
  const { time, commit } = setup(t, { kafka: { sink, batchSize: 8 } });
  commit(40);
  await time.until(() => sink.calls.length === 3, 'three failures');
  sink.answer = takesEverything;
  await time.until(() => sink.taken.length === 40, 'all of them');
  assert.deepEqual(sink.taken, numbers(1, 40));
  assert.deepEqual(
    sink.calls.slice(3).map(({ length }) => length),
    [1, 2, 4, 8, 8, 8, 8, 1],
  );
});

test('429 with Retry-After: the sink is left alone for as long as it says and up to twice as long, others are not', async (t) => {
  const slack = new FakeSink(async (batch) =>
    batch.map(() => ({ kind: 'retry', reason: '429 Too Many Requests', afterMs: 42_000 })),
  );
  const kafka = new FakeSink();
  const { time, commit, said } = setup(t, { slack: { sink: slack }, kafka: { sink: kafka } });
  commit(1);
  await time.rest();
  slack.answer = takesEverything;
  assert.ok(said.includes('slack retries 1 in 84000 ms: 429 Too Many Requests'), said.join('\n'));
  commit(1, 2);
  await time.advance(83_999);
  assert.deepEqual(slack.calls, [['1']]);
  assert.deepEqual(kafka.taken, ['1', '2']);
  await time.advance(1);
  await time.until(() => slack.taken.length === 2, 'both');
  assert.deepEqual(slack.taken, ['1', '2']);
});

test('a server that wishes to be left alone for a week is asked again after an hour', async (t) => {
  const sink = new FakeSink(async (batch) =>
    batch.map(() => ({ kind: 'retry', reason: '503', afterMs: 7 * 86_400_000 })),
  );
  const { time, commit } = setup(t, { slack: { sink } });
  commit(1);
  await time.advance(3_599_000);
  assert.equal(sink.calls.length, 1);
  await time.advance(2000);
  await time.rest();
  assert.equal(sink.calls.length, 2);
});

test('a sink that hangs, deaf to its signal, is replaced, and no other sink notices', async (t) => {
  const deaf = new FakeSink(hangs);
  const fresh = new FakeSink();
  const kafka = new FakeSink();
  const opened = [deaf, fresh];
  const { time, commit, said } = setup(t, {
    slack: { open: async () => opened.shift()! },
    kafka: { sink: kafka },
  });
  commit(3);
  await time.rest();
  assert.deepEqual(kafka.taken, ['1', '2', '3']);
  assert.deepEqual(deaf.calls, [['1']]);
  await time.until(() => fresh.taken.length === 3, 'the new client');
  assert.equal(deaf.closed, 1);
  assert.ok(
    said.some((line) => /slack retries 1 .*no answer within 30 s/.test(line)),
    said.join('\n'),
  );
});

test('a sink that stops when told to keeps its client, and what it knows counts', async (t) => {
  const sink = new FakeSink(async (batch, signal) => {
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
    return batch.map((_, index) => (index === 0 ? DELIVERED : { kind: 'retry', reason: 'no time' }));
  });
  const { time, store, commit } = setup(t, { kafka: { sink, batchSize: 3 } });
  commit(3);
  await time.until(() => sink.taken.length === 1, 'the first one');
  await time.rest();
  assert.equal(store.queue('kafka').depth, 2);
  assert.equal(sink.closed, 0);
  sink.answer = takesEverything;
  await time.until(() => sink.taken.length === 3, 'the others');
});

test('at the end the sink is let go of, so that nothing of it keeps the process', async (t) => {
  const sink = new FakeSink();
  const { time, couriers, commit } = setup(t, { kafka: { sink } });
  commit(1);
  await time.until(() => sink.taken.length === 1, 'the delivery');
  await couriers.drain(time.now() + 1000);
  assert.equal(sink.closed, 0);
  await couriers.close();
  assert.equal(sink.closed, 1);
});

test('a poisonous incident goes to the dead-letter file with the reason, and the rest is delivered', async (t) => {
  const sink = new FakeSink(async (batch) =>
    batch.map(({ incident }) =>
      number(incident.id) === '2' ? { kind: 'rejected', reason: '400\nmapper_parsing_exception' } : DELIVERED,
    ),
  );
  const { time, store, commit, said, deadLetterPath } = setup(t, { es: { sink, batchSize: 10 } });
  commit(4);
  await time.until(() => store.queue('es').depth === 0, 'an empty queue');
  assert.deepEqual(sink.taken, ['1', '3', '4']);
  assert.deepEqual(sink.calls.length, 1);
  assert.ok(said.includes('es rejected 2: 400 mapper_parsing_exception'), said.join('\n'));
  const [letter] = readFileSync(deadLetterPath, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.deepEqual(
    [letter.time, letter.sink, letter.reason, letter.incident.id],
    [new Date(time.now()).toISOString(), 'es', '400 mapper_parsing_exception', storm(1, 2)[0]!.incident.id],
  );
});

test('a dead-letter file that cannot be written is reported, and the refused incident is not tried for ever', async (t) => {
  const sink = new FakeSink(async (batch) => batch.map(() => ({ kind: 'rejected', reason: 'no' })));
  const folder = stateDir(t);
  const { time, store, observer } = setup(t, { es: {} }, folder);
  await time.rest();
  const lonely = new Couriers([{ name: 'es', open: async () => sink }], {
    store,
    deadLetters: new DeadLetterFile('/proc/no/dead-letter.jsonl', time.now),
    observer,
    now: time.now,
    sleep: time.sleep,
    random: () => 0,
  });
  t.after(() => lonely.close());
  store.commit([storm(1, 1)[0]!.incident], undefined);
  lonely.start();
  await time.until(() => store.queue('es').depth === 0, 'an empty queue');
  assert.match(observer.said.join('\n'), /es lost the letter 1: ENOENT/);
});

test('an incident on which the whole batch throws does not stop the others', async (t) => {
  const sink = new FakeSink(async (batch) => {
    if (batch.some(({ incident }) => number(incident.id) === '3')) throw new Error('cannot serialise');
    return takesEverything(batch);
  });
  const { time, store, commit } = setup(t, { kafka: { sink, batchSize: 100 } });
  const start = time.now();
  commit(300);
  await time.until(() => sink.taken.length === 299, 'all the others');
  assert.ok(time.now() - start < 60_000, `it took ${time.now() - start} ms`);
  assert.equal(new Set(sink.taken).size, 299);
  assert.equal(store.queue('kafka').depth, 1);

  const calls = sink.calls.length;
  const from = time.now();
  await time.until(() => sink.calls.length === calls + 10, 'ten more tries of the suspect');
  assert.ok(time.now() - from > 3 * 60_000, 'it is tried about once a minute');
  assert.deepEqual(sink.calls.at(-1), ['3']);
});

test('a suspect that waits does not delay what comes after it', async (t) => {
  const sink = new FakeSink(async (batch) =>
    batch.map(({ incident }) => (number(incident.id) === '1' ? { kind: 'retry', reason: '500' } : DELIVERED)),
  );
  const { time, commit } = setup(t, { webhook: { sink } });
  commit(3);
  await time.until(() => sink.taken.length === 2, 'the other two');
  await time.advance(10 * 60_000);
  for (let next = 4; next < 24; next++) {
    commit(1, next);
    const from = time.now();
    await time.until(() => sink.taken.at(-1) === String(next), `incident ${next}`);
    assert.equal(time.now() - from, 0, `${next} waited`);
  }
});

test('an answer that leaves an incident out counts as "try again"', async (t) => {
  const sink = new FakeSink(async () => [DELIVERED]);
  const { time, store, commit, said } = setup(t, { kafka: { sink, batchSize: 2 } });
  commit(2);
  await time.until(() => store.queue('kafka').depth === 0, 'both');
  assert.match(said.join('\n'), /retries 1 .*did not say what became of it/);
});

test('open() that fails is told with its reason at start and tried again when there is something to deliver', async (t) => {
  let broken = true;
  const sink = new FakeSink();
  const { time, commit, said } = setup(t, {
    kafka: {
      open: async () => {
        if (broken) throw new Error('--kafka-ca: ENOENT: no such file', { cause: { code: 'ENOENT' } });
        return sink;
      },
    },
  });
  await time.rest();
  assert.match(said[0]!, /^kafka not opened, \d+ ms: --kafka-ca: ENOENT/);
  assert.equal(time.timers, 0);
  commit(1);
  await time.until(() => said.length === 3, 'further tries');
  broken = false;
  await time.until(() => sink.taken.length === 1, 'the delivery');
});

test('drain delivers what is pending and says that nothing is left', async (t) => {
  const sink = new FakeSink();
  const { time, store, couriers } = setup(t, { kafka: { sink, batchSize: 2 } });
  await time.rest();
  store.commit(
    storm(5, 1).map(({ incident }) => incident),
    undefined,
    () => time.now() + 2000,
  );
  const from = time.now();
  assert.deepEqual(await couriers.drain(from + 10_000), new Map([['kafka', 0]]));
  assert.deepEqual(sink.taken, numbers(1, 5), 'also what was held for its enrichment');
  assert.equal(time.now(), from);
});

test('drain tries a sink that is down at once, not past the deadline, and says how many are left', async (t) => {
  const sink = new FakeSink(isDown);
  const good = new FakeSink();
  const { time, commit, couriers } = setup(t, { kafka: { sink }, file: { sink: good } });
  commit(3);
  await time.until(() => sink.calls.length === 8, 'a long pause');
  const from = time.now();
  let left: ReadonlyMap<string, number> | undefined;
  void couriers.drain(from + 5000).then((result) => (left = result));
  await time.rest();
  assert.equal(sink.calls.length, 9, 'one more try at once');
  await time.until(() => left !== undefined, 'the end of drain');
  assert.deepEqual(
    left,
    new Map([
      ['kafka', 3],
      ['file', 0],
    ]),
  );
  assert.equal(
    time.now(),
    from,
    'the next try would come after the deadline, so there is nothing to wait for',
  );
});

test('drain ends at the deadline even if a sink hangs, and its incidents stay in the store', async (t) => {
  const sink = new FakeSink(hangs);
  const { time, store, commit, couriers } = setup(t, { kafka: { sink } });
  commit(2);
  await time.rest();
  const from = time.now();
  let left: ReadonlyMap<string, number> | undefined;
  void couriers.drain(from + 5000).then((result) => (left = result));
  await time.until(() => left !== undefined, 'the end of drain');
  assert.deepEqual(left, new Map([['kafka', 2]]));
  assert.ok(time.now() - from <= 6000, `it took ${time.now() - from} ms`);
  assert.deepEqual(
    store.pending('kafka', 10).map(({ attempts }) => attempts),
    [0, 0],
    'being cut short is no failure',
  );
});

test('a crash between the delivery and its settlement: delivered once more after the restart, then never again', async (t) => {
  const folder = stateDir(t);
  const first = openStore(t, { stateDir: folder, sinks: ['kafka'] });
  first.store.commit(
    storm(3, 1).map(({ incident }) => incident),
    undefined,
  );
  const sink = new FakeSink();
  await sink.deliver(
    first.store.pending('kafka', 10).map(({ delivery }) => delivery),
    new AbortController().signal,
  );
  first.store.close();

  const { time, store } = setup(t, { kafka: { sink, batchSize: 10 } }, folder);
  await time.until(() => store.queue('kafka').depth === 0, 'the restart');
  assert.deepEqual(sink.taken, ['1', '2', '3', '1', '2', '3']);
});
