import assert from 'node:assert/strict';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { GroupKillSettings } from '../../src/capture/group-kill-settings.ts';
import { FakeProc } from '../fake-proc.ts';

const GROUP = 50;
const UNSURE = 5;
const AT_ONCE = 0;

/** A machine with cgroup v2 and these cgroups; the value is that of memory.oom.group. */
function machine(t: TestContext, cgroups: Readonly<Record<string, '0' | '1'>>) {
  const { root } = new FakeProc(t);
  const mount = path.join(root, '1/root/sys/fs/cgroup');
  mkdirSync(mount, { recursive: true });
  writeFileSync(path.join(mount, 'cgroup.controllers'), 'cpu memory pids\n');
  for (const [cgroup, group] of Object.entries(cgroups)) {
    mkdirSync(path.join(mount, cgroup), { recursive: true });
    writeFileSync(path.join(mount, cgroup, 'memory.oom.group'), `${group}\n`);
  }
  return { mount, settings: new GroupKillSettings(root) };
}

describe('how long the kernel must be silent before a kill is told', () => {
  it('is no time at all where one process is killed', (t) => {
    const { settings } = machine(t, { '/a.slice': '0', '/a.slice/b.service': '0' });
    assert.equal(settings.silenceMs('/a.slice/b.service'), AT_ONCE);
  });

  it('is a while where the cgroup is killed whole', (t) => {
    const { settings } = machine(t, { '/a.slice': '0', '/a.slice/b.service': '1' });
    assert.equal(settings.silenceMs('/a.slice/b.service'), GROUP);
    assert.equal(settings.silenceMs('/a.slice'), AT_ONCE);
  });

  it('is a while where any cgroup above it is', (t) => {
    const { settings } = machine(t, { '/pod': '1', '/pod/x': '0', '/pod/x/y': '0' });
    assert.equal(settings.silenceMs('/pod/x/y'), GROUP);
  });

  it('is not another cgroup’s whose name begins alike', (t) => {
    const { settings } = machine(t, { '/pod': '1', '/pod2': '0' });
    assert.equal(settings.silenceMs('/pod2'), AT_ONCE);
  });

  it('is told by the cgroups above where the victim’s own is gone', (t) => {
    const { settings } = machine(t, { '/pod': '1', '/plain': '0' });
    assert.equal(settings.silenceMs('/pod/gone'), GROUP);
    assert.equal(settings.silenceMs('/plain/gone'), AT_ONCE);
  });

  it('is a moment where nothing is known: no cgroup, one that is gone, the root', (t) => {
    const { settings } = machine(t, { '/a.slice': '0' });
    for (const cgroup of [undefined, '/gone/too', '/', ''])
      assert.equal(settings.silenceMs(cgroup), UNSURE, `${cgroup}`);
  });

  it('is what the file says now', (t) => {
    const { mount, settings } = machine(t, { '/a': '0' });
    assert.equal(settings.silenceMs('/a'), AT_ONCE);
    writeFileSync(path.join(mount, 'a/memory.oom.group'), '1\n');
    assert.equal(settings.silenceMs('/a'), GROUP);
    rmSync(path.join(mount, 'a'), { recursive: true });
    assert.equal(settings.silenceMs('/a'), UNSURE);
  });
});
