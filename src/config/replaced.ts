import type { InheritedVariable, ReplacedProgram, ReplacedSettings } from '../replaced/program.ts';
import { PROGRAMS, showsMetricsOf } from '../replaced/programs.ts';
import { OptionError } from './option.ts';
import type { AgentSettings } from './options.ts';

/** A program of `--replace`, with what its own settings come to. */
export interface Replaced extends ReplacedSettings {
  readonly program: ReplacedProgram;
}

export function programsNamed(names: ReadonlySet<string>): ReplacedProgram[] {
  return PROGRAMS.filter(({ name }) => names.has(name));
}

/** What the variables of replaced programs say, the first of two for the same option. */
export function* inheritedSettings(
  programs: readonly ReplacedProgram[],
  environment: Readonly<Record<string, string | undefined>>,
): Generator<{ readonly name: string; readonly variable: string; readonly value: string }> {
  const said = new Set<string>();
  for (const inherited of programs.flatMap(({ environment }) => environment)) {
    const { variable, option: name } = inherited;
    const text = environment[variable];
    const value = text ? meaning(inherited, text) : undefined;
    if (value === undefined || said.has(name)) continue;
    said.add(name);
    yield { name, variable, value };
  }
}

function meaning(
  { variable, option, meaning = (text) => text }: InheritedVariable,
  text: string,
): string | undefined {
  try {
    return meaning(text);
  } catch (error) {
    throw new OptionError(option, `${variable}: ${(error as Error).message}`);
  }
}

/** @throws OptionError where an option of a program is set that is not replaced */
export function refuseUnused(programs: readonly ReplacedProgram[], isSet: (option: string) => boolean): void {
  for (const { name: program, options } of PROGRAMS) {
    const unused = programs.some(({ name }) => name === program)
      ? undefined
      : options.find(({ name }) => isSet(name));
    if (unused !== undefined)
      throw new OptionError(
        unused.name,
        `--${unused.name} means nothing without --replace ${program}. Add that, or leave it out.`,
      );
  }
}

/** @throws OptionError where `oom-witness watch` would show metrics that stay empty for ever */
export function refuseOnWatch(asked: Pick<AgentSettings, 'metrics' | 'replace'>): void {
  const empty = PROGRAMS.find((program) => program.showsProcesses && showsMetricsOf(program, asked));
  if (empty === undefined) return;
  const option = asked.replace.has(empty.name) ? 'replace' : 'metrics';
  throw new OptionError(
    option,
    `--${option} ${empty.name}: oom-witness watch knows no processes. Run the agent of each node with it.`,
  );
}
