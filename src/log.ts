import { pino } from 'pino';
import type { LogLevel } from './config/log-level.ts';
import { clockTime, printable } from './format.ts';
import { visibleJson } from './json-line.ts';

export type LogFields = Readonly<Record<string, unknown>>;
/** One line of the agent's own log. `message` is a constant phrase; what varies goes into `fields`. */
export type Log = (level: 'debug' | 'info' | 'warn' | 'error', message: string, fields?: LogFields) => void;

export interface LogOptions {
  readonly level: LogLevel;
  /** For a person to read; else one JSON object per line. */
  readonly readable: boolean;
  readonly colour: boolean;
  /** Takes one whole line, newline included, and must have written it when it returns. */
  readonly write: (line: string) => void;
  /** Takes secrets out of every text, e.g. of a server's answer that repeats the URL it was asked for. */
  readonly redact: (text: string) => string;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** pino for the levels and the JSON; its transports (worker threads) stay unloaded, so nothing is lost at exit. */
export function createLog({ level, readable, colour, write, redact, now }: LogOptions): Log {
  const logger = pino(
    {
      level,
      base: null,
      timestamp: () => `,"time":"${new Date(now()).toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
    },
    { write: (line) => write(readable ? readableLine(JSON.parse(line), colour) : visibleJson(line)) },
  );
  return (level, message, fields = {}) => {
    if (logger.isLevelEnabled(level)) logger[level](cleaned(fields, redact), redact(message));
  };
}

/** Names that pino writes itself: a second one would make two keys of the same name. */
const RESERVED = new Set(['level', 'time', 'msg']);

function cleaned(fields: LogFields, redact: (text: string) => string): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(fields)) {
    const text = value instanceof Error ? value.message : value;
    result[RESERVED.has(name) ? `${name}_` : name] = typeof text === 'string' ? redact(text) : text;
  }
  return result;
}

const COLOURS: Readonly<Record<string, string>> = {
  debug: '\u001b[2m',
  warn: '\u001b[33m',
  error: '\u001b[31m',
};
const RESET = '\u001b[0m';

/** `03:14:15  WARN  kafka: trying again  reason="connection refused" wait_ms=1200`, in local time as the incidents beside it. */
function readableLine(entry: Record<string, unknown>, colour: boolean): string {
  const { level, time, msg, ...fields } = entry as { level: string; time: string; msg: string };
  const pairs = Object.entries(fields)
    .filter(([, value]) => value !== undefined && value !== null)
    .map(([name, value]) => `${printable(name)}=${shownValue(value)}`);
  const name = level.toUpperCase().padEnd(5);
  const painted = colour && COLOURS[level] ? `${COLOURS[level]}${name}${RESET}` : name;
  const at = Date.parse(time);
  return `${[clockTime(at, at, 'local'), painted, [printable(msg ?? ''), ...pairs].join(' ')].join('  ')}\n`;
}

function shownValue(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  const isPlain = text !== '' && !/[\s"=]/.test(text);
  return isPlain ? printable(text) : `"${printable(text).replaceAll('"', '\\"')}"`;
}

const RETRY_MS = 2;
const MOST_RETRIES = 50;

/**
 * A writer for `createLog` that writes at once. A reader that is gone or stands still (a full pipe) must not stop the
 * agent: after 100 ms the line is given up, and the next one that gets through says how many were.
 *
 * @param writeSync as node:fs' for one descriptor: may write a part, may throw EAGAIN
 */
export function lineWriter(writeSync: (bytes: Uint8Array) => number): (line: string) => void {
  const clock = new Int32Array(new SharedArrayBuffer(4));
  let lost = 0;
  /** A line that was cut off must end before the next one begins. */
  let isCut = false;

  return (line) => {
    const report = lost > 0 ? `{"level":"warn","msg":"log lines were lost","count":${lost}}\n` : '';
    let rest: Uint8Array = Buffer.from(`${isCut ? '\n' : ''}${report}${line}`);
    const { length } = rest;
    for (let tries = 0; rest.length > 0; ) {
      try {
        rest = rest.subarray(writeSync(rest));
      } catch (error) {
        const isBusy = (error as NodeJS.ErrnoException).code === 'EAGAIN';
        // Once lines are being lost, each further one gets a single try: a dead reader costs nothing.
        if (!isBusy || lost > 0 || ++tries > MOST_RETRIES) {
          isCut ||= rest.length < length;
          lost++;
          return;
        }
        Atomics.wait(clock, 0, 0, RETRY_MS);
      }
    }
    isCut = false;
    lost = 0;
  };
}
