import assert from 'node:assert/strict';
import { readdirSync, readlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { type KmsgDevice, type KmsgObserver, KmsgReader } from '../../src/kernel/kmsg.ts';
import { temporaryFolder } from '../temporary-folder.ts';

type Answer = string | { readonly errno: string };

const EAGAIN: Answer = { errno: 'EAGAIN' };
const EPIPE: Answer = { errno: 'EPIPE' };

const record = (sequence: number): Answer => `6,${sequence},${sequence * 10},-;record ${sequence}\n`;

const UNHEARD: KmsgObserver = { overrun() {}, lost() {} };

/** A reader of a device that answers one read after the other with these; after them it has nothing. */
function reading(answers: readonly Answer[], after?: number) {
  const left = [...answers];
  const said: string[] = [];
  const source: KmsgDevice = {
    fd: 42,
    read(buffer) {
      const answer = left.shift() ?? EAGAIN;
      if (typeof answer === 'string') return buffer.write(answer, 'latin1');
      throw Object.assign(new Error(`${answer.errno}: read`), { code: answer.errno });
    },
    close: () => said.push('closed'),
  };
  const observer: KmsgObserver = {
    overrun: () => said.push('overrun'),
    lost: (count, sequence) => said.push(`lost ${count} before ${sequence}`),
  };
  const reader = new KmsgReader(source, observer, after);
  const drain = (limit = 100) => reader.drain(({ sequence }) => said.push(`took ${sequence}`), limit);
  return { reader, drain, said, left };
}

describe('reading the kernel’s log', () => {
  it('takes what is there, in order, until there is no more', () => {
    const { reader, drain, said, left } = reading([record(7), record(8), EAGAIN, record(9)]);
    assert.equal(reader.sequence, -1);
    assert.equal(drain(), 'empty');
    assert.deepEqual(said, ['took 7', 'took 8']);
    assert.equal(reader.sequence, 8);
    assert.deepEqual(left, [record(9)]);
    assert.equal(drain(), 'empty');
    assert.deepEqual(said, ['took 7', 'took 8', 'took 9']);
  });

  it('stops at the limit and says that there may be more', () => {
    const { drain, said } = reading([record(1), record(2), record(3)]);
    assert.equal(drain(2), 'more');
    assert.deepEqual(said, ['took 1', 'took 2']);
    assert.equal(drain(2), 'empty');
    assert.deepEqual(said, ['took 1', 'took 2', 'took 3']);
  });

  it('passes over what nobody wants, and keeps its place all the same', () => {
    const { reader, drain, said } = reading([record(7), record(8), record(9), record(11)]);
    assert.equal(reader.passOver(2), 'more');
    assert.equal(reader.sequence, 8);
    drain();
    assert.deepEqual(said, ['took 9', 'lost 1 before 11', 'took 11']);
  });

  it('survives an overrun, counts it, and knows how many records are gone', () => {
    const { drain, said } = reading([record(1), EPIPE, record(12), record(13)]);
    assert.equal(drain(), 'empty');
    assert.deepEqual(said, ['took 1', 'overrun', 'lost 10 before 12', 'took 12', 'took 13']);
  });

  it('counts a gap in the sequence without an overrun too', () => {
    const { drain, said } = reading([record(4), record(6)]);
    drain();
    assert.deepEqual(said, ['took 4', 'lost 1 before 6', 'took 6']);
  });

  it('misses nothing before the first record: where the ring begins is no loss', () => {
    const { drain, said } = reading([record(5_000)]);
    drain();
    assert.deepEqual(said, ['took 5000']);
  });

  it('goes on after the record that an earlier run has dealt with', () => {
    const { reader, drain, said } = reading([record(1), record(2), record(3), record(4)], 2);
    assert.equal(reader.sequence, 2);
    drain();
    assert.deepEqual(said, ['took 3', 'took 4']);
  });

  it('counts what was overwritten while it was not running', () => {
    const { drain, said } = reading([record(10)], 2);
    drain();
    assert.deepEqual(said, ['lost 7 before 10', 'took 10']);
  });

  it('passes over what is no record, and calls none lost for it', () => {
    const { drain, said } = reading([record(1), '\0\xff;;', '6,nine,1,-;x\n', record(2)]);
    assert.equal(drain(), 'empty');
    assert.deepEqual(said, ['took 1', 'took 2']);
  });

  it('reads again when a signal came in between', () => {
    const { drain, said } = reading([{ errno: 'EINTR' }, record(1)]);
    assert.equal(drain(), 'empty');
    assert.deepEqual(said, ['took 1']);
  });

  it('fails with any other error, and with an end, which the real log does not have', () => {
    assert.throws(() => reading([{ errno: 'EINVAL' }]).drain(), { code: 'EINVAL' });
    assert.throws(() => reading(['']).drain(), /kernel log came to an end/);
  });

  it('gives the descriptor to wait on, and closes it', () => {
    const { reader, said } = reading([]);
    assert.equal(reader.fd, 42);
    reader.close();
    assert.deepEqual(said, ['closed']);
  });
});

describe('opening the kernel’s log', () => {
  it('refuses another device in its place', () => {
    assert.throws(() => KmsgReader.open('/dev/null', UNHEARD), {
      message: "/dev/null is not the kernel's log: mount the host's /dev/kmsg",
    });
  });

  it('refuses a file in its place, and leaves it closed', (t) => {
    const file = emptyFile(t);
    assert.throws(() => KmsgReader.open(file, UNHEARD), /kmsg is not the kernel's log: mount/);
    assert.deepEqual(
      openFiles().filter((open) => open === file),
      [],
    );
  });

  it('says what open(2) says where there is nothing', (t) => {
    assert.throws(() => KmsgReader.open(`${emptyFile(t)}-not`, UNHEARD), { code: 'ENOENT' });
  });
});

function emptyFile(t: TestContext): string {
  const folder = temporaryFolder(t, 'oom-witness-kmsg');
  const file = path.join(folder, 'kmsg');
  writeFileSync(file, '');
  return file;
}

function openFiles(): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/self/fd/${fd}`)];
    } catch {
      return []; // The listing's own descriptor.
    }
  });
}
