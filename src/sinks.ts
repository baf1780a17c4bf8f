import { readdirSync } from 'node:fs';
import { extname, parse } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as v from 'valibot';
import type { SinkModule } from './sink.ts';

export interface NamedSink {
  readonly name: string;
  readonly module: SinkModule;
}

/** In the checkout `sinks/*.ts` beside `src/`; in the bundle `dist/sinks/*.js` beside `dist/src/`. */
const SINKS = new URL('../sinks/', import.meta.url);
const EXTENSION = extname(new URL(import.meta.url).pathname);
const NAME = /^[a-z][a-z0-9-]*$/;

/** The values of options are checked where they are parsed; this tells a sink from a file that is none. */
const SINK_MODULE = v.looseObject({
  options: v.array(v.looseObject({ name: v.pipe(v.string(), v.regex(NAME)), help: v.string() })),
  batchSize: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1))),
  kinds: v.optional(v.function()),
  settings: v.function(),
  open: v.function(),
});

/**
 * Every file of the folder is a sink by the name of the file; files with other names or endings are left alone.
 * Sorted by name.
 *
 * @throws where a file cannot be loaded or is no sink
 */
export async function loadSinks(folder: URL = SINKS): Promise<readonly NamedSink[]> {
  const files = readdirSync(folder)
    .map((file) => parse(file))
    .filter(({ name, ext }) => ext === EXTENSION && NAME.test(name))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  return Promise.all(files.map(({ name, base }) => loadSink(name, new URL(base, folder))));
}

async function loadSink(name: string, file: URL): Promise<NamedSink> {
  const module = await import(file.href).catch((error) => {
    throw new Error(`cannot load the sink ${name} from ${fileURLToPath(file)}`, { cause: error });
  });
  const checked = v.safeParse(SINK_MODULE, { ...module });
  if (!checked.success) {
    const at = v.getDotPath(checked.issues[0]) ?? 'the file';
    throw new Error(`${fileURLToPath(file)} is no sink: ${at}: ${checked.issues[0].message}`);
  }
  return { name, module: module as SinkModule };
}
