import { clockTime, columnsOf, shown } from '../format.ts';
import type { Incident } from '../incident.ts';
import { type Died, messageOf } from '../message.ts';
import type { Recurrence } from '../sink.ts';
import { isTimeKnown, whyUnknown } from './names.ts';

export interface TerminalStyle {
  /** Width in characters; undefined: lines are not wrapped. */
  readonly columns?: number;
  readonly colour: boolean;
  /** Milliseconds since the epoch: an incident of another day shows its date. */
  readonly now: number;
}

/** Where the block is printed: a terminal, a pipe or a file. */
export interface TextStream {
  readonly isTTY?: boolean;
  readonly columns?: number;
  hasColors?(): boolean;
}

/** The style of a stream. Node.js's terminal streams know their colours; they heed NO_COLOR and TERM=dumb. */
export function styleOf(stream: TextStream, now: number): TerminalStyle {
  const colour = stream.isTTY === true && (stream.hasColors?.() ?? false);
  return { columns: stream.columns, colour, now };
}

const BOLD_RED = '\u001b[1;31m';
const BOLD_YELLOW = '\u001b[1;33m';
const BOLD = '\u001b[1m';
const DIM = '\u001b[2m';
const RESET = '\u001b[0m';

/** The labels stand under the word OOM, the texts under the one after it. */
const LABEL_AT = 10;
const TEXT_AT = 20;
/** Narrower terminals wrap by themselves. */
const LEAST_COLUMNS = 60;
/**
 * So much of a command line is shown, on more lines where it must be: which of many programs in one
 * interpreter it was often stands in the middle.
 */
const COMMAND = 160;

/** The block of lines that a person reads about one incident, ending with a newline. */
export function terminalBlock(incident: Incident, recurrence: Recurrence, style: TerminalStyle): string {
  const message = messageOf(incident, recurrence, 'local');
  const paint = (code: string, text: string) => (style.colour ? `${code}${text}${RESET}` : text);
  const width = style.columns === undefined ? undefined : Math.max(style.columns, LEAST_COLUMNS) - TEXT_AT;
  const warning = incident.kind === 'oom_warning';

  const rows: (readonly [label: string, text: string | undefined])[] = [
    [warning ? 'at risk' : 'died', diedText(message.died)],
    ['command', message.died.others && message.died.command && shown(message.died.command, COMMAND)],
    ['memory', message.memory],
    ['why', message.why],
    ['before', message.before],
    ['when', whyUnknown(incident, 'time')],
  ];
  const body = rows.flatMap(([label, text]) =>
    (text === undefined ? [] : wrapped(text, width)).map(
      (line, index) =>
        `${' '.repeat(LABEL_AT)}${paint(DIM, (index === 0 ? label : '').padEnd(TEXT_AT - LABEL_AT))}${line}`,
    ),
  );
  const time = isTimeKnown(incident) ? clockTime(Date.parse(incident.time), style.now, 'local') : '--:--:--';
  const what = paint(warning ? BOLD_YELLOW : BOLD_RED, message.what.toUpperCase());
  return `${[`${time}  ${what}  ${paint(BOLD, message.who)}`, ...body].join('\n')}\n`;
}

/** `java, pid 4243: java -Xmx2g … --spring.profiles.active=prod (note)` */
function diedText({ process, others, command, note }: Died): string {
  const tail = note === undefined ? '' : ` (${note})`;
  if (others !== undefined) return `${process}: ${others}${tail}`;
  return command === undefined ? `${process}${tail}` : `${process}: ${shown(command, COMMAND)}${tail}`;
}

/** At spaces, so that no line is wider than `width`; a word that is wider is cut. */
function wrapped(text: string, width: number | undefined): string[] {
  if (width === undefined) return [text];
  const lines: string[] = [];
  let used = width;
  for (const word of text.split(' ').flatMap((word) => pieces(word, width))) {
    const columns = columnsOf(word);
    if (used + 1 + columns <= width) {
      lines.push(`${lines.pop()} ${word}`);
      used += 1 + columns;
    } else {
      lines.push(word);
      used = columns;
    }
  }
  return lines;
}

function pieces(word: string, width: number): string[] {
  const whole: string[] = [];
  let piece = '';
  let used = 0;
  for (const character of word) {
    const columns = columnsOf(character);
    if (used + columns > width) {
      whole.push(piece);
      piece = '';
      used = 0;
    }
    piece += character;
    used += columns;
  }
  return piece === '' ? whole : [...whole, piece];
}
