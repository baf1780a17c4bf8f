import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { type ConnectOptions, connect } from '../../src/kubernetes/connection.ts';
import { ListWatch } from '../../src/kubernetes/list-watch.ts';
import { PATIENCE_MS } from '../patience.ts';
import { ApiDouble } from './api-double.ts';
import { NameFollower } from './follower.ts';
import type { ApiObject } from './object-store.ts';

const PODS = '/api/v1/namespaces/a/pods';

interface Running {
  readonly double: ApiDouble;
  readonly follower: NameFollower;
  readonly watch: ListWatch<ApiObject>;
  /** What was asked of the server: `list`, `continue`, `watch VERSION`. */
  asked(): string[];
  /** What the observer was told, and how long was waited. */
  readonly seen: string[];
  readonly waits: number[];
  readonly clock: { now: number };
  stop(): Promise<void>;
}

/** It follows three pods, a to c, and waits no time. A watch is open. */
async function follow(
  t: TestContext,
  prepare: (double: ApiDouble) => void = () => {},
  options: ConnectOptions = {},
): Promise<Running> {
  const double = await ApiDouble.start(t);
  for (const name of ['a', 'b', 'c']) double.put(`${PODS}/${name}`, {});
  prepare(double);
  const api = await connect({ kubeconfig: double.kubeconfig(), pageSize: 2, ...options });
  const follower = new NameFollower();
  const seen: string[] = [];
  const waits: number[] = [];
  const clock = { now: 1000 };
  const observer = {
    listed: (_: string, objects: number) => seen.push(`listed ${objects}`),
    listWatchFailed: (_: string, reason: string, delayMs: number) =>
      seen.push(`failed, ${delayMs}: ${reason}`),
    listWatchOutdated: (_: string, reason: string) => seen.push(`outdated: ${reason}`),
    objectSkipped: (_: string, reason: string) => seen.push(`skipped: ${reason}`),
  };
  const sleep = async (ms: number) => {
    waits.push(ms);
  };
  const tools = { observer, now: () => clock.now, sleep, random: () => 0.5 };
  const watch = new ListWatch<ApiObject>(api, PODS, {}, follower, tools);
  const stopping = new AbortController();
  const synced = follower.next('synced');
  const watched = double.nextWatch();
  const running = watch.run(stopping.signal);
  const stop = async () => {
    stopping.abort();
    await running;
    api.close();
  };
  t.after(stop);
  await synced;
  await watched;
  const asked = () =>
    double.requests.map(({ query }) => {
      if (query.has('watch')) return `watch ${query.get('resourceVersion')}`;
      return query.has('continue') ? 'continue' : 'list';
    });
  return { double, follower, watch, asked, seen, waits, clock, stop };
}

const LIST = ['list', 'continue'];

