import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  Backlog,
  decodeProgress,
  encodeProgress,
  OVERLAP_MS,
  type Progress,
} from '../../src/cluster-watch/backlog.ts';

const START = Date.parse('2026-11-21T03:00:00.000Z');
const MINUTE = 60_000;
const NOTHING: Progress = { since: START, done: new Set() };

/** Two replicas see the same: what one holds of the lease, the other takes over. */
function replicas() {
  const clock = { ms: START };
  const now = () => clock.ms;
  const both = [new Backlog(now), new Backlog(now)] as const;
  const tell = (id: string, at = clock.ms) => both.map((backlog) => backlog.add({ id, at }));
  const ids = (backlog: Backlog<{ id: string; at: number }>, progress = NOTHING) =>
    backlog.left(progress).map(({ id }) => id);
  return { clock, both, tell, ids };
}

describe('who takes over the lease', () => {
  it('delivers what the last holder has not, in order, and nothing twice', () => {
    const { both, tell, ids } = replicas();
    const [first, second] = both;
    for (const id of ['a', 'b', 'c', 'd']) tell(id);
    const delivered = new Set(['a', 'c']);
    const progress = decodeProgress(encodeProgress(first.progress(({ id }) => delivered.has(id))));
    assert.ok(progress);
    assert.deepEqual(ids(second, { ...NOTHING, ...progress }), ['b', 'd']);
  });

  it('delivers what happened while nobody held it', () => {
    const { clock, both, tell, ids } = replicas();
    const [first, second] = both;
    tell('a');
    const progress = first.progress(() => true);
    clock.ms += 15_000;
    tell('b');
    assert.deepEqual(ids(second, { ...NOTHING, ...progress }), ['b']);
  });

  it('leaves what happened before anybody watched', () => {
    const { both, tell, ids } = replicas();
    tell('old', START - 1);
    tell('new', START);
    assert.deepEqual(ids(both[0]), ['new']);
  });
});

describe('the backlog', () => {
  it('takes each once', () => {
    const { tell } = replicas();
    assert.deepEqual(tell('a'), [true, true]);
    assert.deepEqual(tell('a'), [false, false]);
  });

  it('forgets what nobody asks for any more, and keeps at most 5,000', () => {
    const { clock, both, tell, ids } = replicas();
    tell('old');
    clock.ms += OVERLAP_MS + 1;
    tell('new');
    assert.deepEqual(ids(both[0]), ['new']);
    for (let n = 0; n < 6000; n++) tell(`storm-${n}`);
    assert.equal(ids(both[0]).length, 5000);
    assert.equal(ids(both[0]).at(-1), 'storm-5999');
  });

  it('writes all of it into the lease, at most 64 KiB', () => {
    const { both, tell, ids } = replicas();
    for (let n = 0; n < 5000; n++) tell(`storm-${n}`);
    const note = encodeProgress(both[0].progress(() => true));
    assert.ok(note.length < 64 << 10);
    assert.deepEqual(ids(both[1], decodeProgress(note)), []);
  });
});

describe('what stands in the lease is not trusted', () => {
  for (const text of [
    '',
    '{}',
    'null',
    '[]',
    '{"since":"yesterday","done":""}',
    '{"since":"2026-11-21T03:00:00Z","done":7}',
  ])
    it(`${text} is no progress`, () => assert.equal(decodeProgress(text), undefined));

  it('but one of an older holder is', () => {
    const progress = { since: START - 5 * MINUTE, done: new Set(['abcdefghijk', 'lmnopqrstuv']) };
    assert.deepEqual(decodeProgress(encodeProgress(progress)), progress);
  });
});
