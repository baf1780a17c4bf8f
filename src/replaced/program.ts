import type { ListenAddress } from '../config/listen-address.ts';
import type { Option } from '../config/option.ts';
import type { FamilyModule } from '../metrics/family.ts';

/** A program that oom-witness takes the place of: all of it that its users see and that is no sink. One file each. */
export interface ReplacedProgram {
  /** After `--replace`, and after `--metrics` for its metrics alone. */
  readonly name: string;
  /** Its own flags, under their own names. They mean something only where it is replaced. */
  readonly options: readonly Option[];
  /** Its environment variables, read only where it is replaced, and behind ours. */
  readonly environment: readonly InheritedVariable[];
  /** Variables of it that mean nothing here, and why: said once at the start where they are set. */
  readonly ignored?: Readonly<Record<string, string>>;
  /** Where it listens, and what its settings mean for the options of the agent that nobody has set. */
  settings(values: Readonly<Record<string, unknown>>): ReplacedSettings;
  /** Its Events are sent for it: restarts after an OOM kill become incidents of the kind `oom_restart`. */
  readonly tellsRestarts?: true;
  /** Its metrics are of processes, of which `oom-witness watch` knows nothing. */
  readonly showsProcesses?: true;
  /** Where its metrics answer; undefined: on every path. */
  readonly path: string | undefined;
  /** Its metrics. */
  readonly family: () => Promise<FamilyModule>;
}

export interface InheritedVariable {
  readonly variable: string;
  readonly option: string;
  /**
   * What the option is told. Throws an Error that says the mend where nothing of ours means the same; undefined: the
   * variable says nothing.
   */
  readonly meaning?: (text: string) => string | undefined;
}

export interface ReplacedSettings {
  readonly listen: ListenAddress;
  /** The option of that address. */
  readonly listenOption: string;
  /** By option name: instead of its default. */
  readonly implied?: Readonly<Record<string, string>>;
}
