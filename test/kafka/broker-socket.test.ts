import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { open } from '../../sinks/kafka.ts';
import { BrokerSocket } from '../../src/kafka/broker-socket.ts';
import type { Outcome } from '../../src/sink.ts';
import { storm } from '../incidents.ts';
import { PATIENCE_MS } from '../patience.ts';
import { sinkContext } from '../sinks/context.ts';

async function listen(t: TestContext, serve: (socket: Socket) => void): Promise<number> {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    t.after(() => socket.destroy());
    serve(socket);
  }).listen(0, '127.0.0.1');
  t.after(() => server.close());
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

async function deliverTo(port: number, host = '127.0.0.1'): Promise<Outcome> {
  const settings = {
    brokers: [{ host, port }],
    topic: 'oom',
    clientId: 'oom-witness',
    acks: -1,
  } as const;
  const sink = await open(settings, sinkContext());
  const [outcome] = await sink.deliver(storm(1), new AbortController().signal).finally(() => sink.close());
  return outcome!;
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

const ANSWERS: Readonly<Record<string, Buffer>> = {
  'a web server': Buffer.from('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n'),
  'a length of nothing': int32(0),
  'a length too short for an answer': Buffer.concat([int32(2), Buffer.alloc(2)]),
  'a negative length': int32(-1),
  'a length of 2 GB': int32(2 ** 31 - 1),
  'an answer that is cut off': Buffer.concat([int32(10), int32(0), Buffer.alloc(6)]),
  'an answer to a question that nobody asked': Buffer.concat([int32(8), int32(4711), Buffer.alloc(4)]),
  'an array of 2 billion entries': Buffer.concat([
    int32(14),
    int32(0),
    Buffer.alloc(2),
    int32(2 ** 31 - 1),
    Buffer.alloc(4),
  ]),
};

for (const [what, answer] of Object.entries(ANSWERS))
  test(`${what} in the place of a broker costs a retry, nothing else`, {
    timeout: PATIENCE_MS,
  }, async (t) => {
    const port = await listen(t, (socket) => socket.once('data', () => socket.end(answer)));
    const outcome = await deliverTo(port);
    assert.equal(outcome.kind, 'retry');
    assert.match((outcome as { reason: string }).reason, new RegExp(`127\\.0\\.0\\.1:${port}`));
  });

test('a broker with an IPv6 address is connected to, and called by it', async (t) => {
  let connected = 0;
  const server = createServer((socket) => {
    connected++;
    socket.end(int32(-1));
  }).listen(0, '::1');
  t.after(() => server.close());
  const isThere = await once(server, 'listening').catch(() => undefined);
  if (!isThere) return t.skip('no IPv6 here');
  const { port } = server.address() as AddressInfo;
  const outcome = await deliverTo(port, '::1');
  assert.ok(connected > 0);
  assert.match(
    (outcome as { reason: string }).reason,
    new RegExp(`^\\[::1\\]:${port} does not answer as a Kafka broker`),
  );
});

test('frames come whole, however they were cut on the way', async (t) => {
  const frame = Buffer.concat([int32(6), Buffer.from('answer')]);
  const port = await listen(t, (socket) => {
    socket.setNoDelay();
    for (const byte of Buffer.concat([frame, frame])) socket.write(Buffer.of(byte));
  });
  const socket = new BrokerSocket({ host: '127.0.0.1', port }, undefined, () => {});
  const frames: Buffer[] = [];
  socket.on('data', (data: Buffer) => {
    frames.push(Buffer.from(data));
    if (frames.length === 2) socket.end();
  });
  await once(socket, 'end');
  assert.deepEqual(frames, [frame, frame]);
});

test('what a listener throws ends the connection', async (t) => {
  const port = await listen(t, (socket) => socket.write(int32(0)));
  for (const listener of [
    () => {
      throw new Error('at once');
    },
    async () => {
      throw new Error('later');
    },
  ]) {
    const socket = new BrokerSocket({ host: '127.0.0.1', port }, undefined, () => {});
    const errors: Error[] = [];
    socket.on('error', (error) => errors.push(error));
    socket.on('data', listener);
    await once(socket, 'end').catch(() => once(socket, 'end'));
    assert.equal(errors.length, 1);
  }
});
