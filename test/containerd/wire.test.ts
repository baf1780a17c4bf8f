import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { containerIn, eventOf, namespacesIn, tasksIn } from '../../src/containerd/messages.ts';
import { Message, textsMessage } from '../../src/containerd/wire.ts';

/** Whoever wrote it by hand knows what it should be: field 1 = 150, field 2 = "testing" (from the format's own documentation). */
const DOCUMENTED = Buffer.from('089601120774657374696e67', 'hex');

describe('the wire format of Protocol Buffers', () => {
  it("is read as the format's documentation has it", () => {
    const message = new Message(DOCUMENTED, [1, 2]);
    assert.equal(message.number(1), 150);
    assert.equal(message.text(2), 'testing');
    assert.equal(message.number(3), 0);
    assert.equal(message.text(3), '');
    assert.equal(message.bytes(3), undefined);
  });

  it('is written as it is read', () => {
    const long = 'ü€'.repeat(100);
    const bytes = textsMessage([
      [1, 'a'],
      [1, long],
      [200, ''],
    ]);
    const message = new Message(bytes, [1, 200]);
    assert.deepEqual(message.repeated(1).map(String), ['a', long]);
    assert.equal(message.text(1), long);
    assert.deepEqual(message.repeated(200).map(String), ['']);
  });

  it('passes over fields of every kind that nobody asked for', () => {
    const others = Buffer.from('09010203040506070815010203042801', 'hex');
    assert.equal(new Message(Buffer.concat([others, DOCUMENTED]), [2]).text(2), 'testing');
    assert.equal(new Message(DOCUMENTED, [2]).number(1), 0);
  });

  it('is refused where it is cut off anywhere within a field, and is never read beyond its end', () => {
    for (let end = 0; end < DOCUMENTED.length; end++) {
      const cut = () => new Message(DOCUMENTED.subarray(0, end), [1, 2]);
      if (end === 0 || end === 3) assert.doesNotThrow(cut);
      else assert.throws(cut, RangeError, String(end));
    }
    // A length of 2^63, a number that never ends, groups (which nobody uses).
    for (const hex of ['0affffffffffffffffff01', '08ffffffffffffffffffff', '0b', '0c', '0f'])
      assert.throws(() => new Message(Buffer.from(hex, 'hex'), [1]), RangeError, hex);
  });
});

function nested(field: number, bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from([field * 8 + 2, bytes.length]), bytes]);
}

function number(field: number, value: number): Buffer {
  return Buffer.from([field * 8, value]);
}

describe('messages of containerd', () => {
  /** 1000 s and 5,000,000 ns after the epoch. */
  const time = Buffer.from('08e80710c096b102', 'hex');

  function envelope(topic: string, event: Buffer): Buffer {
    const any = Buffer.concat([nested(1, Buffer.from('containerd.events.X')), nested(2, event)]);
    return Buffer.concat([
      nested(1, time),
      nested(2, Buffer.from('k8s.io')),
      nested(3, Buffer.from(topic)),
      nested(4, any),
    ]);
  }

  it('tells the exit of the first process from that of another one', () => {
    const exit = (id: string) =>
      Buffer.concat([nested(1, Buffer.from('c1')), nested(2, Buffer.from(id)), number(3, 7), number(4, 9)]);
    const told = { type: 'exit', namespace: 'k8s.io', id: 'c1', at: 1_000_005, pid: 7, exitCode: 9 };
    assert.deepEqual(eventOf(envelope('/tasks/exit', exit('c1'))), { ...told, isFirst: true });
    assert.deepEqual(eventOf(envelope('/tasks/exit', exit('exec-2'))), { ...told, isFirst: false });
  });

  it('knows the topics that it asks for, and no other', () => {
    const id = nested(1, Buffer.from('c1'));
    assert.deepEqual(eventOf(envelope('/tasks/oom', id)), {
      type: 'oom',
      namespace: 'k8s.io',
      id: 'c1',
      at: 1_000_005,
    });
    for (const topic of ['/tasks/paused', 'toString', '__proto__', ''])
      assert.equal(eventOf(envelope(topic, id)), undefined, topic);
    assert.equal(eventOf(Buffer.alloc(0)), undefined);
  });

  it('takes labels for text, whatever they are called', () => {
    const label = (name: string, value: string) =>
      nested(2, Buffer.concat([nested(1, Buffer.from(name)), nested(2, Buffer.from(value))]));
    const container = Buffer.concat([
      nested(1, Buffer.from('c1')),
      label('a', 'b'),
      label('__proto__', 'x'),
      label('', ''),
      nested(3, Buffer.from('redis:7')),
      nested(8, time),
    ]);
    const read = containerIn(nested(1, container))!;
    assert.deepEqual(Object.entries(read.labels), [
      ['a', 'b'],
      ['__proto__', 'x'],
      ['', ''],
    ]);
    assert.deepEqual([read.id, read.image, read.createdAt], ['c1', 'redis:7', 1_000_005]);
    assert.equal(containerIn(Buffer.alloc(0)), undefined);
  });

  it('reads tasks, and an id where older versions put it', () => {
    const task = Buffer.concat([nested(2, Buffer.from('c1')), number(3, 42), number(4, 3), number(9, 127)]);
    assert.deepEqual(tasksIn(nested(1, task)), [
      { containerId: 'c1', pid: 42, state: 'stopped', exitCode: 127, exitedAt: 0 },
    ]);
    assert.deepEqual(tasksIn(Buffer.alloc(0)), []);
    assert.deepEqual(namespacesIn(nested(1, nested(1, Buffer.from('moby')))), ['moby']);
  });
});