describe('ListWatch', { timeout: PATIENCE_MS }, () => {
  it('lists page by page, then tells what happens', async (t) => {
    const { double, follower, watch, asked } = await follow(t);
    assert.deepEqual(follower.told, ['began', 'page a b', 'page c', 'synced']);
    const happened = follower.next('deleted b');
    double.put(`${PODS}/d`, {});
    double.put(`${PODS}/a`, {});
    double.put('/api/v1/namespaces/other/pods/a', {});
    double.remove(`${PODS}/b`);
    await happened;
    assert.deepEqual(follower.told.slice(4), ['added d', 'modified a', 'deleted b']);
    assert.deepEqual(asked(), [...LIST, 'watch 1003']);
    assert.deepEqual(watch.status, { synced: true, lastContactAt: 1000, problem: undefined });
  });

  it('goes on after the last event when the connection is cut, without a list', async (t) => {
    const { double, follower, asked, seen } = await follow(t);
    const first = follower.next('added d');
    double.put(`${PODS}/d`, {});
    await first;
    await double.down();
    double.put(`${PODS}/e`, {});
    double.remove(`${PODS}/a`);
    const second = follower.next('deleted a');
    await double.up();
    await second;
    assert.deepEqual(follower.told.slice(4), ['added d', 'added e', 'deleted a']);
    assert.deepEqual([...new Set(asked())], [...LIST, 'watch 1003', 'watch 1004']);
    assert.match(seen[1]!, /^failed, \d+: 127\.0\.0\.1:\d+: /);
  });

  it('goes on after the last bookmark when the server ends the watch, which is no failure', async (t) => {
    const { double, follower, asked, seen, waits } = await follow(t);
    double.put('/api/v1/namespaces/other/pods/x', {});
    double.store.compact();
    const again = double.nextWatch();
    double.sendBookmarks();
    double.endWatches();
    await again;
    const happened = follower.next('added d');
    double.put(`${PODS}/d`, {});
    await happened;
    assert.deepEqual(asked(), [...LIST, 'watch 1003', 'watch 1005']);
    assert.deepEqual([seen, waits], [['listed 3'], [250]]);
  });

  it('lists again when the server has forgotten, and what is gone meanwhile is gone', async (t) => {
    const { double, follower, seen, watch } = await follow(t);
    await double.down();
    double.remove(`${PODS}/a`);
    double.put(`${PODS}/d`, {});
    double.store.compact();
    const again = follower.next('synced');
    await double.up();
    await again;
    assert.deepEqual([...follower.names], ['b', 'c', 'd']);
    assert.ok(
      seen.some((each) => /^outdated: 410 too old resource version/.test(each)),
      seen.join('\n'),
    );
    assert.equal(watch.status.problem, undefined);
  });

  it('begins a list again that the server forgets in the middle', async (t) => {
    const { follower, seen } = await follow(t, (double) =>
      double.fail(/continue=/, { kind: 'status', status: 410, reason: 'Expired' }),
    );
    assert.deepEqual(follower.told, ['began', 'page a b', 'began', 'page a b', 'page c', 'synced']);
    assert.match(seen[0]!, /^failed, 500: 410 /);
  });

  it('waits longer after each failure, and longer than the server wishes', async (t) => {
    const { waits, seen } = await follow(t, (double) => {
      double.fail(/pods/, { kind: 'status', status: 500, reason: 'InternalError' }, 3);
      double.fail(/pods/, { kind: 'status', status: 429, headers: { 'retry-after': '7' } });
      double.fail(/pods/, { kind: 'status', status: 403, reason: 'Forbidden' });
      // The first time on a connection that was kept, which may be chance: that is asked again at once.
      double.fail(/pods/, { kind: 'reset' }, 2);
    });
    assert.deepEqual(waits, [500, 1000, 2000, 10_500, 8000, 16_000]);
    assert.match(
      seen.join('\n'),
      /failed, 8000: 403 as the test wants it\nfailed, 16000: 127\.0\.0\.1:\d+: .*\nlisted 3/,
    );
  });

  it('does not list again, but waits longer, where each watch ends at once', async (t) => {
    const { double, follower, asked, seen } = await follow(t, (double) =>
      double.fail(/watch=1/, { kind: 'raw', body: '' }, 3),
    );
    const happened = follower.next('added d');
    double.put(`${PODS}/d`, {});
    await happened;
    assert.deepEqual(asked(), [...LIST, ...Array(4).fill('watch 1003')]);
    assert.deepEqual(
      seen.slice(1),
      [500, 1000, 2000].map((ms) => `failed, ${ms}: ${PODS}: a watch ended at once`),
    );
  });

  const hostile: readonly (readonly [what: string, line: string])[] = [
    ['broken JSON', '{"type":"ADDED","object":{'],
    ['no object', '[]'],
    ['an unknown type', '{"type":"RENAMED","object":{"metadata":{"resourceVersion":"9"}}}'],
    ['an object of another type', '{"type":"ADDED","object":"pod"}'],
    ['an event without a version', '{"type":"ADDED","object":{"metadata":null}}'],
    ['a version of another type', '{"type":"ADDED","object":{"metadata":{"resourceVersion":7}}}'],
    ['a line without an end', 'x'.repeat(2000)],
  ];
  for (const [what, line] of hostile)
    it(`lists again after ${what}`, async (t) => {
      const { double, follower, seen } = await follow(t, undefined, { lineLimit: 1000 });
      const again = follower.next('synced');
      double.sendToWatches(`${line}\n`);
      await again;
      const happened = follower.next('added e');
      double.put(`${PODS}/e`, {});
      await happened;
      assert.match(seen[1]!, /^outdated: \/api\/v1\/namespaces\/a\/pods: /);
      assert.equal(seen[2], 'listed 3');
    });

  it('goes on with what the follower can take', async (t) => {
    const { double, follower, seen } = await follow(t);
    follower.modified = () => {
      throw new TypeError('no such pod');
    };
    const happened = follower.next('added d');
    double.put(`${PODS}/a`, {});
    double.put(`${PODS}/d`, {});
    await happened;
    assert.deepEqual(seen, ['listed 3', 'skipped: no such pod']);
  });

  it('says what is wrong for as long as it is, and when the server last spoke', async (t) => {
    const { double, follower, watch, clock } = await follow(t);
    await double.down();
    clock.now = 5000;
    const again = follower.next('added e');
    double.put(`${PODS}/e`, {});
    await double.up();
    await again;
    assert.deepEqual(watch.status, { synced: true, lastContactAt: 5000, problem: undefined });
  });

  it('leaves no connection behind when it is stopped', async (t) => {
    const { double, stop } = await follow(t);
    assert.equal(double.watching, 1);
    await stop();
    await double.closed();
    assert.equal(double.watching, 0);
  });
});
