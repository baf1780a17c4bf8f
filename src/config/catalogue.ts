import { PROGRAMS } from '../replaced/programs.ts';
import type { NamedSink } from '../sinks.ts';
import { type Option, OptionError } from './option.ts';
import { agentOptions } from './options.ts';

/** One name under which an option can be set. */
export interface Spelling {
  readonly option: Option;
  /** The value is the path of a file that holds the option's value. */
  readonly isFile: boolean;
}

/** Every option there is, and every name that sets one. */
export interface Catalogue {
  readonly groups: readonly OptionGroup[];
  readonly spellings: ReadonlyMap<string, Spelling>;
}

export interface OptionGroup {
  /** Neither of the two: the agent itself. */
  readonly sink?: string;
  /** The program that is replaced. */
  readonly program?: string;
  readonly options: readonly Option[];
}

/** What the command line itself takes. */
const TAKEN = ['help', 'version', 'json'];

/** @throws OptionError where two define the same name */
export function catalogue(sinks: readonly NamedSink[]): Catalogue {
  const groups: OptionGroup[] = [
    { options: agentOptions },
    ...PROGRAMS.map(({ name, options }) => ({ program: name, options })),
    ...sinks.map(({ name, module }) => ({ sink: name, options: module.options })),
  ];
  const spellings = new Map<string, Spelling>();
  const owners = new Map(TAKEN.map((name) => [name, 'the command line']));
  for (const group of groups) {
    const owner = ownerOf(group);
    for (const option of group.options) {
      for (const [name, spelling] of spellingsOf(option)) {
        const other = owners.get(name);
        if (other !== undefined)
          throw new OptionError(
            name,
            `--${name} is defined by ${other} and by ${owner}. Rename one of them.`,
          );
        owners.set(name, owner);
        spellings.set(name, spelling);
      }
    }
  }
  return { groups, spellings };
}

function ownerOf({ sink, program }: OptionGroup): string {
  if (sink !== undefined) return `the sink ${sink}`;
  return program === undefined ? 'the agent' : `--replace ${program}`;
}

/** Above its options, in help and documentation. */
export function headingOf({ sink, program }: OptionGroup): string {
  if (sink !== undefined) return `Delivery to ${sink}`;
  return program === undefined ? 'Agent' : `In place of ${program}`;
}

function* spellingsOf(option: Option): Generator<[string, Spelling]> {
  for (const name of [option.name, ...(option.aliases ?? [])])
    yield [name, { option, isFile: option.file === true }];
  if (option.secret) yield [secretFileName(option), { option, isFile: true }];
}

export function secretFileName({ name }: Option): string {
  return `${name}-file`;
}

/**
 * What stands between the values of an option that takes several, told by its hint: `HOST:PORT,…` are separated by
 * commas, `REGEX…` (which may hold commas) by line ends. Undefined: it takes one.
 */
export function separator({ value }: Option): ',' | '\n' | undefined {
  if (value?.endsWith(',…')) return ',';
  return value?.endsWith('…') ? '\n' : undefined;
}
