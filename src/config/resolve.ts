import * as v from 'valibot';
import { shown } from '../format.ts';
import type { SetOption } from './assignments.ts';
import { secretFileName } from './catalogue.ts';
import { type Option, OptionError } from './option.ts';
import type { OptionFiles } from './option-files.ts';
import { type Origin, subject } from './origin.ts';
import type { Replaced } from './replaced.ts';

/** An option with its value, whoever has set it. */
export interface Resolved {
  readonly option: Option;
  readonly value: unknown;
  readonly text?: string;
  readonly origin: Origin;
}

export async function resolve(
  option: Option,
  set: SetOption | undefined,
  files: OptionFiles,
): Promise<Resolved> {
  if (set === undefined) {
    const { default: text } = option;
    if (text === undefined) return unset(option);
    return { option, value: parse(option, text, { kind: 'default' }), text, origin: { kind: 'default' } };
  }
  const { spelling, origin } = set;
  const given = spelling.isFile ? await textOf(option, String(set.value), origin, files) : set.value;
  const value = parse(option, given, origin);
  return { option, value, text: option.secret ? '***' : String(set.value), origin };
}

export function unset(option: Option): Resolved {
  return { option, value: undefined, origin: { kind: 'unset' } };
}

async function textOf(option: Option, path: string, origin: Origin, files: OptionFiles): Promise<string> {
  const name = option.file ? option.name : secretFileName(option);
  const at = `${subject({ name }, origin)}: ${path}`;
  let text: string;
  try {
    text = (await files.read(path)).trimEnd();
  } catch (error) {
    throw new OptionError(option.name, `${at}: cannot be read: ${(error as Error).message}.`);
  }
  if (text === '')
    throw new OptionError(option.name, `${at}: is empty. Write the value of --${option.name} into it.`);
  return text;
}

const TRUTH = v.union(
  [v.boolean(), v.pipe(v.string(), v.parseBoolean())],
  'takes no value, or one of true, yes, on, 1, false, no, off, 0',
);

function parse(option: Option, given: string | true, origin: Origin): unknown {
  const input = option.value === undefined ? check(option, TRUTH, given, origin) : given;
  return check(option, option.schema, input, origin);
}

function check(option: Option, schema: v.GenericSchema, input: unknown, origin: Origin): unknown {
  const result = v.safeParse(schema, input);
  if (result.success) return result.output;
  const { message, received } = result.issues[0];
  const problem = message.replace(/\.$/, '');
  // A schema's message of its own accord shows what it got.
  const said = option.secret ? problem.replaceAll(received, '***') : problem;
  const got = option.secret || problem.includes(received) ? '' : ` (got "${shown(String(input), 100)}")`;
  throw new OptionError(option.name, `${subject(option, origin)}: ${said}${got}.`);
}

/** Where nobody says anything, a program that is replaced does. */
export function implied(told: Resolved, replaced: readonly Replaced[]): Resolved {
  const { option, origin } = told;
  if (origin.kind !== 'default' && origin.kind !== 'unset') return told;
  for (const { program, implied } of replaced) {
    const text = implied?.[option.name];
    if (text === undefined) continue;
    const origin: Origin = { kind: 'replaced', name: `--replace ${program.name}` };
    return { option, value: parse(option, text, origin), text, origin };
  }
  return told;
}

export function valuesOf(resolved: readonly Resolved[]): Record<string, unknown> {
  return Object.fromEntries(resolved.map(({ option, value }) => [option.name, value]));
}
