import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { LEAST_SETTLE_MS, untilRead } from '../../src/syslog/stream.ts';

/** Closes each connection at its first byte, in a thread of its own, and says so. */
const REFUSING = `
  const { parentPort, workerData } = require('node:worker_threads');
  const server = require('node:net').createServer((socket) => {
    socket.once('data', () => socket.end(() => {
      Atomics.store(workerData, 0, 1);
      Atomics.notify(workerData, 0);
    }));
  });
  server.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port));`;

test('a refusal that comes while this process stands still is no acknowledgement', async (t) => {
  const refused = new Int32Array(new SharedArrayBuffer(4));
  const server = new Worker(REFUSING, { eval: true, workerData: refused });
  t.after(() => server.terminate());
  const [port] = await once(server, 'message');
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  t.after(() => socket.destroy());
  await once(socket, 'connect');
  const standStill = async () => {
    // What follows from the write has its turn first.
    for (let turn = 0; turn < 10; turn++) await undefined;
    Atomics.wait(refused, 0, 0);
    // Longer than a refusal is waited for.
    Atomics.wait(refused, 0, 1, 2 * LEAST_SETTLE_MS);
  };
  const write = async () => {
    await new Promise<void>((written) => socket.write('x', () => written()));
    void standStill();
  };
  const reading = untilRead(socket, write, 0, new AbortController().signal);
  await assert.rejects(reading, /closed the connection before it had everything/);
});
