import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Enricher, type Finder, type Finding } from '../src/enrich.ts';
import type { Incident } from '../src/incident.ts';
import { VirtualTime } from './deliver/virtual-time.ts';
import { containerKill, numbered, valid } from './incidents.ts';

/** As the assembler leaves it: a pod's UID from the cgroup's path and no name. */
function bare(sequence = 1): Incident {
  const { uid } = containerKill().k8s?.pod ?? {};
  return numbered({ ...containerKill(), k8s: { pod: { uid: uid as string } } }, sequence);
}

const NAMED: Finding = {
  identity: { k8s: { namespace: { name: 'web' }, pod: { name: 'shop-1' } } },
  isPartial: false,
};
const MISSING: Finding = { identity: { unknown: { k8s: 'not in the API' } }, isPartial: true };

/** An enricher over a history, with one finder. */
function setup(find: Finder['find'], others: readonly Finder[] = []) {
  const time = new VirtualTime();
  const history = new Map<string, Incident>();
  const happened: string[] = [];
  const transactions: number[] = [];
  const broken = { store: false };
  const say = (what: string) => (incident: Incident) =>
    happened.push(`${what} ${incident.id.split(':')[1]} ${incident.k8s?.pod?.name}`);
  const finder: Finder = { concerns: ({ k8s }) => k8s?.pod?.uid !== undefined && !k8s.pod.name, find };
  const enricher = new Enricher({
    finders: [...others, finder],
    timeoutMs: 2000,
    complete: (completions) => {
      if (broken.store) throw new Error('a mistake in the store');
      transactions.push(completions.length);
      return completions.map(({ id, change }) => {
        const stored = history.get(id);
        if (stored) history.set(id, valid(change(stored)));
        return history.get(id);
      });
    },
    observer: {
      enriched: say('enriched'),
      enrichedLate: say('late'),
      enrichFailed: (_, reason) => happened.push(reason),
    },
    sleep: time.sleep,
  });
  const enrich = (...incidents: readonly Incident[]) => {
    for (const incident of incidents) history.set(incident.id, incident);
    enricher.enrich(incidents);
  };
  return { time, history, happened, transactions, broken, enricher, enrich };
}

/** Answers `finding` when told to, else nothing for as long as it may. */
function slow(finding: Finding, late: Finding = finding) {
  const asked = Promise.withResolvers<void>();
  const find: Finder['find'] = (_, signal) =>
    new Promise((resolve) => {
      void asked.promise.then(() => resolve(late));
      signal.addEventListener('abort', () => resolve(finding));
    });
  return { find, answer: () => asked.resolve() };
}

