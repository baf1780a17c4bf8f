import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { HttpPost } from '../../src/net/http-post.ts';
import { until } from '../sinks/contract.ts';
import { Receiver } from '../sinks/receiver.ts';

const NEVER = new AbortController().signal;

test('a server that takes the request and never answers costs a limited time', async (t) => {
  const receiver = await Receiver.start(t, { react: () => 'hang' });
  const post = new HttpPost(new URL(receiver.url), {}, 500);
  t.after(() => post.close());
  await assert.rejects(post.send('{}', {}, NEVER), /no answer within 0.5 s/);
  assert.ok(receiver.requests.length <= 1);
});

test('a server that changes to another protocol has given no answer', async (t) => {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', () =>
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n'),
    );
  });
  t.after(() => server.close());
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const post = new HttpPost(new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`));
  t.after(() => post.close());
  await assert.rejects(post.send('{}', {}, NEVER), /ended without an answer/);
});

test('any status is an answer', async (t) => {
  const receiver = await Receiver.start(t);
  receiver.next({ status: 500, headers: { 'X-Why': 'full' }, body: 'no room' });
  const post = new HttpPost(new URL(receiver.url));
  t.after(() => post.close());
  const { status, statusText, headers, body } = await post.send('{"a":"ä"}', { 'x-id': '7' }, NEVER);

  assert.deepEqual(
    [status, statusText, headers['x-why'], body],
    [500, 'Internal Server Error', 'full', 'no room'],
  );
  assert.equal(receiver.requests[0]!.headers['x-id'], '7');
  assert.equal(receiver.requests[0]!.body, '{"a":"ä"}');
});

test('only the beginning of an answer is kept', async (t) => {
  const receiver = await Receiver.start(t);
  receiver.next({ status: 200, body: 'x'.repeat(1024 * 1024) });
  const post = new HttpPost(new URL(receiver.url));
  t.after(() => post.close());
  assert.equal((await post.send('{}', {}, NEVER)).body, 'x'.repeat(4096));
});

/** Else an incident that was taken would be sent again and again. */
for (const [how, connection] of [
  ['whose body never ends', 'keep-alive'],
  ['that is cut in its body', 'close'],
] as const)
  test(`an answer ${how} is one`, async (t) => {
    const receiver = await Receiver.start(t);
    receiver.next({ status: 200, headers: { 'content-length': '1000', connection }, body: 'ok' });
    const post = new HttpPost(new URL(receiver.url));
    t.after(() => post.close());
    const limit = new AbortController();
    const sending = post.send('{}', {}, limit.signal);
    await until(() => receiver.requests.length === 1, 'the request');
    // By then what the server has said is read, however long a turn takes.
    for (let turn = 0; turn < 10; turn++) await nextTurn();
    limit.abort();
    const { status, body } = await sending;
    assert.deepEqual([status, body], [200, 'ok']);
  });
