import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { identify } from '../../src/capture/identify.ts';
import type { Sighting } from '../../src/watch/kill-source.ts';
import { EPOCH, SIGKILLED, setup } from '../processes/processes.ts';
import { assertValidIncident } from '../validate-incident.ts';

const KILLED_AT = 50_100;

/** The kernel's log says that it has killed this number. */
function killed(pid: number, also: Partial<Sighting> = {}): Sighting {
  return {
    report: {
      firstSequence: 7,
      lastSequence: 9,
      oom: { scope: 'cgroup', group_kill: false, header_seen: true },
      victims: [{ pid, name: 'java', sequence: 9 }],
      unknown: {},
      raw: ['a line'],
    },
    id: 'boot-1:7',
    witness: 'kmsg',
    host: { name: 'node-7', boot_id: 'boot-1', kernel: '6.12.9', arch: 'amd64' },
    killedAt: KILLED_AT,
    wallTime: EPOCH + KILLED_AT,
    missed: false,
    ...also,
  };
}

describe('who was killed', () => {
  it('is whoever had that pid when the kernel killed it', (t) => {
    const { proc, clock, events, lookup } = setup(t);
    proc.set(7, { args: ['java', '-jar', 'shop.jar'], parentPid: 3 });
    events.fork(7, 3, 50_000);
    events.exec(7, 50_001);
    events.exit(7, SIGKILLED, 50_101);
    proc.set(7, { args: ['successor'], parentPid: 3 });
    events.fork(7, 3, 50_102);
    events.exec(7, 50_103);
    clock.now = 50_110;
    const incident = identify(killed(7), lookup, undefined);
    assertValidIncident(incident);
    assert.equal(incident.process.command_line, 'java -jar shop.jar');
    assert.deepEqual(incident.victims[0]?.capture, {
      source: 'exec',
      age_ms: 99,
      truncated: false,
      redacted: 0,
    });
  });

  it('is the process of the thread that the kernel named', (t) => {
    const { proc, clock, events, lookup } = setup(t);
    proc.set(7, { args: ['java', '-jar', 'shop.jar'], parentPid: 3 });
    events.fork(7, 3, 50_000);
    events.exec(7, 50_001);
    proc.set(8, { args: ['java', '-jar', 'shop.jar'], threadGroup: 7 });
    clock.now = 50_110;
    const incident = identify(killed(8), lookup, undefined);
    assert.equal(incident.process.pid, 7);
    assert.equal(incident.process.command_line, 'java -jar shop.jar');
  });

  it('cannot be known of a process that came and went while the agent was down', (t) => {
    const { lookup } = setup(t);
    const missed = identify(killed(7, { missed: true }), lookup, undefined);
    assert.match(missed.unknown?.['process.command_line'] ?? '', /while the agent was down/);
    const seen = identify(killed(7), lookup, undefined);
    assert.match(seen.unknown?.['process.command_line'] ?? '', /nobody read it/);
  });

  it('is nobody of this /proc where its numbers are not those of the log', (t) => {
    const { proc, events, lookup } = setup(t);
    proc.set(7, { args: ['somebody', 'who', 'lives'] });
    events.fork(7, 1, 50_000);
    events.exec(7, 50_001);
    for (const incident of [
      identify(killed(7), lookup, 'other numbers here'),
      identify(killed(7, { stranger: 'other numbers here' }), lookup, undefined),
    ]) {
      assert.equal(incident.process.command_line, undefined);
      assert.equal(incident.unknown?.['process.command_line'], 'other numbers here');
    }
  });
});
