import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readlinkSync } from 'node:fs';
import path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { Capture, type WatchOptions } from '../../src/capture/capture.ts';
import { Counters } from '../../src/capture/counters.ts';
import { CaptureLoop } from '../../src/capture/loop.ts';
import type { CaptureMessage, Resumption } from '../../src/capture/protocol.ts';
import { DEFAULT_PATHS, readHost } from '../../src/host.ts';
import type { Victim } from '../../src/incident.ts';
import { loadLibc } from '../../src/kernel/libc.ts';
import type { KillSource } from '../../src/watch/kill-source.ts';
import { openKmsg } from '../../src/watch/kmsg.ts';
import { type Cgroup, launch, makeCgroup, victimProgram, whyNoKills } from '../kills/kills.ts';

const skip = whyNoKills() ?? false;

const LIMIT = 16 << 20;

const OPTIONS: WatchOptions = {
  paths: DEFAULT_PATHS,
  host: readHost(DEFAULT_PATHS, undefined),
  logFile: undefined,
  journal: '/nonexistent',
  redact: true,
  redactPatterns: [],
  processRefreshMs: 1_000,
  kernelLogRefreshMs: 1_000,
};

/** As after a start of the agent in another boot: everything that the kernel still holds is told. */
const FROM_THE_START: Resumption = { after: { sequence: -1 }, keepsJournal: false };

function cgroup(t: TestContext): Cgroup {
  const made = makeCgroup(LIMIT);
  t.after(() => made.remove());
  return made;
}

function victim(messages: readonly CaptureMessage[], pid: number): Victim | undefined {
  return messages
    .flatMap((message) => (message.type === 'witnessed' ? message.incidents : []))
    .flatMap(({ victims }) => victims)
    .find(({ process }) => process.pid === pid);
}

describe('between the scan of the processes and the first look at the kernel’s log', { skip }, () => {
  it('who is started and killed is named', async (t) => {
    const messages: CaptureMessage[] = [];
    const failure = Promise.withResolvers<never>();
    const capture = new Capture(OPTIONS, (message) => messages.push(message), failure.reject, undefined);
    t.after(() => capture.stop());
    while (capture.counter('scans') === 0) await Promise.race([sleep(1), failure.promise]);
    /** Whoever is there by now is known. */
    const twoRounds = async () => {
      for (let round = 0; round < 2; round++) {
        const sign = capture.counter('heartbeat');
        while (capture.counter('heartbeat') === sign) await Promise.race([sleep(1), failure.promise]);
      }
    };
    const [killed] = await launch(cgroup(t), { count: 1, until: twoRounds });
    assert.ok(killed);
    assert.equal(victim(messages, killed.pid), undefined);
    capture.resume(FROM_THE_START);
    while (!victim(messages, killed.pid)) await Promise.race([sleep(1), failure.promise]);
    assert.deepEqual(victim(messages, killed.pid)?.process.command_args, killed.args);
  });

  it('who executes something else and is killed is not taken for what it was', async (t) => {
    const group = cgroup(t);
    const child = spawn('sh', ['-c', `echo $$ > ${group.procs}; read go; exec ${victimProgram()} hog 0`], {
      stdio: ['pipe', 'ignore', 'inherit'],
    });
    const pid = child.pid as number;
    const messages: CaptureMessage[] = [];
    const options = {
      ...OPTIONS,
      // So that `run` ends with what there is already.
      stop: new Int32Array(new SharedArrayBuffer(4)).fill(1),
      taken: new Int32Array(new SharedArrayBuffer(4)),
      counters: new Counters().shared,
    };
    const loop = new CaptureLoop(options, loadLibc(), (message) => messages.push(message), openKmsg);
    loop.meetProcesses();
    child.stdin.end('go\n');
    assert.deepEqual(await once(child, 'exit'), [null, 'SIGKILL']);
    loop.run(FROM_THE_START);
    const { process, capture } = victim(messages, pid) ?? assert.fail();
    assert.deepEqual([process.command_line, capture?.source], [undefined, 'kernel-comm']);
  });
});

