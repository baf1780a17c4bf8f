/** A line of the process journal: what happened to a process, or how far the kernel had come in giving numbers away. */
import type { CaptureSource } from '../incident.ts';

export type Line =
  | ['fork', number, number, number]
  | ['exit', number, number, number]
  | ['pids', number, number, number]
  | [
      'is',
      number,
      number | null,
      number | null,
      CaptureSource,
      number,
      readonly string[] | null,
      string | null,
      string | null,
      boolean,
      number,
    ];

/** @returns undefined for what is none: a damaged one would otherwise stop each start anew, or come out in an incident */
export function parseLine(line: string): Line | undefined {
  try {
    const value = JSON.parse(line);
    return isLine(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Of milliseconds 30,000 years; with more, what is made of them is no date. */
const LARGEST = 1e15;
const isNumber = (value: unknown) => typeof value === 'number' && Math.abs(value) <= LARGEST;
const isText = (value: unknown) => typeof value === 'string';
const isSource = (value: unknown) => SOURCES.has(value as CaptureSource);
const isArgs = (value: unknown) => Array.isArray(value) && value.every(isText);
const isFlag = (value: unknown) => typeof value === 'boolean';
const orNull = (is: (value: unknown) => boolean) => (value: unknown) => value === null || is(value);

const SOURCES: ReadonlySet<CaptureSource> = new Set(['exec', 'scan', 'inherited']);

/** What may stand in each place. */
const SHAPES: ReadonlyMap<unknown, readonly ((value: unknown) => boolean)[]> = new Map([
  ['fork', [isNumber, isNumber, isNumber]],
  ['exit', [isNumber, isNumber, isNumber]],
  ['pids', [isNumber, isNumber, isNumber]],
  [
    'is',
    [
      isNumber,
      orNull(isNumber),
      orNull(isNumber),
      isSource,
      isNumber,
      orNull(isArgs),
      orNull(isText),
      orNull(isText),
      isFlag,
      isNumber,
    ],
  ],
]);

function isLine(value: unknown): value is Line {
  if (!Array.isArray(value)) return false;
  const [kind, ...rest] = value;
  const shape = SHAPES.get(kind);
  return shape?.length === rest.length && shape.every((fits, place) => fits(rest[place]));
}
