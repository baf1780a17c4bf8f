/** What a real API server cannot be made to show. */
import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import type { ApiError, KubernetesApi } from '../../src/kubernetes/api.ts';
import { type ConnectOptions, connect } from '../../src/kubernetes/connection.ts';
import { PATIENCE_MS } from '../patience.ts';
import { ApiDouble, type Fault } from './api-double.ts';
import type { ApiObject } from './object-store.ts';

const PODS = '/api/v1/namespaces/a/pods';

async function setUp(
  t: TestContext,
  options: ConnectOptions = {},
): Promise<{ double: ApiDouble; api: KubernetesApi }> {
  const double = await ApiDouble.start(t);
  double.put(`${PODS}/a`, {});
  const api = await connect({ kubeconfig: double.kubeconfig(), ...options });
  t.after(() => api.close());
  return { double, api };
}

async function errorOf(work: Promise<unknown>): Promise<ApiError> {
  try {
    await work;
  } catch (error) {
    assert.equal((error as Error).name, 'ApiError', String(error));
    return error as ApiError;
  }
  assert.fail('no error');
}

const list = (api: KubernetesApi, selection = {}) => Array.fromAsync(api.list<ApiObject>(PODS, selection));

describe('an answer that cannot be right', { timeout: PATIENCE_MS }, () => {
  const answers: readonly (readonly [what: string, body: string])[] = [
    ['no JSON', '<html>login</html>'],
    ['cut off', '{"metadata":{"name":"a"'],
    ['empty', ''],
    ['a list', '[]'],
    ['null', 'null'],
    ['longer than allowed', JSON.stringify({ x: 'x'.repeat(3000) })],
  ];
  for (const [what, body] of answers)
    it(`of one object is an error: ${what}`, async (t) => {
      const { double, api } = await setUp(t, { answerLimit: 2000 });
      double.fail(/pods/, { kind: 'raw', body });
      const error = await errorOf(api.get(`${PODS}/a`));
      assert.deepEqual([error.status, error.reason], [200, 'BadAnswer'], error.message);
      assert.ok(error.message.length < 600);
      assert.equal((await api.get<ApiObject>(`${PODS}/a`)).metadata.name, 'a');
    });

  it('of one object is an error: it changes to another protocol', async (t) => {
    const { double, api } = await setUp(t);
    const headers = { connection: 'upgrade', upgrade: 'x' };
    double.fail(/pods/, { kind: 'raw', status: 101, headers, body: '' });
    assert.match((await errorOf(api.get(`${PODS}/a`))).message, /ended without an answer/);
    assert.equal((await api.get<ApiObject>(`${PODS}/a`)).metadata.name, 'a');
  });

  const lists: readonly (readonly [what: string, body: string])[] = [
    ['no list', '{"metadata":{"resourceVersion":"1"},"items":{}}'],
    ['no version', '{"metadata":{},"items":[]}'],
    ['an empty version', '{"metadata":{"resourceVersion":""},"items":[]}'],
    ['a version of another type', '{"metadata":{"resourceVersion":1},"items":[{}]}'],
    ['metadata of another type', '{"metadata":[],"items":[]}'],
    ['cut off', '{"metadata":{"resourceVersion":"1"},"items":[{}'],
    ['a long item', `{"metadata":{"resourceVersion":"1"},"items":["${'x'.repeat(1500)}"]}`],
    [
      'longer than allowed',
      `{"metadata":{"resourceVersion":"1"},"items":[${Array(100).fill('{"a":"long enough"}')}]}`,
    ],
  ];
  for (const [what, body] of lists)
    it(`of a list is an error: ${what}`, async (t) => {
      const { double, api } = await setUp(t, { answerLimit: 1800, lineLimit: 1000 });
      double.fail(/pods/, { kind: 'raw', body });
      assert.equal((await errorOf(list(api))).reason, 'BadAnswer');
    });

  it('keeps the objects among the items, also where the version comes after them', async (t) => {
    const { double, api } = await setUp(t);
    const items = [{ a: 1 }, null, 'x', [], 7, { b: 2 }];
    double.fail(/pods/, { kind: 'raw', body: JSON.stringify({ items, metadata: { resourceVersion: '5' } }) });
    assert.deepEqual(await list(api), [{ items: [{ a: 1 }, { b: 2 }], resourceVersion: '5' }]);
    double.fail(/pods/, { kind: 'raw', body: '{"metadata":{"resourceVersion":"6"},"items":null}' });
    assert.deepEqual(await list(api), [{ items: [], resourceVersion: '6' }]);
  });

  it('does not follow pages in a circle', async (t) => {
    const { double, api } = await setUp(t);
    const body = '{"metadata":{"resourceVersion":"5","continue":"next"},"items":[]}';
    double.fail(/pods/, { kind: 'raw', body }, 5);
    assert.match((await errorOf(list(api))).message, /a page that follows itself/);
    assert.equal(double.requests.length, 2);
  });
});

