/** The entry of the capture thread: it never returns to its event loop until it is told to stop. */
import os from 'node:os';
import { parentPort } from 'node:worker_threads';
import { loadLibc } from '../kernel/libc.ts';
import { CaptureLoop } from './loop.ts';
import type { CaptureOptions, CaptureOrder, Resumption } from './protocol.ts';

/**
 * While the store is opened, which takes seconds where a damaged one is mended. Nobody is told of process events here as poll(2)
 * tells of them: what is executed and killed within this time dies unknown.
 */
const KEEP_UP_MS = 5;

// Errors are how node:fs says EAGAIN: without a stack trace they cost a tenth.
Error.stackTraceLimit = 0;

// A victim's command line must be read before the victim is gone, whatever else wants the processors. On Linux this is
// the calling thread's own priority.
try {
  os.setPriority(0, os.constants.priority.PRIORITY_HIGH);
} catch {
  // Needs CAP_SYS_NICE; without it we are one among many.
}

const watch = Promise.withResolvers<CaptureOptions>();
const resume = Promise.withResolvers<Resumption>();
parentPort?.on('message', (order: CaptureOrder) =>
  'paths' in order ? watch.resolve(order) : resume.resolve(order),
);

// While the program still reads its configuration.
const libc = loadLibc();
const options = await watch.promise;
const open = options.logFile
  ? (await import('../watch/log-file.ts')).openLogFile
  : (await import('../watch/kmsg.ts')).openKmsg;
const loop = new CaptureLoop(options, libc, (message) => parentPort?.postMessage(message), open);
loop.meetProcesses();
const keepingUp = setInterval(() => loop.keepUp(), KEEP_UP_MS);
const resumption = await resume.promise;
clearInterval(keepingUp);
loop.run(resumption);
parentPort?.unref();
