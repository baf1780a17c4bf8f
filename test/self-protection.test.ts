import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { protectSelf } from '../src/self-protection.ts';
import { FakeProc } from './fake-proc.ts';

/** A /proc in which this process has that score. */
function procWith(t: TestContext, score: string, mode = 0o644) {
  const { root } = new FakeProc(t);
  mkdirSync(path.join(root, 'self'));
  const file = path.join(root, 'self/oom_score_adj');
  writeFileSync(file, score, { mode });
  chmodSync(root, 0o755);
  return { root, score: () => readFileSync(file, 'utf8').trim() };
}

/** Calls it as a user who may not write what is read-only; whoever is not root is one. */
function withoutRights<T>(call: () => T): T {
  if (process.geteuid?.() !== 0) return call();
  process.seteuid?.(65_534);
  try {
    return call();
  } finally {
    process.seteuid?.(0);
  }
}

describe('protecting ourselves from the OOM killer', () => {
  it('makes us nearly the last one to be chosen', (t) => {
    for (const before of ['0\n', '1000\n', '-998\n']) {
      const proc = procWith(t, before);
      assert.equal(protectSelf(proc.root), undefined);
      assert.equal(proc.score(), '-999');
    }
  });

  it('leaves what somebody has set lower still', (t) => {
    const proc = procWith(t, '-1000\n');
    assert.equal(protectSelf(proc.root), undefined);
    assert.equal(proc.score(), '-1000');
  });

  it('says which right is missing', (t) => {
    const proc = procWith(t, '0\n', 0o444);
    const said = withoutRights(() => protectSelf(proc.root));
    assert.match(said ?? '', /^lowering oom_score_adj to -999 needs CAP_SYS_RESOURCE: /);
    assert.equal(proc.score(), '0');
  });

  it('says why not where there is no such file', (t) => {
    assert.match(protectSelf(new FakeProc(t).root) ?? '', /^ENOENT: .*oom_score_adj/);
  });
});
