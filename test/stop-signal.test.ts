import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { test } from 'node:test';
import { stopSignal } from '../src/stop-signal.ts';

function signalled() {
  const signals = new EventEmitter();
  const exits: unknown[] = [];
  let seconds = 10;
  const host = {
    on: (name: string, listener: () => void) => signals.on(name, listener),
    exit: (code: number) => exits.push(code),
    uptime: () => seconds,
  };
  const stop = stopSignal(host as unknown as NodeJS.Process);
  const signal = (name: string, at: number) => {
    seconds = at;
    signals.emit(name);
  };
  return { stop, exits, signal };
}

test('a wish that comes twice at once, as Ctrl-C does through npm, is one', () => {
  const { stop, exits, signal } = signalled();
  signal('SIGINT', 20);
  signal('SIGINT', 20.001);
  signal('SIGTERM', 20.4);
  assert.equal(stop.signal.reason, 'SIGINT');
  assert.deepEqual(exits, []);
});

test('one that comes later is another: who sends it does not want to wait', () => {
  const { stop, exits, signal } = signalled();
  signal('SIGTERM', 20);
  signal('SIGINT', 20.6);
  assert.equal(stop.signal.reason, 'SIGTERM');
  assert.deepEqual(exits, [130]);
});
