import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Delivery, Outcome, Sink } from '../../src/sink.ts';
import { containerKill, delivery, hostileKills, numbered, storm } from '../incidents.ts';
import { PATIENCE_MS } from '../patience.ts';

/** What a sink's test provides: one destination of its own for each test, cleaned up with `t.after`. */
export interface SinkFixture {
  /** A sink whose destination works. */
  open(): Promise<Sink>;
  /** A sink whose destination refuses connections (or cannot be written). */
  openAgainstNothing(): Promise<Sink>;
  /** A sink whose destination takes connections and never answers. Not asked for with `local`. */
  openAgainstSilence(): Promise<Sink>;
  /** Incident ids that have arrived at the working destination, in order of arrival. */
  received(): Promise<readonly string[]>;
  /** Cuts the connections of the working destination and lets it listen again at the same address. Needed unless `local`. */
  restart?(): Promise<void>;
}

export interface SinkTraits {
  /** It cannot notice that nobody takes what it sends (UDP). */
  readonly datagram?: boolean;
  /** It has no server. */
  readonly local?: boolean;
  /** It makes one message of a large batch, so that not every id arrives. */
  readonly summarises?: boolean;
}

/** Less than the shortest time limit of a sink's own, which is 5 s: it was the signal that ended it. */
export const PROMPT_MS = 4_000;
const LONGEST_TRY_MS = 60_000;
const NEVER = new AbortController().signal;

/** The promises of `Sink` in src/sink.ts, checked against one implementation. */
export function testSinkContract(
  title: string,
  setup: (t: TestContext) => Promise<SinkFixture>,
  traits: SinkTraits = {},
): void {
  const contract = (name: string, run: (t: TestContext, fixture: SinkFixture) => Promise<void>) =>
    test(`${title}: ${name}`, { timeout: PATIENCE_MS }, async (t) => run(t, await setup(t)));

  contract('an incident arrives', async (t, fixture) => {
    const sink = await opened(t, fixture.open());
    await deliverAll(sink, [delivery(containerKill())]);
    await arrived(fixture, [containerKill().id]);
  });

  contract('a batch of 50 arrives in order, with one outcome each', async (t, fixture) => {
    const sink = await opened(t, fixture.open());
    const batch = storm(50);
    await deliverAll(sink, batch);
    if (!traits.summarises)
      await arrived(
        fixture,
        batch.map(({ incident }) => incident.id),
      );
  });

  contract('hostile incidents break neither the sink nor the next incident', async (t, fixture) => {
    const sink = await opened(t, fixture.open());
    for (const [index, { what, incident }] of hostileKills().entries()) {
      const [outcome] = await deliver(sink, [delivery(incident)], NEVER);
      assert.notEqual(outcome!.kind, 'retry', `${what}: ${JSON.stringify(outcome)}`);
      const harmless = numbered(containerKill(), 80_000 + index);
      await deliverAll(sink, [delivery(harmless)]);
      await until(async () => (await fixture.received()).includes(harmless.id), `the incident after ${what}`);
    }
  });

  contract('the same incident is accepted twice', async (t, fixture) => {
    const sink = await opened(t, fixture.open());
    await deliverAll(sink, [delivery(containerKill())]);
    await deliverAll(sink, [delivery(containerKill())]);
    await until(async () => (await fixture.received()).includes(containerKill().id), 'the incident');
  });

  contract('nobody there: a wish to retry, and no harm to the next sink', async (t, fixture) => {
    const lost = await opened(t, fixture.openAgainstNothing());
    const outcomes = await outcomesOrRetry(lost, [delivery(containerKill())], NEVER);
    if (!traits.datagram) assertRetry(outcomes);
    await lost.close();

    const sink = await opened(t, fixture.open());
    await deliverAll(sink, [delivery(containerKill())]);
    await arrived(fixture, [containerKill().id]);
  });

  if (!traits.local) {
    contract('silence: ends when it is told to, as a retry', async (t, fixture) => {
      const sink = await opened(t, fixture.openAgainstSilence());
      const abort = new AbortController();
      const pending = outcomesOrRetry(sink, [delivery(containerKill())], abort.signal);
      await sleep(300); // long enough to be connected and waiting for an answer
      const abortedAt = performance.now();
      abort.abort();
      const outcomes = await pending;
      const took = performance.now() - abortedAt;
      assert.ok(took < PROMPT_MS, `it went on for ${Math.round(took)} ms`);
      if (!traits.datagram) assertRetry(outcomes);
    });

    contract('works on after the server has restarted', async (t, fixture) => {
      assert.ok(fixture.restart, 'the fixture needs restart()');
      const sink = await opened(t, fixture.open());
      const [before, after] = storm(2) as [Delivery, Delivery];
      await deliverAll(sink, [before]);
      await until(async () => (await fixture.received()).includes(before.incident.id), 'the first');
      await fixture.restart();
      // The courier's part: a connection that broke unseen may cost a try.
      await until(
        async () => (await outcomesOrRetry(sink, [after], NEVER))[0]?.kind === 'delivered',
        'a delivery after the restart',
      );
      await until(async () => (await fixture.received()).includes(after.incident.id), 'the second');
    });
  }

  contract('an aborted signal ends it at once', async (t, fixture) => {
    const sink = await opened(t, fixture.open());
    const startedAt = performance.now();
    await outcomesOrRetry(sink, [delivery(containerKill())], AbortSignal.abort());
    assert.ok(performance.now() - startedAt < PROMPT_MS);
  });

  contract('close() may be called twice and leaves nothing behind', async (_t, fixture) => {
    const before = process.getActiveResourcesInfo();
    const sink = await fixture.open();
    await deliverAll(sink, [delivery(containerKill())]);
    await sink.close();
    await sink.close();
    const left = () => leftover(before, process.getActiveResourcesInfo());
    await until(
      () => left().length === 0,
      () => `the end of ${left().join(', ')}`,
    );
  });
}

