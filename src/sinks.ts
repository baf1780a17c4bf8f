import * as v from 'valibot';
import type { SinkModule } from './sink.ts';
import { importSinks, SINK_NAME } from './sink-files.ts';

export interface NamedSink {
  readonly name: string;
  readonly module: SinkModule;
}

/** The values of options are checked where they are parsed; this tells a sink from a file that is none. */
const SINK_MODULE = v.looseObject({
  options: v.array(v.looseObject({ name: v.pipe(v.string(), v.regex(SINK_NAME)), help: v.string() })),
  batchSize: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1))),
  kinds: v.optional(v.function()),
  settings: v.function(),
  open: v.function(),
});

/**
 * Every file of the folder is a sink by the name of the file. Sorted by name.
 *
 * @throws where a file cannot be loaded or is no sink
 */
export async function loadSinks(folder?: URL): Promise<readonly NamedSink[]> {
  const found = await importSinks(folder);
  return found.map(({ name, file, module }) => {
    const checked = v.safeParse(SINK_MODULE, { ...module });
    if (!checked.success) {
      const at = v.getDotPath(checked.issues[0]) ?? 'the file';
      throw new Error(`${file} is no sink: ${at}: ${checked.issues[0].message}`);
    }
    return { name, module: module as SinkModule };
  });
}
