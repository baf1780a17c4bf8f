#!/usr/bin/env -S MALLOC_ARENA_MAX=1 node --disable-warning=ExperimentalWarning --disable-warning=DEP0005 --max-semi-space-size=1
/** The entry: nothing but what the capture thread needs comes before it, so that it loads beside the program. */
import { startCaptureThread } from './capture/capture.ts';
import { useCompileCache } from './compile-cache.ts';
import { stopSignal } from './stop-signal.ts';

/** With any of these most likely nothing is captured. Where it is after all, the thread starts later. */
const WITHOUT_CAPTURE = ['watch', 'analyze', 'config', '-h', '--help', '-V', '--version'];

// The kernel drops what process 1 of a container has no handler for: it would run on until it is killed.
const stop = stopSignal();
// Else Node.js opens its debugger for it, in which everybody on this machine may run what they like as root.
process.on('SIGUSR1', () => {});
// Else whoever has it open its files anew ends it. What a closed terminal means by it: `endWithTerminal`.
process.on('SIGHUP', () => {});
useCompileCache();
const isRun = !process.argv.slice(2).some((arg) => WITHOUT_CAPTURE.includes(arg));
const thread = isRun ? startCaptureThread() : undefined;
const { runProgram } = await import('./program.ts');
await runProgram(thread, stop);
