import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, openSync, readFileSync, renameSync, writeFileSync, writeSync } from 'node:fs';
import path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { BackgroundIo } from '../../src/kernel/background-io.ts';
import { PatientReader } from '../../src/kernel/patient-reader.ts';
import { temporaryFolder } from '../temporary-folder.ts';

const BRIEF_MS = 1;
const LONG_MS = 60_000;

const io = BackgroundIo.load();
const skip = io === undefined && 'no node:ffi';

function setup(t: TestContext) {
  const folder = temporaryFolder(t, 'oom-witness-patient');
  const reader = new PatientReader(io as BackgroundIo, 16);
  /** It does not answer until something is written into it. */
  const silent = (name: string) => {
    const file = path.join(folder, name);
    execFileSync('mkfifo', [file]);
    const fd = openSync(file, 'r+');
    t.after(() => closeSync(fd));
    return { file, answer: (text: string) => writeSync(fd, text) };
  };
  const written = (name: string, text: string) => {
    const file = path.join(folder, name);
    writeFileSync(file, text);
    return file;
  };
  return { reader, silent, written };
}

describe('reads of files that may not answer', { skip, timeout: 60_000 }, () => {
  it('gives what a file holds, as far as it is asked for', (t) => {
    const { reader, written } = setup(t);
    assert.equal(reader.read(written('a', 'java\0-jar\0'), LONG_MS)?.toString(), 'java\0-jar\0');
    assert.equal(reader.read(written('b', ''), LONG_MS)?.length, 0);
    assert.equal(reader.read(written('c', 'x'.repeat(17)), LONG_MS)?.length, 16);
    assert.equal(reader.read('/proc/0/cmdline'), undefined);
  });

  it('goes on without those that do not answer, and reads them when they do again', async (t) => {
    const { reader, silent, written } = setup(t);
    const { file, answer } = silent('late');
    assert.equal(reader.read(file, BRIEF_MS), undefined);
    assert.equal(reader.read(written('other', 'other'), LONG_MS)?.toString(), 'other');
    renameSync(written('new', 'new'), file);
    assert.equal(reader.read(file, LONG_MS), undefined);
    answer('old');
    let bytes: Buffer | undefined;
    while (bytes === undefined) {
      bytes = reader.read(file, LONG_MS);
      await setImmediate();
    }
    assert.equal(bytes.toString(), 'new');
  });

  it('asks no more when too many do not answer', (t) => {
    const { reader, silent, written } = setup(t);
    const other = written('other', 'other');
    for (let i = 0; i < 48; i++) {
      assert.equal(reader.read(other, LONG_MS)?.toString(), 'other');
      assert.equal(reader.read(silent(String(i)).file, BRIEF_MS), undefined);
    }
    assert.equal(reader.read(other, LONG_MS), undefined);
  });

  it('leaves its name to the thread that asks', (t) => {
    const { reader, written } = setup(t);
    const name = () => readFileSync('/proc/thread-self/comm', 'utf8');
    const before = name();
    reader.read(written('other', 'other'), LONG_MS);
    assert.equal(name(), before);
  });
});
