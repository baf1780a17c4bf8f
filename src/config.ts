import { types } from 'node:util';
import * as v from 'valibot';
import {
  type Catalogue,
  catalogue,
  type OptionGroup,
  type Spelling,
  secretFileName,
  separator,
} from './config/catalogue.ts';
import { readConfigFile } from './config/config-file.ts';
import { nearest } from './config/nearest.ts';
import { dashed, environmentName, type Option, OptionError } from './config/option.ts';
import { type AgentSettings, agentSettings, INHERITED_VARIABLES, usesKubernetes } from './config/options.ts';
import { inheritedSettings, programsNamed, type Replaced, refuseUnused } from './config/replaced.ts';
import { readSmallFile } from './config/small-file.ts';
import { shown } from './format.ts';
import type { ReplacedProgram } from './replaced/program.ts';
import type { SinkModule, SinkSurroundings } from './sink.ts';
import type { NamedSink } from './sinks.ts';

export type Origin =
  | { readonly kind: 'flag'; readonly name: string }
  | { readonly kind: 'environment'; readonly name: string }
  | { readonly kind: 'file'; readonly path: string; readonly key: string }
  | { readonly kind: 'replaced'; readonly name: string }
  | { readonly kind: 'default' }
  | { readonly kind: 'unset' };

export interface ResolvedOption {
  readonly name: string;
  /** As it was written, `***` for a secret; undefined where nobody set it and it has no default. */
  readonly text?: string;
  readonly origin: Origin;
}

export interface ConfiguredSink {
  readonly name: string;
  readonly module: SinkModule;
  /** For `module.open`. */
  readonly settings: unknown;
}

/** Everything that anybody can set, checked and deeply frozen. */
export interface Config extends AgentSettings {
  readonly useKubernetes: boolean;
  /** `oom_restart` is a kind of incidents. */
  readonly tellRestarts: boolean;
  /** What is set and means nothing, said once at the start. */
  readonly notes: readonly string[];
  /** The programs of --replace. */
  readonly replaced: readonly Replaced[];
  /** Those that somebody asked for, by name. */
  readonly sinks: readonly ConfiguredSink[];
  /** Every option there is, in the order of help. */
  readonly options: readonly ResolvedOption[];
}

/** A flag of the command line: its name without dashes and its text, or true where it takes none. */
export interface Flag {
  readonly name: string;
  readonly value: string | true;
}

