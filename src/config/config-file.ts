import { OptionError } from './option.ts';
import type { OptionFiles } from './option-files.ts';

export interface FileSetting {
  /** The option's name: the keys on the way to it joined by a dash. */
  readonly name: string;
  /** As it stands in the file: `kafka.brokers`. */
  readonly key: string;
  readonly value: string | readonly string[];
}

const MAX_DEPTH = 8;

/**
 * The settings of a YAML file, flat (`kafka-brokers: …`) or nested (`kafka: { brokers: … }`). Every value is the text
 * that was written: in a password, `1e3` and `0123` are no numbers.
 *
 * @throws OptionError of the option `config`
 */
export async function readConfigFile(path: string, files: OptionFiles): Promise<readonly FileSetting[]> {
  const fail = (problem: string) => new OptionError('config', `--config: ${path}: ${problem}.`);
  let text: string;
  try {
    text = await files.read(path);
  } catch (error) {
    throw fail(`cannot be read: ${(error as Error).message}`);
  }
  // 20 to 35 ms and 6 MB: only for those who have a file.
  const { parseDocument } = await import('yaml');
  const document = parseDocument(text, { schema: 'failsafe', prettyErrors: true });
  const problem = document.errors[0] ?? document.warnings[0];
  if (problem !== undefined) throw fail(problem.message.split('\n')[0]!.replace(/:$/, ''));
  let content: unknown;
  try {
    content = document.toJS({ mapAsMap: true, maxAliasCount: 100 });
  } catch (error) {
    throw fail((error as Error).message);
  }
  if (content === null || content === '') return [];
  if (!(content instanceof Map)) throw fail('must hold options like "kafka-brokers: host:9092"');
  return [...flatten(content, [], fail)];
}

function* flatten(
  map: ReadonlyMap<unknown, unknown>,
  parents: readonly string[],
  fail: (problem: string) => OptionError,
): Generator<FileSetting> {
  for (const [name, value] of map) {
    if (!isText(name)) throw fail('a key must be the name of an option');
    const keys = [...parents, name];
    const key = keys.join('.');
    // An anchor may contain itself.
    if (keys.length > MAX_DEPTH) throw fail(`${key} is nested too deep`);
    if (value instanceof Map) yield* flatten(value, keys, fail);
    else if (isText(value) || (Array.isArray(value) && value.every(isText)))
      yield { name: keys.join('-'), key, value };
    else throw fail(`${key} must be a text or a list of texts`);
  }
}

function isText(value: unknown): value is string {
  return typeof value === 'string';
}
