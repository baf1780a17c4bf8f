import { types } from 'node:util';
import {
  assign,
  type ConfigSources,
  environmentAssignments,
  fileAssignments,
  flagAssignments,
  inheritedAssignments,
  type SetOption,
} from './config/assignments.ts';
import { type Catalogue, catalogue, type OptionGroup } from './config/catalogue.ts';
import { OptionError } from './config/option.ts';
import { type AgentSettings, agentSettings, usesKubernetes } from './config/options.ts';
import { type Origin, written } from './config/origin.ts';
import { programsNamed, type Replaced, refuseUnused } from './config/replaced.ts';
import { implied, resolve, unset, valuesOf } from './config/resolve.ts';
import type { ReplacedProgram } from './replaced/program.ts';
import type { SinkModule, SinkSurroundings } from './sink.ts';
import type { NamedSink } from './sinks.ts';

export type { ConfigSources, Flag } from './config/assignments.ts';
export type { Origin } from './config/origin.ts';

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
