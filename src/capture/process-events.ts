/**
 * The subscription to process events: proved, because one may be accepted and stay silent for ever (a foreign pid or user
 * namespace, a filtered subscription on 5.10 and 6.1).
 */
import { errnoName, type Libc } from '../kernel/libc.ts';
import { ProcConnector, type ProcEventHandler } from '../kernel/proc-connector.ts';
import { PollWaiter } from './waiter.ts';

const SIGKILL = 9;
/** The slowest of 3,000 took 181 ms, with three busy loops for each processor; a machine that boots can stand still for longer. */
const PATIENCE_MS = 3_000;
/** More than the socket holds. */
const MOST_QUEUED = 30_000;

/**
 * Events that arrive before it returns are handed on.
 *
 * @throws with the reason why there are none
 */
export function openProcessEvents(
  libc: Libc,
  procRoot: string,
  handler: ProcEventHandler,
  now: () => number,
): ProcConnector {
  const connector = ProcConnector.open(libc, procRoot);
  try {
    const waiter = new PollWaiter(libc, [connector.fd]);
    try {
      prove(libc, connector, waiter, handler, now);
    } finally {
      waiter.close();
    }
    return connector;
  } catch (error) {
    connector.close();
    throw error;
  }
}

/**
 * Executes this program once more, kills it before it does anything, and waits for its exec event, or for that of its end: the kernel
 * tells of an exec last, and whoever is killed in the middle of one has none (seen once on 7.2, in 30 boots).
 *
 * @throws why nothing is proved
 */
function prove(
  libc: Libc,
  connector: ProcConnector,
  waiter: PollWaiter,
  handler: ProcEventHandler,
  now: () => number,
): void {
  const executable = Buffer.from('/proc/self/exe\0');
  const name = Buffer.from('oom-witness-probe\0');
  const argv = Buffer.alloc(16);
  argv.writeBigUInt64LE(libc.addressOf(name));
  const environment = Buffer.alloc(8);
  const result = Buffer.alloc(4);
  const error = libc.posix_spawn(result, executable, null, null, argv, environment);
  if (error !== 0) throw new Error(`the probe child could not be started: ${errnoName(error)}`);
  const probe = result.readInt32LE(0);
  libc.kill(probe, SIGKILL);
  let seen = false;
  const watching: ProcEventHandler = {
    fork: (pid, parent, time) => handler.fork(pid, parent, time),
    thread: (pid, threadId) => handler.thread(pid, threadId),
    exec: (pid, time) => {
      if (pid === probe) seen = true;
      handler.exec(pid, time);
    },
    exit: (pid, status, time) => {
      if (pid === probe) seen = true;
      handler.exit(pid, status, time);
    },
  };
  const deadline = now() + PATIENCE_MS;
  // The time is looked at before what has arrived: this thread may have stood still since.
  for (let isLate = false; !seen && !isLate; ) {
    isLate = now() >= deadline;
    const left = connector.drain(watching, MOST_QUEUED);
    if (left === 'empty' && !seen && !isLate) waiter.wait(Math.max(1, deadline - now()));
  }
  libc.waitpid(probe, null, 0);
  if (!seen)
    throw new Error(
      'process events do not arrive (is this the initial pid namespace? In a container: hostPID: true)',
    );
}
