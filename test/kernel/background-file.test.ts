import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, constants, openSync, readFileSync, readSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { BackgroundFile } from '../../src/kernel/background-file.ts';
import { BackgroundIo } from '../../src/kernel/background-io.ts';
import { temporaryFolder } from '../temporary-folder.ts';

const io = BackgroundIo.load();
const LONG_MS = 60_000;
/** More than a pipe holds. */
const LONG = 'x'.repeat(200_000);

describe('a file that is written in the background', { skip: io === undefined && 'no node:ffi' }, () => {
  it('holds what was written, in that order', (t) => {
    const name = path.join(temporaryFolder(t, 'oom-witness-file'), 'file');
    const file = new BackgroundFile(openSync(name, 'w'), io);
    for (const text of ['one\n', LONG, 'ü\n']) {
      file.write(text);
      assert.equal(file.isWritten(LONG_MS), true);
    }
    file.close();
    assert.equal(readFileSync(name, 'utf8'), `one\n${LONG}ü\n`);
    assert.equal(file.size, 4 + LONG.length + 3);
  });

  it('keeps nobody waiting who does not want to', (t) => {
    const name = path.join(temporaryFolder(t, 'oom-witness-file'), 'pipe');
    execFileSync('mkfifo', [name]);
    const reader = openSync(name, constants.O_RDONLY | constants.O_NONBLOCK);
    t.after(() => closeSync(reader));
    const file = new BackgroundFile(openSync(name, 'w'), io);
    file.write(LONG);
    assert.equal(file.isWritten(1), false);
    assert.equal(file.isWriting, true);
    let text = '';
    const buffer = Buffer.alloc(4096);
    while (text.length < LONG.length)
      try {
        text += buffer.toString('latin1', 0, readSync(reader, buffer));
      } catch (error) {
        assert.equal((error as NodeJS.ErrnoException).code, 'EAGAIN');
      }
    assert.equal(file.isWritten(LONG_MS), true);
    assert.equal(file.isWriting, false);
    assert.equal(text, LONG);
    file.close();
  });

  it('tells what the disk says', () => {
    const file = new BackgroundFile(openSync('/dev/full', 'w'), io);
    file.write('one\n');
    assert.throws(() => file.isWritten(LONG_MS), /ENOSPC/);
    assert.equal(file.isWriting, false);
    file.close();
  });
});
