/** The entry of the capture thread: it never returns to its event loop until it is told to stop. */
import { parentPort, workerData } from 'node:worker_threads';
import { CaptureLoop } from './loop.ts';

// Errors are how node:fs says EAGAIN: without a stack trace they cost a tenth.
Error.stackTraceLimit = 0;

new CaptureLoop(workerData, (message) => parentPort?.postMessage(message)).run();