it('the kernel’s log is read ahead while many process events are taken, and understood after them', {
  skip,
}, () => {
  const processes = 1_200;
  const steps: [step: string, taken: number][] = [];
  const stop = new Int32Array(new SharedArrayBuffer(4));
  const counters = new Counters();
  const options = {
    ...OPTIONS,
    stop,
    taken: new Int32Array(new SharedArrayBuffer(4)),
    counters: counters.shared,
  };
  const taken = () => counters.get('forks') + counters.get('exits');
  const source: KillSource = {
    open: () => ({ works: true }),
    fds: [],
    foreignFds: [],
    replay: () => {},
    read: () => {
      if (steps.length > 0) return;
      execFileSync('sh', ['-c', `n=0; while [ $n -lt ${processes} ]; do (:); n=$((n + 1)); done`]);
      steps.push(['read', taken()]);
    },
    readAhead: () => steps.push(['read ahead', taken()]),
    understand: () => {
      steps.push(['understand', taken()]);
      stop[0] = 1;
    },
    tell: () => undefined,
    dueAt: 0,
    end: () => {},
    place: undefined,
    close: () => {},
  };
  const loop = new CaptureLoop(
    options,
    loadLibc(),
    () => {},
    () => source,
  );
  loop.meetProcesses();
  loop.run(FROM_THE_START);
  const [read, ...others] = steps;
  const understood = others.pop();
  assert.deepEqual([read?.[0], understood?.[0]], ['read', 'understand']);
  assert.ok(understood![1] - read![1] >= 2 * processes, 'all that was sent before the log was read');
  assert.ok(others.length >= 2, `read ahead ${others.length} times`);
  for (const [index, [step, at]] of others.entries()) {
    assert.equal(step, 'read ahead');
    assert.ok(at - steps[index]![1] <= 1_000, `${at - steps[index]![1]} events without a look`);
  }
});

it('a thread gives signs of life also before it may tell kills', async (t) => {
  const startedAt = performance.now();
  const failure = Promise.withResolvers<never>();
  const capture = new Capture(OPTIONS, () => {}, failure.reject, undefined);
  t.after(() => {
    capture.resume(FROM_THE_START);
    return capture.stop();
  });
  assert.ok(capture.silentMs() <= performance.now() - startedAt, 'its start is one');
  while (capture.counter('scans') === 0) await Promise.race([sleep(1), failure.promise]);
  const sign = capture.counter('heartbeat');
  while (capture.counter('heartbeat') === sign) await Promise.race([sleep(1), failure.promise]);
});

it('a thread that fails before it is armed leaves no subscription to process events behind', {
  skip,
}, async () => {
  const before = sockets();
  const failed = Promise.withResolvers<Error>();
  const paths = { ...DEFAULT_PATHS, proc: '/nonexistent' };
  const capture = new Capture({ ...OPTIONS, paths }, () => {}, failed.resolve, undefined);
  assert.match((await failed.promise).message, /scandir '\/nonexistent'/);
  await capture.stop();
  assert.deepEqual(sockets(), before);
});

it('what a thread that fails has to say arrives, be it that something cannot be sent', async () => {
  const { promise, resolve } = Promise.withResolvers<Error>();
  const program = `Error.stackTraceLimit = 0;
    const { parentPort } = require('node:worker_threads');
    parentPort.on('message', () => parentPort.postMessage(Object));`;
  const capture = new Capture(OPTIONS, () => {}, resolve, new Worker(program, { eval: true }));
  assert.match((await promise).message, /^DataCloneError: function Object.* could not be cloned/);
  await capture.stop();
});

function sockets(): string[] {
  const folder = '/proc/self/fd';
  return readdirSync(folder).flatMap((fd) => {
    try {
      return readlinkSync(path.join(folder, fd)).match(/^socket:.*/) ?? [];
    } catch {
      // That of the folder itself.
      return [];
    }
  });
}
