import { shown } from '../format.ts';
import type { ReplacedProgram } from '../replaced/program.ts';
import { type Catalogue, type Spelling, separator } from './catalogue.ts';
import { readConfigFile } from './config-file.ts';
import { nearest } from './nearest.ts';
import { dashed, environmentName, type Option, OptionError } from './option.ts';
import type { OptionFiles } from './option-files.ts';
import { INHERITED_VARIABLES } from './options.ts';
import { type Origin, subject, written } from './origin.ts';
import { inheritedSettings } from './replaced.ts';

/** A flag of the command line: its name without dashes and its text, or true where it takes none. */
export interface Flag {
  readonly name: string;
  readonly value: string | true;
}

export interface ConfigSources {
  /** In the order of the command line: of two equal ones the last counts, lists are joined. */
  readonly flags: readonly Flag[];
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Ends the wait for the content of a pipe. */
  readonly signal?: AbortSignal;
}

/** What one source says about one option. */
export interface Assignment {
  readonly name: string;
  readonly value: string | true | readonly string[];
  readonly origin: Origin;
}

export interface SetOption {
  readonly spelling: Spelling;
  readonly value: string | true;
  readonly origin: Origin;
}

export function assign(all: Catalogue, assignments: Iterable<Assignment>): Map<string, SetOption> {
  const set = new Map<string, SetOption>();
  for (const assignment of assignments) {
    const { name, origin } = assignment;
    const spelling = all.spellings.get(name);
    if (spelling === undefined) throw unknownName(all, name, origin);
    const { option } = spelling;
    let value = oneText(option, assignment);
    const earlier = set.get(option.name);
    if (earlier !== undefined) {
      if (origin.kind !== 'flag' || earlier.spelling.isFile !== spelling.isFile)
        throw new OptionError(
          option.name,
          `${written(earlier.origin)} and ${written(origin)} both set --${option.name}. Keep one of them.`,
        );
      const between = spelling.isFile ? undefined : separator(option);
      if (between !== undefined) value = `${earlier.value}${between}${value}`;
    }
    set.set(option.name, { spelling, value, origin });
  }
  return set;
}

function oneText(option: Option, { value, origin }: Assignment): string | true {
  if (typeof value === 'object') {
    const between = separator(option);
    if (between === undefined)
      throw new OptionError(option.name, `${subject(option, origin)}: must be one value, not a list.`);
    return oneText(option, { name: option.name, value: value.join(between), origin });
  }
  if (value === '')
    throw new OptionError(
      option.name,
      `${subject(option, origin)}: is empty. Give it a value or leave it out.`,
    );
  return value;
}

export function flagAssignments(flags: readonly Flag[]): Assignment[] {
  return flags.map(({ name, value }) => ({ name, value, origin: { kind: 'flag', name: dashed(name) } }));
}

export async function fileAssignments(path: string, files: OptionFiles): Promise<Assignment[]> {
  const settings = await readConfigFile(path, files);
  return settings.map(({ name, key, value }) => {
    if (name === 'config')
      throw new OptionError('config', `--config: ${path}: cannot name another configuration file.`);
    return { name, value, origin: { kind: 'file', path, key } };
  });
}

const PREFIX = environmentName('');
/** `OOM_WITNESS_TEST_…` belongs to this project's tests. */
const FOR_TESTS = environmentName('test-');
/** What Kubernetes gives every container in the namespace of a Service called oom-witness (or oom-witness-…). */
const SERVICE_VARIABLE =
  /_(SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)=|_PORT=(tcp|udp|sctp):/;

export function* environmentAssignments(
  all: Catalogue,
  environment: ConfigSources['environment'],
): Generator<Assignment> {
  const names = new Map([...all.spellings.keys()].map((name) => [environmentName(name), name]));
  const ours = new Set<string>();
  for (const [variable, value] of Object.entries(environment)) {
    if (!variable.startsWith(PREFIX) || variable.startsWith(FOR_TESTS) || !value) continue;
    const name = names.get(variable);
    if (name !== undefined) {
      ours.add(name);
      yield { name, value, origin: { kind: 'environment', name: variable } };
    } else if (!SERVICE_VARIABLE.test(`${variable}=${value}`)) {
      // The common prefix would make everything look alike.
      const word = variable.slice(PREFIX.length).toLowerCase().replaceAll('_', '-');
      const meant = nearest(word, all.spellings.keys());
      throw new OptionError(
        word,
        `${variable}: no option has this environment variable.${hint(meant && environmentName(meant))}`,
      );
    }
  }
  for (const [variable, name] of INHERITED_VARIABLES) {
    const value = environment[variable];
    if (!value || ours.has(name)) continue;
    ours.add(name);
    yield { name, value, origin: { kind: 'environment', name: variable } };
  }
}

function unknownName(all: Catalogue, name: string, origin: Origin): OptionError {
  if (origin.kind !== 'file') return new OptionError(name, `${dashed(name)}: no such option.`);
  const meant = nearest(name, all.spellings.keys());
  return new OptionError(
    name,
    `--config: ${origin.path}: ${shown(origin.key, 100)}: no such option.${hint(meant)}`,
  );
}

function hint(meant: string | undefined): string {
  return meant === undefined ? ' See --help.' : ` Did you mean ${meant}?`;
}

export function* inheritedAssignments(
  programs: readonly ReplacedProgram[],
  environment: ConfigSources['environment'],
): Generator<Assignment> {
  for (const { name, variable, value } of inheritedSettings(programs, environment))
    yield { name, value, origin: { kind: 'environment', name: variable } };
}
