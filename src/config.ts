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
import { OptionFiles } from './config/option-files.ts';
import { type AgentSettings, agentSettings, usesKubernetes } from './config/options.ts';
import { type Origin, written } from './config/origin.ts';
import { programsNamed, type Replaced, refuseUnused } from './config/replaced.ts';
import { implied, type Resolved, resolve, unset, valuesOf } from './config/resolve.ts';
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
  /** For `module.open`, with the files that its options name as they were at the start. */
  readonly settings: unknown;
  /** The same with these files as they are now. @throws OptionError */
  readonly renewed: () => Promise<unknown>;
  /** Whether one of them is not what it was when it was last read. Absent: its options name none. */
  readonly isOutdated?: () => Promise<boolean>;
}

/** Everything that anybody can set, checked and deeply frozen. */
export interface Config extends AgentSettings {
  readonly useKubernetes: boolean;
  /** `oom_restart` is a kind of incidents. */
  readonly tellRestarts: boolean;
  /** `apiToken` with its file as it is now. @throws OptionError */
  readonly renewedApiToken: () => Promise<string | undefined>;
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
  { flags, environment, signal }: ConfigSources,
): Promise<Config> {
  const all = catalogue(sinks);
  const fromFlags = assign(all, flagAssignments(flags));
  const fromEnvironment = assign(all, environmentAssignments(all, environment));
  const file = fromFlags.get('config') ?? fromEnvironment.get('config');
  const files = new OptionFiles(signal);
  const fromFile = assign(all, file === undefined ? [] : await fileAssignments(String(file.value), files));

  const find = (name: string) => fromFlags.get(name) ?? fromEnvironment.get(name) ?? fromFile.get(name);
  const programs = await replacedPrograms(all, find('replace'), files);
  refuseUnused(programs, (option) => find(option) !== undefined);
  for (const [name, set] of assign(all, inheritedAssignments(programs, environment)))
    if (!fromEnvironment.has(name)) fromEnvironment.set(name, set);

  const isUsed = ({ program }: OptionGroup) =>
    program === undefined || programs.some(({ name }) => name === program);
  const filesOf = new Map(all.groups.map((group) => [group, new OptionFiles(signal)]));
  const tell = async (group: OptionGroup): Promise<Resolved[]> => {
    const told: Resolved[] = [];
    for (const option of group.options)
      told.push(
        isUsed(group) ? await resolve(option, find(option.name), filesOf.get(group)!) : unset(option),
      );
    return told;
  };
  const tellOne = async (name: string): Promise<unknown> => {
    const { option } = all.spellings.get(name)!;
    const group = all.groups.find(({ options }) => options.includes(option))!;
    return (await resolve(option, find(name), filesOf.get(group)!)).value;
  };
  const told: Resolved[] = [];
  for (const group of all.groups) told.push(...(await tell(group)));
  const replaced = programs.map((program) => ({ program, ...program.settings(valuesOf(told)) }));
  const imply = (told: readonly Resolved[]) => told.map((each) => implied(each, replaced));
  const resolved = imply(told);
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
    renewedApiToken: async () => (await tellOne('api-token')) as string | undefined,
    notes: programs.flatMap(({ ignored = {} }) =>
      Object.entries(ignored)
        .filter(([variable]) => environment[variable])
        .map(([variable, why]) => `${variable}: ${why}`),
    ),
    replaced,
    sinks: sinks.flatMap((sink) => {
      const make = (values: Values) => settingsOf(sink.module, values, surroundings, origins);
      const settings = make(values);
      if (settings === undefined) return [];
      const group = all.groups.find((each) => each.sink === sink.name)!;
      const renewed = async () => deepFreeze(make(valuesOf(imply(await tell(group)))));
      const own = filesOf.get(group)!;
      return [{ ...sink, settings, renewed, ...(!own.isEmpty && { isOutdated: () => own.haveChanged() }) }];
    }),
    options: resolved.map(({ option, text, origin }) => ({ name: option.name, text, origin })),
  });
}

type Values = Readonly<Record<string, unknown>>;

async function replacedPrograms(
  all: Catalogue,
  set: SetOption | undefined,
  files: OptionFiles,
): Promise<ReplacedProgram[]> {
  const { option } = all.spellings.get('replace')!;
  return programsNamed((await resolve(option, set, files)).value as ReadonlySet<string>);
}

function settingsOf(
  module: SinkModule,
  values: Values,
  surroundings: SinkSurroundings,
  origins: ReadonlyMap<string, Origin>,
): unknown {
  const own = Object.fromEntries(module.options.map((option) => [option.name, values[option.name]]));
  try {
    return module.settings(own, surroundings);
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
