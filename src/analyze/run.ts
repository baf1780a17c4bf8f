import { uptime } from 'node:os';
import { counted } from '../format.ts';
import { DEFAULT_PATHS, readHost } from '../host.ts';
import type { Incident } from '../incident.ts';
import { jsonLine } from '../json-line.ts';
import { styleOf, type TextStream, terminalBlock } from '../message/terminal.ts';
import { type AnalyzeOptions, analyze } from './analyze.ts';
import { EarlierFiles } from './earlier-files.ts';
import { asUtf8, openInput, unpacked, untilAborted } from './open-input.ts';
import { Recurrences } from './recurrences.ts';

/** What people read, or one incident per line for programs. */
export type AnalyzeForm = 'text' | 'json';

export interface AnalyzeIo {
  /** Undefined: text on a terminal, JSON otherwise. */
  readonly form?: AnalyzeForm | undefined;
  /** Not touched unless `-` is asked for. */
  readonly stdin: () => NodeJS.ReadableStream;
  readonly stdout: NodeJS.WritableStream & TextStream;
  readonly stderr: NodeJS.WritableStream;
  /** Ends the reading; what was found so far is told. */
  readonly signal?: AbortSignal;
  /** Milliseconds since the epoch. */
  readonly now?: () => number;
}

/**
 * `oom-witness analyze [FILE...|-]`: the kills on stdout.
 *
 * @returns the exit code: 0, also when there was no kill; 2 when an input could not be read
 */
export async function runAnalyze(files: readonly string[], io: AnalyzeIo): Promise<number> {
  const now = (io.now ?? Date.now)();
  const rendered = renderer(io, now);
  const earlier = new EarlierFiles();
  let lines = 0;
  let kills = 0;
  let noVictims = 0;
  const unknown: string[] = [];
  const taken: string[] = [];
  let failed = false;
  for (const file of files.length === 0 ? ['-'] : files) {
    const name = file === '-' ? 'standard input' : file;
    const killsBefore = kills;
    earlier.next();
    try {
      const options: AnalyzeOptions = {
        now,
        isTold: (report, stamp) => earlier.told(report, stamp),
        ...(file === DEFAULT_PATHS.kmsg && thisMachine(now)),
        finished: (summary) => {
          lines += summary.lines;
          noVictims += summary.noVictims;
          if (!summary.recognised && summary.lines > 0) (kills > killsBefore ? taken : unknown).push(name);
        },
      };
      const source = file === '-' ? (io.stdin() as AsyncIterable<Buffer>) : openInput(file);
      for await (const incident of analyze(asUtf8(unpacked(untilAborted(source, io.signal))), options)) {
        kills += 1;
        await write(io.stdout, rendered(incident));
      }
    } catch (error) {
      io.stderr.write(`oom-witness: cannot read ${name}: ${reason(error)}\n`);
      failed = true;
    }
  }
  for (const name of taken)
    io.stderr.write(
      `oom-witness: ${name} is in no known format of a kernel log: each line was taken as its words\n`,
    );
  if (kills === 0 && !failed) {
    const notes = [
      ...(noVictims > 0 ? [`${counted(noVictims, 'time')} the OOM killer found nobody to kill`] : []),
      ...unknown.map((name) => `${name} is in no known format of a kernel log`),
    ];
    io.stderr.write(
      `oom-witness: ${[`${counted(lines, 'line')} read, no OOM kill found`, ...notes].join('; ')}\n`,
    );
  }
  return failed ? 2 : 0;
}

/** Its own log is told with its own name and clock, and with the ids that the agent gives. */
function thisMachine(now: number): Pick<AnalyzeOptions, 'bootTime' | 'bootId' | 'host'> {
  const { name, boot_id, kernel, arch } = readHost(DEFAULT_PATHS);
  return {
    bootTime: now - uptime() * 1000,
    bootId: boot_id,
    host: { name, boot_id, ...(kernel !== undefined && { kernel }), ...(arch !== undefined && { arch }) },
  };
}

function renderer({ form, stdout }: AnalyzeIo, now: number): (incident: Incident) => string {
  if ((form ?? (stdout.isTTY ? 'text' : 'json')) === 'json') return jsonLine;
  const style = styleOf(stdout, now);
  const recurrences = new Recurrences();
  return (incident) => terminalBlock(incident, recurrences.of(incident), style);
}

async function write(stdout: NodeJS.WritableStream, text: string): Promise<void> {
  if (!stdout.write(text)) await new Promise((resume) => stdout.once('drain', resume));
}

function reason(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  switch (code) {
    case 'ENOENT':
      return 'no such file';
    case 'EACCES':
    case 'EPERM':
      return 'permission denied';
    case 'EISDIR':
      return 'it is a directory';
    default:
      return message.replace(/[\n\r]+/g, ' ');
  }
}
