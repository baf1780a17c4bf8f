/** The program: commands, streams and exit codes. */
import { inspect } from 'node:util';
import type { Worker } from 'node:worker_threads';
import packageJson from '../package.json' with { type: 'json' };
import { type Invocation, parseCommandLine, UsageError } from './command-line.ts';
import { catalogue } from './config/catalogue.ts';
import { configJson, configText } from './config/config-print.ts';
import { OptionError } from './config/option.ts';
import { refuseOnWatch } from './config/replaced.ts';
import { loadConfig } from './config.ts';
import type { ProgramIo } from './downstream.ts';
import { printable } from './format.ts';
import { loadSinks, type NamedSink } from './sinks.ts';
import { endWithTerminal } from './stop-signal.ts';

const FAULT = 1;
const USAGE = 2;

/** How long whoever reads stdout and stands still is waited for, once the end was asked for. What he has not taken the store has. */
const LAST_WORDS_MS = 1000;

/** node:sqlite without a flag and import attributes; node:ffi from 26 on is a matter of the capture thread. */
const OLDEST_NODE = 24;

/**
 * Ends the process.
 *
 * @param thread the capture thread, started ahead
 * @param stop aborted by the signals that ask it to end
 */
export async function runProgram(thread: Worker | undefined, stop: AbortController): Promise<never> {
  process.stdout.on('error', (error) => stdoutFailed(error));
  // A closed stderr must not end an agent that works.
  process.stderr.on('error', () => {});
  endWithTerminal(stop, [process.stdout, process.stderr]);
  const code = await runCommand(thread, stop).catch(report);
  // Behind whatever is still being written, so that an error of that is not lost. A slow reader (`analyze … | less`) is waited for.
  return new Promise(() => {
    if (stop.signal.aborted) setTimeout(() => process.exit(code), LAST_WORDS_MS);
    process.stdout.write('', (error) => {
      if (error) stdoutFailed(error);
      process.exit(code);
    });
  });
}

async function runCommand(thread: Worker | undefined, stop: AbortController): Promise<number> {
  if (Number.parseInt(process.versions.node, 10) < OLDEST_NODE)
    throw new UsageError(`needs Node.js ${OLDEST_NODE} or newer, and this is ${process.versions.node}.`);
  const sinks = await loadSinks();
  const invocation = invocationOf(sinks);
  if (invocation === undefined) return 0;
  const configure = () =>
    loadConfig(sinks, { flags: invocation.flags, environment: process.env, signal: stop.signal });

  switch (invocation.command) {
    case 'run': {
      const config = await configure();
      const io = programIo(stop);
      const { runAgent } = await import('./agent.ts');
      return runAgent(config, io, thread);
    }
    case 'watch': {
      const config = await configure();
      refuseOnWatch(config);
      const io = programIo(stop);
      const { runClusterWatch } = await import('./cluster-watch.ts');
      return runClusterWatch(config, io);
    }
    case 'analyze': {
      const { files, form, flags } = invocation;
      const [unused] = flags;
      if (unused !== undefined)
        throw new UsageError(`--${unused.name} means nothing to analyze. See oom-witness analyze --help.`);
      const { runAnalyze } = await import('./analyze/run.ts');
      const { stdout, stderr } = process;
      const io = { form, stdout, stderr, signal: stop.signal, stdin: () => process.stdin };
      return runAnalyze(files.length > 0 ? files : ['-'], io);
    }
    case 'config print': {
      const config = await configure();
      process.stdout.write(invocation.asJson ? configJson(config) : configText(config));
      return 0;
    }
  }
}

function invocationOf(sinks: readonly NamedSink[]): Invocation | undefined {
  const output = { write: (text: string) => process.stdout.write(text), columns: process.stdout.columns };
  return parseCommandLine(process.argv.slice(2), catalogue(sinks), packageJson.version, output);
}

function programIo(stop: AbortController): ProgramIo {
  // Any other error of stdout is for the sink that writes to it.
  stdoutFailed = (error) => isClosedPipe(error) && stop.abort(error);
  const { stdout, stderr } = process;
  return { stdout, stderr, signal: stop.signal, onReopen };
}

function onReopen(listener: () => void): () => void {
  process.on('SIGHUP', listener);
  return () => process.off('SIGHUP', listener);
}

/** `oom-witness analyze … | head` is no fault. */
let stdoutFailed = (error: Error): unknown => process.exit(isClosedPipe(error) ? 0 : report(error));

function isClosedPipe(error: NodeJS.ErrnoException): boolean {
  return error.code === 'EPIPE';
}

function report(error: unknown): number {
  const isUsage = error instanceof OptionError || error instanceof UsageError;
  const isSystem = (error as NodeJS.ErrnoException)?.syscall !== undefined;
  // Anything else is a fault of this program, whose place must be known.
  const text = isUsage || isSystem ? printable((error as Error).message) : inspect(error);
  process.stderr.write(`oom-witness: ${text}\n`);
  return isUsage ? USAGE : FAULT;
}