export interface ConfigSources {
  /** In the order of the command line: of two equal ones the last counts, lists are joined. */
  readonly flags: readonly Flag[];
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/**
 * Flags before environment before configuration file before default; then every schema; then every sink's settings.
 *
 * @throws OptionError, one line that names the option, where the value came from and the mend
 */
export async function loadConfig(
  sinks: readonly NamedSink[],
  { flags, environment }: ConfigSources,
): Promise<Config> {
  const all = catalogue(sinks);
  const fromFlags = assign(all, flagAssignments(flags));
  const fromEnvironment = assign(all, environmentAssignments(all, environment));
  const file = fromFlags.get('config') ?? fromEnvironment.get('config');
  const fromFile = assign(all, file === undefined ? [] : await fileAssignments(String(file.value)));

  const find = (name: string) => fromFlags.get(name) ?? fromEnvironment.get(name) ?? fromFile.get(name);
  const programs = replacedPrograms(all, find('replace'));
  refuseUnused(programs, (option) => find(option) !== undefined);
  for (const [name, set] of assign(all, inheritedAssignments(programs, environment)))
    if (!fromEnvironment.has(name)) fromEnvironment.set(name, set);

  const isUsed = ({ program }: OptionGroup) =>
    program === undefined || programs.some(({ name }) => name === program);
  const told = all.groups.flatMap((group) =>
    group.options.map((option) => (isUsed(group) ? resolve(option, find(option.name)) : unset(option))),
  );
  const replaced = programs.map((program) => ({ program, ...program.settings(valuesOf(told)) }));
  const resolved = told.map((each) => implied(each, replaced));
  const values = valuesOf(resolved);
  const origins = new Map(resolved.map(({ option, origin }) => [option.name, origin]));
  const settings = agentSettings(values);
  const surroundings = {
    useKubernetes: usesKubernetes(settings, environment),
    tellRestarts: programs.some(({ tellsRestarts }) => tellsRestarts),
  };
  return deepFreeze({
    ...settings,
    ...surroundings,
    notes: programs.flatMap(({ ignored = {} }) =>
      Object.entries(ignored)
        .filter(([variable]) => environment[variable])
        .map(([variable, why]) => `${variable}: ${why}`),
    ),
    replaced,
    sinks: sinks.flatMap((sink) => configured(sink, values, surroundings, origins)),
    options: resolved.map(({ option, text, origin }) => ({ name: option.name, text, origin })),
  });
}

function replacedPrograms(all: Catalogue, set: SetOption | undefined): ReplacedProgram[] {
  const { option } = all.spellings.get('replace')!;
  return programsNamed(resolve(option, set).value as ReadonlySet<string>);
}

function* inheritedAssignments(
  programs: readonly ReplacedProgram[],
  environment: ConfigSources['environment'],
): Generator<Assignment> {
  for (const { name, variable, value } of inheritedSettings(programs, environment))
    yield { name, value, origin: { kind: 'environment', name: variable } };
}

/** Where nobody says anything, a program that is replaced does. */
function implied(told: Resolved, replaced: readonly Replaced[]): Resolved {
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

function valuesOf(resolved: readonly Resolved[]): Record<string, unknown> {
  return Object.fromEntries(resolved.map(({ option, value }) => [option.name, value]));
}

/** What one source says about one option. */
interface Assignment {
  readonly name: string;
  readonly value: string | true | readonly string[];
  readonly origin: Origin;
}

interface SetOption {
  readonly spelling: Spelling;
  readonly value: string | true;
  readonly origin: Origin;
}

function assign(all: Catalogue, assignments: Iterable<Assignment>): Map<string, SetOption> {
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

function flagAssignments(flags: readonly Flag[]): Assignment[] {
  return flags.map(({ name, value }) => ({ name, value, origin: { kind: 'flag', name: dashed(name) } }));
}

async function fileAssignments(path: string): Promise<Assignment[]> {
  const settings = await readConfigFile(path);
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

function* environmentAssignments(
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

interface Resolved {
  readonly option: Option;
  readonly value: unknown;
  readonly text?: string;
  readonly origin: Origin;
}

function resolve(option: Option, set: SetOption | undefined): Resolved {
  if (set === undefined) {
    const { default: text } = option;
    if (text === undefined) return unset(option);
    return { option, value: parse(option, text, { kind: 'default' }), text, origin: { kind: 'default' } };
  }
  const { spelling, origin } = set;
  const given = spelling.isFile ? readSecret(option, String(set.value), origin) : set.value;
  const value = parse(option, given, origin);
  return { option, value, text: option.secret ? '***' : String(given), origin };
}

function unset(option: Option): Resolved {
  return { option, value: undefined, origin: { kind: 'unset' } };
}

function readSecret(option: Option, path: string, origin: Origin): string {
  const at = `${subject({ name: secretFileName(option) }, origin)}: ${path}`;
  let text: string;
  try {
    text = readSmallFile(path).trimEnd();
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

function configured(
  { name, module }: NamedSink,
  values: Readonly<Record<string, unknown>>,
  surroundings: SinkSurroundings,
  origins: ReadonlyMap<string, Origin>,
): ConfiguredSink[] {
  const own = Object.fromEntries(module.options.map((option) => [option.name, values[option.name]]));
  try {
    const settings = module.settings(own, surroundings);
    return settings === undefined ? [] : [{ name, module, settings }];
  } catch (error) {
    if (!(error instanceof OptionError)) throw error;
    const origin = origins.get(error.option);
    if (origin?.kind !== 'environment' && origin?.kind !== 'file') throw error;
    throw new OptionError(
      error.option,
      `${error.message} (--${error.option} comes from ${written(origin)}.)`,
    );
  }
}

/** How a message begins: the option and, unless it was a flag, where its value stands. */
function subject({ name }: Pick<Option, 'name'>, origin: Origin): string {
  return origin.kind === 'flag' ? origin.name : `--${name} (${written(origin)})`;
}

function written(origin: Origin): string {
  if (origin.kind === 'file') return `${origin.key} in ${origin.path}`;
  return 'name' in origin ? origin.name : origin.kind;
}

/** Arrays and plain objects; what a class made keeps its own rules. */
function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  if (types.isModuleNamespaceObject(value)) return value;
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== Array.prototype && prototype !== null) return value;
  Object.freeze(value);
  for (const inner of Object.values(value)) deepFreeze(inner);
  return value;
}
