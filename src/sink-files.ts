import { readdirSync } from 'node:fs';
import { parse } from 'node:path';
import { fileURLToPath } from 'node:url';

export const SINK_NAME = /^[a-z][a-z0-9-]*$/;

export interface SinkFile {
  readonly name: string;
  /** For messages. */
  readonly file: string;
  /** Not checked. */
  readonly module: object;
}

/** `x.ts` is the sink `x`; files with other names or endings are left alone. Sorted. */
export function sinkNames(folder: URL): string[] {
  return readdirSync(folder)
    .map((file) => parse(file))
    .filter(({ name, ext }) => ext === '.ts' && SINK_NAME.test(name))
    .map(({ name }) => name)
    .sort();
}

/**
 * The bundle has these in itself: there `build.ts`, which finds them in the same way, puts a function that only names
 * them in the place of this one.
 *
 * @throws where a file cannot be loaded
 */
export async function importSinks(
  folder = new URL('../sinks/', import.meta.url),
): Promise<readonly SinkFile[]> {
  return Promise.all(
    sinkNames(folder).map(async (name) => {
      const url = new URL(`${name}.ts`, folder);
      const file = fileURLToPath(url);
      const module = await import(url.href).catch((error) => {
        throw new Error(`cannot load the sink ${name} from ${file}`, { cause: error });
      });
      return { name, file, module };
    }),
  );
}