describe('a refusal', { timeout: PATIENCE_MS }, () => {
  const refuse = async (t: TestContext, fault: Fault): Promise<ApiError> => {
    const { double, api } = await setUp(t);
    double.fail(/pods/, fault);
    return errorOf(api.get(`${PODS}/a`));
  };

  it("has the API's words, in one line without what acts in a terminal", async (t) => {
    const message = `no\n\u001b[2J ${'x'.repeat(2000)}`;
    const error = await refuse(t, { kind: 'status', status: 403, reason: 'Forbidden', message });
    assert.deepEqual([error.status, error.reason, error.retryAfterMs], [403, 'Forbidden', undefined]);
    assert.match(error.message, /^403 no \\x1b\[2J xxx/);
    assert.ok(error.message.length <= 500);
  });

  it('has the wish of the server, by the header or by its words', async (t) => {
    const headers = { 'retry-after': '3' };
    const error = await refuse(t, { kind: 'status', status: 429, reason: 'TooManyRequests', headers });
    assert.deepEqual([error.status, error.retryAfterMs], [429, 3000]);
    const body = JSON.stringify({ kind: 'Status', code: 504, details: { retryAfterSeconds: 1 } });
    assert.equal((await refuse(t, { kind: 'raw', status: 504, body })).retryAfterMs, 1000);
    // A timer that is asked to wait for longer than 25 days does not wait at all.
    const century = JSON.stringify({ kind: 'Status', code: 504, details: { retryAfterSeconds: 4e9 } });
    assert.equal((await refuse(t, { kind: 'raw', status: 504, body: century })).retryAfterMs, 3_600_000);
    assert.equal(
      (
        await refuse(t, {
          kind: 'raw',
          status: 503,
          body: '{"kind":"Status","details":{"retryAfterSeconds":"x"}}',
        })
      ).retryAfterMs,
      undefined,
    );
  });

  it('may come from what stands in between', async (t) => {
    const error = await refuse(t, { kind: 'raw', status: 502, body: '<h1>Bad\nGateway</h1>' });
    assert.deepEqual(
      [error.status, error.reason, error.message],
      [502, 'Http502', '502 Bad Gateway: <h1>Bad Gateway</h1>'],
    );
    const moved = await refuse(t, {
      kind: 'raw',
      status: 302,
      body: '',
      headers: { location: 'https://elsewhere/' },
    });
    assert.equal(moved.status, 302);
    const endless = await refuse(t, { kind: 'raw', status: 500, body: 'x'.repeat(1 << 20) });
    assert.equal(endless.status, 500);
  });
});

describe('a connection', { timeout: PATIENCE_MS }, () => {
  it('is kept: a watch has one, and all other requests share one', async (t) => {
    const { double, api } = await setUp(t);
    const stop = new AbortController();
    const selection = { resourceVersion: '1001', bookmarks: true } as const;
    const watch = api.watch(PODS, selection, stop.signal)[Symbol.asyncIterator]();
    const opened = double.nextWatch();
    const first = watch.next();
    await opened;
    for (let count = 0; count < 20; count++) await api.get(`${PODS}/a`);
    for (let count = 0; count < 5; count++) await list(api);
    assert.equal(double.connections, 2);
    stop.abort(new Error('over'));
    await assert.rejects(first, /^Error: over$/);
  });

  it('of a watch goes with it: the next one may meet another API server behind the same address', async (t) => {
    const { double, api } = await setUp(t);
    await list(api);
    for (let time = 1; time <= 3; time++) {
      const opened = double.nextWatch();
      const selection = { resourceVersion: '1001', bookmarks: true } as const;
      const watching = Array.fromAsync(api.watch(PODS, selection, t.signal));
      await opened;
      double.endWatches();
      await watching;
      assert.equal(double.connections, time);
    }
  });

  it('that was kept and is closed meanwhile costs no error, where asking twice does no harm', async (t) => {
    const { double, api } = await setUp(t);
    await api.get(`${PODS}/a`);
    double.fail(/GET/, { kind: 'reset' });
    await api.get(`${PODS}/a`);
    double.fail(/POST/, { kind: 'reset' });
    const error = await errorOf(api.create(PODS, { metadata: { name: 'b' } }));
    assert.deepEqual([error.status, error.reason], [0, 'ECONNRESET']);
  });

  it('on which nothing comes is given up', async (t) => {
    for (const kind of ['hang', 'mute'] as const) {
      const { double, api } = await setUp(t, { timeoutMs: 300 });
      double.fail(/pods/, { kind }, Number.POSITIVE_INFINITY);
      assert.deepEqual(failureOf(await errorOf(api.get(`${PODS}/a`))), [0, 'Timeout']);
      assert.deepEqual(failureOf(await errorOf(list(api))), [0, 'Timeout']);
    }
    const { double, api } = await setUp(t, { watchMs: 1000, graceMs: 50, random: () => 0 });
    double.fail(/watch/, { kind: 'mute' });
    const watch = api.watch(PODS, { resourceVersion: '1001', bookmarks: true }, t.signal);
    const error = await errorOf(Array.fromAsync(watch));
    assert.match(error.message, /silent for 1\.05 s$/);
  });

  it('with bookmarks that stop is given up earlier', async (t) => {
    const { double, api } = await setUp(t, { bookmarkMs: 100 });
    const selection = { resourceVersion: '1001', bookmarks: true } as const;
    const opened = double.nextWatch();
    const events = Array.fromAsync(api.watch(PODS, selection, t.signal));
    await opened;
    double.sendBookmarks();
    assert.match((await errorOf(events)).message, /silent for 0\.1 s$/);
  });

  it('is closed with an answer that nobody reads to its end', async (t) => {
    const { double, api } = await setUp(t);
    const selection = { resourceVersion: '1001', bookmarks: true } as const;
    const opened = () => {
      throw new Error('not wanted');
    };
    await assert.rejects(Array.fromAsync(api.watch(PODS, { ...selection, opened }, t.signal)), /not wanted/);
    await double.closed();
    double.fail(/pods/, { kind: 'raw', status: 500, body: 'x'.repeat(1 << 20) });
    await errorOf(api.get(`${PODS}/a`));
    await double.closed();
  });

  it('that cannot be made is an error with the reason of the system', async (t) => {
    const { double, api } = await setUp(t);
    await double.down();
    assert.deepEqual(failureOf(await errorOf(api.get(`${PODS}/a`))), [0, 'ECONNREFUSED']);
  });

  it('to somebody whose certificate is not signed by our authority is none', async (t) => {
    const { double } = await setUp(t);
    const cluster = { 'certificate-authority': double.certificates.strangerCa };
    const api = await connect({ kubeconfig: double.kubeconfig(undefined, cluster) });
    t.after(() => api.close());
    const error = await errorOf(api.get(`${PODS}/a`));
    assert.equal(error.status, 0);
    assert.match(error.message, /certificate/);
    assert.equal(double.requests.length, 0);
  });
});

describe('a token', { timeout: PATIENCE_MS }, () => {
  it('that has expired is read anew, once, whatever was asked', async (t) => {
    const { double } = await setUp(t);
    const tokenFile = join(double.certificates.folder, 'token');
    writeFileSync(tokenFile, 'first-token\n');
    const api = await connect({ kubeconfig: double.kubeconfig({ tokenFile }) });
    t.after(() => api.close());
    await api.get(`${PODS}/a`);
    const rotate = (token: string) => {
      double.tokens.clear();
      double.tokens.add(token);
      writeFileSync(tokenFile, token);
    };
    rotate('second-token');
    const before = double.requests.length;
    // Together: one of them reads it for all.
    await Promise.all([api.get(`${PODS}/a`), api.create(PODS, { metadata: { name: 'b' } }), list(api)]);
    assert.ok(double.requests.length - before <= 6);
    rotate('third-token');
    const opened = double.nextWatch();
    const stop = new AbortController();
    const selection = { resourceVersion: '1001', bookmarks: true } as const;
    const watch = Array.fromAsync(api.watch(PODS, selection, stop.signal));
    await opened;
    stop.abort(new Error('over'));
    await assert.rejects(watch, /^Error: over$/);
    double.tokens.clear();
    assert.deepEqual(failureOf(await errorOf(api.get(`${PODS}/a`))), [401, 'Unauthorized']);
    rmSync(tokenFile);
    const error = await errorOf(api.get(`${PODS}/a`));
    assert.deepEqual(failureOf(error), [0, 'Credentials']);
    assert.match(error.message, /^--kubeconfig: ENOENT.*token/);
  });
});

function failureOf({ status, reason }: ApiError): [number, string] {
  return [status, reason];
}
