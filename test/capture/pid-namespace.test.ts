import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { foreignPidNamespace } from '../../src/capture/pid-namespace.ts';
import { temporaryFolder } from '../temporary-folder.ts';

const INITIAL = 'pid:[4026531836]';
const CONTAINERS = 'pid:[4026532761]';

/** A /proc in which these processes show their pid namespace. */
function proc(t: TestContext, namespaces: Readonly<Record<string, string>>): string {
  const root = temporaryFolder(t, 'oom-witness-proc');
  for (const [process, namespace] of Object.entries(namespaces)) {
    mkdirSync(path.join(root, process, 'ns'), { recursive: true });
    symlinkSync(namespace, path.join(root, process, 'ns', 'pid'));
  }
  return root;
}

describe('the pid namespace of /proc', () => {
  it('is the one of the kernel’s log on a machine and with hostPID', (t) => {
    assert.equal(foreignPidNamespace(proc(t, { 1: INITIAL, self: INITIAL })), undefined);
  });

  it('is another one in a container, and the mend is named', (t) => {
    assert.match(foreignPidNamespace(proc(t, { 1: CONTAINERS, self: CONTAINERS })) ?? '', /hostPID: true/);
  });

  it('is that of the mount, wherever we are ourselves', (t) => {
    assert.equal(foreignPidNamespace(proc(t, { 1: INITIAL, self: CONTAINERS })), undefined);
  });

  it('is our own where process 1 may not be looked at', (t) => {
    assert.match(foreignPidNamespace(proc(t, { self: CONTAINERS })) ?? '', /hostPID/);
    assert.equal(foreignPidNamespace(proc(t, { self: INITIAL })), undefined);
  });

  it('is taken for the kernel’s where nothing tells', (t) => {
    assert.equal(foreignPidNamespace(proc(t, {})), undefined);
  });
});
