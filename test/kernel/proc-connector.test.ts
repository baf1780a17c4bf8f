import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { ECONNREFUSED, EINTR, ENOBUFS } from '../../src/kernel/libc.ts';
import { ProcConnector } from '../../src/kernel/proc-connector.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import { COMM, EXEC, EXIT, event, FakeKernel, FORK, UID } from './fake-kernel.ts';

const EPERM = 1;
const NO_PROC = '/nonexistent';

const exec = (pid: number) => event(EXEC, 0n, pid, pid);

/** What is handed over of these datagrams and errors, and how the drain ended. */
function drained(received: readonly (Buffer | number)[], limit = 100) {
  const kernel = new FakeKernel(received);
  const connector = ProcConnector.open(kernel.libc, NO_PROC);
  const said: (string | number)[][] = [];
  const handler = {
    fork: (pid: number, parent: number, time: number) => said.push(['fork', pid, parent, time]),
    thread: (pid: number, threadId: number) => said.push(['thread', pid, threadId]),
    exec: (pid: number, time: number) => said.push(['exec', pid, time]),
    exit: (pid: number, status: number, time: number) => said.push(['exit', pid, status, time]),
  };
  const drain = () => connector.drain(handler, limit);
  return { end: drain(), said, drain, kernel };
}

describe('process events', () => {
  it('tell a fork by the new process and its parent process', () => {
    // parent thread, parent process, child thread, child process
    const { said, end } = drained([event(FORK, 5_000_000n, 101, 100, 200, 200)]);
    assert.deepEqual(said, [['fork', 200, 100, 5]]);
    assert.equal(end, 'empty');
  });

  it('tell a thread from a process', () => {
    assert.deepEqual(drained([event(FORK, 0n, 100, 100, 201, 200)]).said, [['thread', 200, 201]]);
  });

  it('tell an exec by its process, whichever thread it was', () => {
    assert.deepEqual(drained([event(EXEC, 1_500_000n, 301, 300)]).said, [['exec', 300, 1.5]]);
  });

  it('tell the exit of a process with its wait status, and no thread’s', () => {
    const leader = event(EXIT, 2_000_000n, 300, 300, 9, 17, 100, 100);
    const thread = event(EXIT, 2_000_000n, 301, 300, 9, 17, 100, 100);
    assert.deepEqual(drained([thread, leader]).said, [['exit', 300, 9, 2]]);
  });

  it('have a time in ms, to the microsecond after years', () => {
    const tenYears = 315_576_000_000_123_000n;
    const [[, , time] = []] = drained([event(EXEC, tenYears, 1, 1)]).said;
    assert.ok(Math.abs(Number(time) - 315_576_000_000.123) < 0.001, `${time}`);
    // Both halves of the 64 bits count, and the lower one is not signed.
    assert.deepEqual(drained([event(EXEC, 0x1_8000_0000n, 1, 1)]).said, [['exec', 1, 6442.450944]]);
  });

  it('of other kinds are passed over: old kernels send them all', () => {
    const { said, end } = drained([event(UID, 0n, 1, 1), event(COMM, 0n, 1, 1), event(0, 0n, 0), exec(5)]);
    assert.deepEqual(said, [['exec', 5, 0]]);
    assert.equal(end, 'empty');
  });

  it('that are cut short are passed over, and nothing of an earlier one shows through', () => {
    const fork = event(FORK, 0n, 100, 100, 200, 200);
    const short = event(FORK, 0n, 900, 900, 901, 901).subarray(0, 52 + 15);
    const { said } = drained([fork, short, Buffer.alloc(0), fork.subarray(0, 16), exec(5)]);
    assert.deepEqual(said, [
      ['fork', 200, 100, 0],
      ['exec', 5, 0],
    ]);
  });
});

describe('draining process events', () => {
  it('reads again when a signal came in between', () => {
    const { said, end } = drained([EINTR, exec(5)]);
    assert.deepEqual(said, [['exec', 5, 0]]);
    assert.equal(end, 'empty');
  });

  it('tells of an overrun once everything that was queued has been read', () => {
    const { said, end, drain } = drained([exec(1), ENOBUFS, exec(2), ENOBUFS, exec(3)]);
    assert.deepEqual(said, [
      ['exec', 1, 0],
      ['exec', 2, 0],
      ['exec', 3, 0],
    ]);
    assert.equal(end, 'overrun');
    assert.equal(drain(), 'empty');
  });

  it('stops at the limit, and goes on there', () => {
    const { said, end, kernel, drain } = drained([exec(1), exec(2), exec(3)], 2);
    assert.equal(end, 'more');
    assert.equal(kernel.unread, 1);
    assert.equal(drain(), 'empty');
    assert.equal(said.length, 3);
  });

  it('tells of an overrun at the limit too', () => {
    const { end, kernel } = drained([ENOBUFS, exec(1), exec(2)], 2);
    assert.equal(end, 'overrun');
    assert.equal(kernel.unread, 1);
  });

  it('fails with any other error', () => {
    assert.throws(() => drained([EPERM]), /^Error: reading process events failed: EPERM$/);
  });
});

describe('subscribing to process events', () => {
  it('sends the plain subscription first, then the one with a filter', () => {
    const kernel = new FakeKernel();
    ProcConnector.open(kernel.libc, NO_PROC);
    assert.deepEqual(
      kernel.sent.map((message) => message.toString('hex')),
      [
        [
          '28000000 0300 0000 00000000 00000000', // 40 bytes, NLMSG_DONE
          '01000000 01000000 00000000 00000000 0400 0000', // CN_IDX_PROC, CN_VAL_PROC, 4 bytes
          '01000000', // PROC_CN_MCAST_LISTEN
        ],
        [
          '2c000000 0300 0000 00000000 00000000',
          '01000000 01000000 00000000 00000000 0800 0000',
          '01000000 03000080', // ... for FORK, EXEC and EXIT
        ],
      ].map((parts) => parts.join('').replaceAll(' ', '')),
    );
    // AF_NETLINK, any port, the group CN_IDX_PROC
    assert.equal(kernel.bound, '100000000000000001000000');
  });

  it('says why it failed, and leaves no socket', () => {
    const kernel = new FakeKernel();
    kernel.refusals = [EPERM];
    assert.throws(() => ProcConnector.open(kernel.libc, NO_PROC), {
      message: 'subscribing to process events failed: EPERM',
    });
    assert.deepEqual(kernel.closed, [1_000]);
  });

  it('enters one network namespace after the other until one is the host’s', (t) => {
    const kernel = new FakeKernel();
    kernel.refusals = [ECONNREFUSED, ECONNREFUSED];
    const root = procWithNetworks(t, { 1: 'container', 7: 'container', 20: 'host', 30: 'never tried' });
    const connector = ProcConnector.open(kernel.libc, root);
    assert.deepEqual(kernel.entered, [0x40000000, 0x40000000]);
    assert.deepEqual(kernel.closed, [1_000, 1_001]);
    assert.equal(connector.fd, 1_002);
    assert.equal(kernel.sent.length, 2);
  });
});

/** A /proc in which these processes are in these network namespaces. */
function procWithNetworks(t: TestContext, networks: Readonly<Record<string, string>>): string {
  const root = temporaryFolder(t, 'oom-witness-proc');
  for (const [pid, network] of Object.entries(networks)) {
    const namespace = path.join(root, network);
    writeFileSync(namespace, '');
    mkdirSync(path.join(root, pid, 'ns'), { recursive: true });
    symlinkSync(namespace, path.join(root, pid, 'ns', 'net'));
  }
  return root;
}
