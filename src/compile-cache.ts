/** What V8 has made of the bundle, kept beside it by `build.ts`: 20 of 226 ms of CPU time until armed are not spent again. */
import { existsSync } from 'node:fs';
import { enableCompileCache } from 'node:module';

/**
 * Of the bundle; the checkout has none. Another Node.js, or another kind of processor, than that which built it finds nothing
 * in there that it can use.
 */
const FOLDER = `${import.meta.dirname}/../compiled`;

/** From now on modules come from it. @returns what a thread that shall do the same needs in its environment */
export function useCompileCache(): NodeJS.ProcessEnv {
  if (!existsSync(FOLDER)) return {};
  enableCompileCache(FOLDER);
  return { NODE_COMPILE_CACHE: FOLDER };
}
