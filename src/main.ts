#!/usr/bin/env -S MALLOC_ARENA_MAX=1 node --disable-warning=ExperimentalWarning --disable-warning=DEP0005 --max-semi-space-size=1 --expose-gc
/** The entry: nothing but what the capture thread needs comes before it, so that it loads beside the program. */
import { startCaptureThread } from './capture/capture.ts';

const ELSEWHERE = ['-h', '--help', '-V', '--version'];

const args = process.argv.slice(2);
const [first = 'run'] = args;
// Only a guess: what it costs where it is wrong is the thread's start.
const isRun = (first === 'run' || first.startsWith('-')) && !args.some((arg) => ELSEWHERE.includes(arg));
const thread = isRun ? startCaptureThread() : undefined;
const { runProgram } = await import('./program.ts');
await runProgram(thread);
