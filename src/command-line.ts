import { Argument, Command, CommanderError, Option as CommanderOption, Help } from 'commander';
import type { AnalyzeForm } from './analyze/run.ts';
import { type Catalogue, headingOf, secretFileName } from './config/catalogue.ts';
import { dashed, environmentName, type Option } from './config/option.ts';
import type { Flag } from './config.ts';
import { shown } from './format.ts';

/** What is asked for. */
export type Invocation =
  | { readonly command: 'run' | 'watch'; readonly flags: readonly Flag[] }
  | {
      readonly command: 'analyze';
      readonly flags: readonly Flag[];
      /** As they were given; none means standard input. */
      readonly files: readonly string[];
      /** Undefined: whichever suits the output. */
      readonly form: AnalyzeForm | undefined;
    }
  | { readonly command: 'config print'; readonly flags: readonly Flag[]; readonly asJson: boolean };

/** What `--help` and `--version` print, and how wide that may be. */
export interface HelpOutput {
  readonly write: (text: string) => void;
  readonly columns?: number;
}

/** The command line cannot be understood. Its message is one line. */
export class UsageError extends Error {}

/**
 * @param argv without the program itself
 * @returns undefined where help or the version was asked for, and is printed
 * @throws UsageError
 */
export function parseCommandLine(
  argv: readonly string[],
  all: Catalogue,
  version: string,
  output: HelpOutput,
): Invocation | undefined {
  const flags: Flag[] = [];
  let invocation: Invocation | undefined;
  const program = new Command('oom-witness');
  program
    .exitOverride()
    .configureOutput({
      writeOut: output.write,
      writeErr: () => {},
      getOutHelpWidth: () => output.columns ?? 100,
    })
    .configureHelp({ minWidthToWrap: 24, formatHelp: (command, help) => helpText(program, command, help) })
    .version(`oom-witness ${version}`, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this')
    .helpCommand(false)
    .usage('[command] [options]');
  for (const option of flagsOf(all)) {
    program.addOption(option);
    const name = option.name();
    const alone = (option.presetArg as string | undefined) ?? true;
    program.on(`option:${name}`, (value?: string) => flags.push({ name, value: value ?? alone }));
  }

  program
    .command('run', { isDefault: true })
    .description('watch this machine and deliver every OOM kill (the default)')
    .allowExcessArguments(false)
    .action(() => {
      invocation = { command: 'run', flags };
    });
  program
    .command('watch')
    .description('deliver the OOM kills that the pods of a whole cluster tell; needs no privileges')
    .allowExcessArguments(false)
    .action(() => {
      invocation = { command: 'watch', flags };
    });
  program
    .command('analyze')
    .description('tell every OOM kill in recorded kernel logs: dmesg, journalctl, syslog files')
    .argument('[FILE...]', 'logs to read, each kill once; - or none is standard input')
    .addOption(new CommanderOption('--text', 'for people (the default on a terminal)').conflicts('json'))
    .option('--json', 'one JSON incident a line (the default elsewhere)')
    .action((files: string[], { text, json }: { text?: boolean; json?: boolean }) => {
      invocation = { command: 'analyze', flags, files, form: text ? 'text' : json ? 'json' : undefined };
    });
  program
    .command('config')
    .description('show every option, its value and where that comes from')
    .addArgument(new Argument('<print>', 'takes the same options as run').choices(['print']))
    .option('--json', 'as JSON')
    .allowExcessArguments(false)
    .action((_action: string, { json }: { json?: boolean }) => {
      invocation = { command: 'config print', flags, asJson: json === true };
    });

  try {
    program.parse(argv, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode !== 0) throw new UsageError(usageProblem(program, error));
  }
  return invocation;
}

function* flagsOf(all: Catalogue): Generator<CommanderOption> {
  for (const group of all.groups)
    for (const option of group.options) {
      const heading = `${headingOf(group)}:`;
      yield flag(option.name, option.value, description(option), option.alone).helpGroup(heading);
      for (const alias of option.aliases ?? []) yield flag(alias, option.value, '').hideHelp();
      if (option.secret) yield flag(secretFileName(option), 'PATH', '').hideHelp();
    }
}

function flag(name: string, value: string | undefined, help: string, alone?: string): CommanderOption {
  const dashes = dashed(name);
  const placeholder = alone === undefined ? '<value>' : '[value]';
  const option = new CommanderOption(value === undefined ? dashes : `${dashes} ${placeholder}`, help);
  option.preset(alone);
  // Set afterwards: commander reads brackets and dots in it as its own syntax.
  if (value !== undefined) option.flags = `${dashes} ${value}`;
  return option;
}

function description(option: Option): string {
  const { help, secret, default: text } = option;
  if (secret) return `${help} (or --${secretFileName(option)} PATH)`;
  return text && text !== 'false' ? `${help} (default ${text})` : help;
}

function usageProblem(program: Command, { code, message }: CommanderError): string {
  if (code === 'commander.excessArguments') {
    const names = program.commands.map((command) => command.name());
    const [name = ''] = program.args;
    return names.includes(name)
      ? `too many arguments for ${name}. See --help.`
      : `there is no command "${shown(name, 100)}". There are ${names.join(', ')}.`;
  }
  const text = message.replace(/^error: /, '').replace(/\s*\n\s*/g, ' ');
  return text.endsWith('?)') ? text : `${text.replace(/[.]$/, '')}. See --help.`;
}

const ENVIRONMENT = environmentName('');

const NOTES = `
Every option is also an environment variable (--kafka-brokers: ${environmentName('kafka-brokers')}) and a
key of the --config file (kafka-brokers: …, or kafka: { brokers: … }). Flags come before environment
before file. oom-notifier's flags, LOGGING_LEVEL and HOSTNAME mean what they meant there.

Examples:
  oom-witness                                          print kills on this terminal
  oom-witness --kafka-brokers kafka:9092 --kafka-topic oom --slack-webhook-file /run/secrets/slack
  dmesg | oom-witness analyze                          what was killed, from a log
  ${ENVIRONMENT}LISTEN=off oom-witness config print      what would be used, and why

Exit codes: 0 stopped as asked, 1 nothing can be watched or a fault, 2 wrong options or settings
`;

/** One page for everything but `analyze` and `config`: the commands before the many options. */
function helpText(program: Command, command: Command, help: Help): string {
  const format = (shown: Command) => Help.prototype.formatHelp.call(help, shown, help);
  if (command !== program && !['run', 'watch'].includes(command.name())) return format(command);
  const rows = program.commands.map(
    (each) => [help.subcommandTerm(each).replace(' [options]', '').replace(/[<>]/g, ''), each] as const,
  );
  const commands = rows.map(([term, each]) => `  ${term.padEnd(18)}${each.description()}\n`);
  help.visibleCommands = () => [];
  return format(program).replace('\n\n', `\n\nCommands:\n${commands.join('')}\n`) + NOTES;
}
