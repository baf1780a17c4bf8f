import type { GenericSchema } from 'valibot';

/**
 * One setting, in every place where it can be set: the flag `--kafka-brokers`, the environment variable
 * `OOM_WITNESS_KAFKA_BROKERS` and the key `kafka-brokers` (or `kafka: { brokers: … }`) of the configuration file.
 * Help, documentation and `config print` are made from it.
 */
export interface Option {
  /** Kebab case, without the dashes. A sink's options begin with the sink's name or a word of its own. */
  readonly name: string;
  /** What stands for the value in help, e.g. `HOST:PORT,…`. Absent: a switch that takes no value. */
  readonly value?: string;
  /** One line, lower case, no full stop. */
  readonly help: string;
  /** From the text (or the switch's boolean) to the value; its issue messages say the mend. */
  readonly schema: GenericSchema<string | boolean, unknown>;
  /** The text that is parsed when nobody sets it. */
  readonly default?: string;
  /** Printed as ***; `--NAME-file PATH` is offered too, so that it need not be in argv. */
  readonly secret?: true;
  /** The value is the path of a file, and what `schema` and the sink get is its text: see `OptionFiles`. */
  readonly file?: true;
  /** Names that a replaced program accepted for it, one of a single letter after one dash; not shown in help. */
  readonly aliases?: readonly string[];
  /** The text that the flag means without a value, as the switches of programs in Go do: `--docker`, `--docker=false`. */
  readonly alone?: string;
}

/** A setting that is wrong or missing its partner. `program.ts` prints its one line and exits with 2. */
export class OptionError extends Error {
  /** The option's name in kebab case, without the dashes. */
  readonly option: string;

  constructor(option: string, message: string) {
    super(message);
    this.name = 'OptionError';
    this.option = option;
  }
}

/**
 * @param example of the value that is missing
 * @param add what to set, where that is not `unset` itself but its `-file`
 */
export function lacksPartner(set: string, unset: string, example: string, add = unset): OptionError {
  return new OptionError(
    set,
    `--${set} is set but --${unset} is not. Add --${add} ${example} (or ${environmentName(unset)}).`,
  );
}

/** As on the command line: `--kafka-brokers`, `-v`. */
export function dashed(name: string): string {
  return `${name.length === 1 ? '-' : '--'}${name}`;
}

/** `kafka-brokers` -> `OOM_WITNESS_KAFKA_BROKERS` */
export function environmentName(option: string): string {
  return `OOM_WITNESS_${option.toUpperCase().replaceAll('-', '_')}`;
}