/** Of a courier's tries, which have more patience each time. */
export function longer(tryMs: number): number {
  return Math.min(2 * tryMs, LONGEST_TRY_MS);
}

/** Waits for a condition; fails with its name when it has not come true in time. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string | (() => string),
  limitMs = PATIENCE_MS,
): Promise<void> {
  const deadline = performance.now() + limitMs;
  while (!(await condition())) {
    if (performance.now() > deadline)
      assert.fail(`waited ${limitMs} ms for ${typeof what === 'string' ? what : what()}`);
    await sleep(10);
  }
}

async function opened(t: TestContext, opening: Promise<Sink>): Promise<Sink> {
  const sink = await opening;
  t.after(() => sink.close());
  return sink;
}

/** `deliver` as the courier calls it: whatever goes wrong must come as a rejected promise, not as an exception. */
async function deliver(
  sink: Sink,
  batch: readonly Delivery[],
  signal: AbortSignal,
): Promise<readonly Outcome[]> {
  let pending: Promise<readonly Outcome[]>;
  try {
    pending = sink.deliver(batch, signal);
  } catch (error) {
    assert.fail(`deliver() threw synchronously: ${error}`);
  }
  const outcomes = await pending;
  assert.equal(outcomes.length, batch.length, 'one outcome for each incident');
  return outcomes;
}

async function outcomesOrRetry(
  sink: Sink,
  batch: readonly Delivery[],
  signal: AbortSignal,
): Promise<readonly Outcome[]> {
  const thrown: readonly Outcome[] = batch.map(() => ({ kind: 'retry', reason: 'it threw' }));
  return deliver(sink, batch, signal).catch((error) => {
    if (error instanceof assert.AssertionError) throw error;
    return thrown;
  });
}

async function deliverAll(sink: Sink, batch: readonly Delivery[]): Promise<void> {
  const outcomes = await deliver(sink, batch, NEVER);
  assert.deepEqual(
    outcomes.filter(({ kind }) => kind !== 'delivered'),
    [],
  );
}

function assertRetry(outcomes: readonly Outcome[]): void {
  for (const outcome of outcomes) {
    assert.equal(outcome.kind, 'retry', JSON.stringify(outcome));
    assert.notEqual(outcome.kind === 'retry' && outcome.reason, '', 'a retry says why');
  }
}

async function arrived(fixture: SinkFixture, ids: readonly string[]): Promise<void> {
  await until(
    async () => (await fixture.received()).length >= ids.length,
    `the arrival of ${ids.length} incidents`,
  );
  assert.deepEqual(await fixture.received(), ids);
}

/** What keeps this process from ending and did not do so before. */
function leftover(before: readonly string[], now: readonly string[]): string[] {
  const known = [...before];
  return now.filter((kind) => {
    const index = known.indexOf(kind);
    if (index >= 0) known.splice(index, 1);
    return index < 0;
  });
}
