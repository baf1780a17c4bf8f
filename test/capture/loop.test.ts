import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { Counters } from '../../src/capture/counters.ts';
import { CaptureLoop } from '../../src/capture/loop.ts';
import type { CaptureMessage } from '../../src/capture/protocol.ts';
import { DEFAULT_PATHS } from '../../src/host.ts';
import type { KillSource, Sighting, Told } from '../../src/watch/kill-source.ts';
import { FakeProc } from '../fake-proc.ts';
import { captureOptions } from './capture-options.ts';

const HOST = { name: 'node-7', boot_id: 'boot-1', kernel: '6.12.9', arch: 'amd64' };

function sighting(pid: number, raw: readonly string[] = ['a line']): Sighting {
  return {
    report: {
      firstSequence: pid,
      lastSequence: pid,
      oom: { scope: 'cgroup', group_kill: false, header_seen: true },
      victims: [{ pid, name: 'java', sequence: pid }],
      unknown: {},
      raw,
    },
    id: `boot-1:${pid}`,
    witness: 'kmsg',
    host: HOST,
    killedAt: 1_000,
    wallTime: 1_700_000_000_000,
    missed: false,
  };
}

/** What the loop hands over, as the main thread receives it, for a source that tells this, turn by turn, and then stops the loop. */
function run(t: TestContext, turns: readonly (() => Told | undefined)[]) {
  const stop = new Int32Array(new SharedArrayBuffer(4));
  const counters = new Counters();
  const messages: CaptureMessage[] = [];
  const left = [...turns];
  const source: KillSource = {
    open: () => ({ works: true }),
    fds: [],
    foreignFds: [],
    replay: () => {},
    read: () => {},
    understand: () => {},
    tell: () => {
      const turn = left.shift();
      if (left.length === 0) stop[0] = 1;
      return turn?.();
    },
    dueAt: 0,
    end: () => {},
    place: { sequence: 99 },
    close: () => {},
  };
  const proc = new FakeProc(t);
  const options = {
    ...captureOptions({ paths: { ...DEFAULT_PATHS, proc: proc.root } }),
    stop,
    counters: counters.shared,
  };
  const loop = new CaptureLoop(
    options,
    { missing: 'no node:ffi here' },
    (message) => messages.push(structuredClone(message)),
    () => source,
  );
  loop.meetProcesses();
  let failure: unknown;
  try {
    loop.run({ after: undefined, keepsJournal: false });
  } catch (error) {
    failure = error;
  }
  const witnessed = messages
    .filter((message) => message.type === 'witnessed')
    .map(({ incidents, place }) => [incidents.map(({ id }) => id), place]);
  const untold = messages.filter((message) => message.type === 'untold').map(({ where }) => where);
  const hasStopped = messages.some(({ type }) => type === 'stopped');
  return { witnessed, untold, counted: counters.get('untold'), hasStopped, failure };
}

describe('a kill that by a mistake of ours', () => {
  it('cannot be identified costs none of those around it, and is said', (t) => {
    const broken = { ...sighting(8), wallTime: Number.NaN };
    const { witnessed, untold, counted, hasStopped } = run(t, [
      () => ({ sightings: [sighting(7), broken, sighting(9)], noVictims: [], place: { sequence: 9 } }),
    ]);
    assert.deepEqual(witnessed, [[['boot-1:7', 'boot-1:9'], { sequence: 9 }]]);
    assert.deepEqual([untold, counted, hasStopped], [['boot-1:8'], 1, true]);
  });

  it('holds what cannot be handed to another thread costs none of those around it, and is said', (t) => {
    const broken = sighting(8, [(() => {}) as unknown as string]);
    const { witnessed, untold, counted, hasStopped } = run(t, [
      () => ({ sightings: [sighting(7), broken, sighting(9)], noVictims: [], place: { sequence: 9 } }),
    ]);
    assert.deepEqual(witnessed, [[['boot-1:7', 'boot-1:9'], { sequence: 9 }]]);
    assert.deepEqual([untold, counted, hasStopped], [['boot-1:8'], 1, true]);
  });
});

it('a loop that fails tells no place: what it had not told is read again by the thread that follows', (t) => {
  const { witnessed, hasStopped, failure } = run(t, [
    () => ({ sightings: [sighting(7)], noVictims: [], place: { sequence: 7 } }),
    () => {
      throw new Error('a mistake');
    },
    () => undefined,
  ]);
  assert.deepEqual(witnessed, [[['boot-1:7'], { sequence: 7 }]]);
  assert.deepEqual([(failure as Error).message, hasStopped], ['a mistake', false]);
});