describe('an incident is completed', () => {
  it('at once where its pod is known', async () => {
    const { time, history, happened, enrich } = setup(async () => NAMED);
    enrich(bare());
    await time.rest();
    assert.deepEqual(happened, ['enriched 1 shop-1']);
    const [incident] = history.values();
    assert.equal(incident?.k8s?.namespace?.name, 'web');
    assert.equal(incident?.k8s?.pod?.uid, bare().k8s?.pod?.uid, 'what the path said stays');
  });

  it('without, with the reason, when nobody knows by the deadline', async () => {
    const { time, history, happened, enrich } = setup(slow(MISSING).find);
    enrich(bare());
    await time.advance(1999);
    assert.deepEqual(happened, []);
    await time.advance(1);
    assert.deepEqual(happened, ['enriched 1 undefined']);
    assert.equal(history.values().next().value?.unknown?.k8s, 'not in the API');
  });

  it('at once and untouched where nobody knows anything of its kind', () => {
    const { time, history, happened, enrich } = setup(() => assert.fail('not asked'));
    enrich(containerKill());
    assert.deepEqual(happened.length, 1);
    assert.equal(time.timers, 0);
    assert.deepEqual(history.get(containerKill().id), containerKill());
  });

  it('not at all by a store that fails: that is said, and ends nothing', async () => {
    const { time, happened, broken, enricher, enrich } = setup(async () => NAMED);
    broken.store = true;
    enrich(bare());
    await time.rest();
    broken.store = false;
    enrich(bare(2));
    await time.rest();
    assert.deepEqual(happened, ['a mistake in the store', 'enriched 2 shop-1']);
    await enricher.close();
  });

  it('once more when the pod is found later, and the reason is taken back', async () => {
    const finder = slow(MISSING, NAMED);
    const { time, history, happened, enrich } = setup(finder.find);
    enrich(bare());
    await time.advance(60_000);
    finder.answer();
    await time.rest();
    assert.deepEqual(happened, ['enriched 1 undefined', 'late 1 shop-1']);
    assert.equal(history.values().next().value?.unknown?.k8s, undefined);
  });

  it('once more by its outline: what most of it is, is not kept for so long', async () => {
    const asked: Incident[] = [];
    const { time, history, happened, enrich } = setup(async (incident) => {
      asked.push(incident);
      return asked.length === 1 ? MISSING : NAMED;
    });
    enrich(bare());
    await time.rest();
    assert.deepEqual(happened, ['enriched 1 undefined', 'late 1 shop-1']);
    const [whole, again] = asked;
    assert.ok(whole?.memory && whole.raw.length > 0);
    const { memory: _, tasks: __, ...rest } = whole;
    assert.deepEqual(again, { ...rest, raw: [] });
    const [stored] = history.values();
    assert.deepEqual([stored?.memory, stored?.raw], [whole.memory, whole.raw]);
  });

  it('never again after ten minutes', async () => {
    const finder = slow(MISSING);
    const { time, happened, enrich } = setup(finder.find);
    enrich(bare());
    await time.advance(602_000);
    assert.equal(time.timers, 0);
    assert.deepEqual(happened, ['enriched 1 undefined']);
  });

  it('without, when the finder fails', async () => {
    const { time, happened, enrich } = setup(() => Promise.reject(new Error('broken')));
    enrich(bare());
    await time.rest();
    assert.deepEqual(happened, ['broken', 'enriched 1 undefined']);
  });

  it('by the others, when one finder fails', async () => {
    const broken: Finder = { concerns: () => true, find: () => Promise.reject(new Error('broken')) };
    const { time, happened, enrich } = setup(async () => NAMED, [broken]);
    enrich(bare());
    await time.rest();
    assert.deepEqual(happened, ['broken', 'enriched 1 shop-1']);
  });

  it('without, a second after the deadline, when a finder does not even end with its signal', async () => {
    const { time, happened, enrich, enricher } = setup(() => new Promise(() => {}));
    enrich(bare(1));
    await time.advance(3000);
    assert.deepEqual(happened.splice(0), ['no answer in time', 'enriched 1 undefined']);
    enrich(bare(2));
    const closed = enricher.close();
    await time.advance(1000);
    await closed;
    assert.deepEqual(happened, ['no answer in time', 'enriched 2 undefined']);
    assert.equal(time.timers, 0);
  });

  it('each by itself: one that is slow does not delay another', async () => {
    const { time, happened, enrich } = setup((incident, signal) =>
      incident.id.endsWith(':1') ? slow(MISSING).find(incident, signal) : Promise.resolve(NAMED),
    );
    enrich(bare(1), bare(2));
    await time.rest();
    assert.deepEqual(happened, ['enriched 2 shop-1']);
  });

  it('with the others that are found at the same time: one deadline and one transaction for all', async () => {
    const { time, happened, transactions, enrich } = setup((incident, signal) =>
      incident.id.endsWith(':1') ? slow(MISSING).find(incident, signal) : Promise.resolve(NAMED),
    );
    enrich(bare(1), bare(2), bare(3));
    assert.equal(time.timers, 1);
    await time.advance(2000);
    assert.deepEqual(happened, ['enriched 2 shop-1', 'enriched 3 shop-1', 'enriched 1 undefined']);
    assert.deepEqual(transactions, [2, 1]);
  });

  it('by the first finder that knows anything', async () => {
    const silent: Finder = { concerns: () => true, find: async () => undefined };
    const stranger: Finder = { concerns: () => false, find: () => assert.fail('not its business') };
    const { time, happened, enrich } = setup(async () => NAMED, [silent, stranger]);
    enrich(bare());
    await time.rest();
    assert.deepEqual(happened, ['enriched 1 shop-1']);
  });

  it('by the first finder that knows all of it: no other is asked', async () => {
    const knows: Finder = { concerns: () => true, find: async () => NAMED };
    const { time, happened, enrich } = setup(() => assert.fail('asked'), [knows]);
    enrich(bare());
    await time.rest();
    assert.deepEqual(happened, ['enriched 1 shop-1']);
  });

  it('by what the first one knows in part, where no other knows all', async () => {
    const knows: Finder = { concerns: () => true, find: async () => ({ ...NAMED, isPartial: true }) };
    const { time, happened, enrich } = setup(async () => MISSING, [knows]);
    enrich(bare());
    await time.rest();
    assert.equal(happened[0], 'enriched 1 shop-1');
  });

  it('later only as far as 256 at a time, so that a flood of unknown ones does not fill the memory', async () => {
    let asked = 0;
    let known = Promise.withResolvers<void>();
    const { time, history, enrich } = setup(async (incident) => {
      asked += 1;
      if (history.get(incident.id)?.unknown?.k8s === undefined) return MISSING;
      await known.promise;
      return NAMED;
    });
    for (const flood of [1, 2]) {
      asked = 0;
      known = Promise.withResolvers();
      enrich(...Array.from({ length: 300 }, (_, index) => bare(flood * 1000 + index)));
      await time.rest();
      assert.equal(asked, 300 + 256);
      known.resolve();
      await time.rest();
    }
  });
});

it('at the end of the agent every incident is completed with what is known', async () => {
  const { enricher, happened, enrich, time } = setup(slow(MISSING).find);
  enrich(bare(1), bare(2));
  await enricher.close();
  assert.deepEqual(happened, ['enriched 1 undefined', 'enriched 2 undefined']);
  assert.equal(time.timers, 0);
});

it('incidents of an earlier run of which nothing is found either are left as they are', async () => {
  const nothing = { identity: { unknown: { k8s: 'the API is not used' } }, isPartial: false };
  const { enricher, happened, history, time } = setup(async () => nothing);
  history.set(bare().id, bare());
  enricher.resume([bare()]);
  await time.rest();
  assert.deepEqual(happened, []);
});

it('incidents of an earlier run are completed when their pods are found, and not told again', async () => {
  const { enricher, happened, history, time } = setup(async () => NAMED);
  history.set(bare().id, bare());
  enricher.resume([bare(), containerKill()]);
  await time.rest();
  assert.deepEqual(happened, ['late 1 shop-1']);
});

it('incidents of an earlier run are left alone when the agent is ending already', async () => {
  const { enricher, happened, history, time } = setup(() => assert.fail('asked'));
  history.set(bare().id, bare());
  await enricher.close();
  enricher.resume([bare()]);
  await time.rest();
  assert.deepEqual(happened, []);
  assert.equal(time.timers, 0);
});
