/** Servers that are published as Java libraries: the jars of a pom, fetched once into a cache outside the checkout. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { cacheFolder } from './cache.ts';

const LIMIT_SECONDS = 600;

// One at a time: Maven does not promise that two of it can share its own repository. The kernel ends the lock with its owner.
// The folder appears under its name only when it is complete.
const RESOLVE = `
test -d "$1" && exit 0
rm -rf "$1.part"
timeout ${LIMIT_SECONDS} mvn -q -B -f "$2" dependency:copy-dependencies -DincludeScope=runtime \
  -DoutputDirectory="$1.part" >"$1.log" 2>&1 || { tail -n 20 "$1.log" >&2; exit 1; }
mv "$1.part" "$1" && rm -f "$1.log"`;

/**
 * The folder that holds every jar that the pom's dependencies need at run time. Its name carries the pom's hash: a changed pom
 * is resolved anew.
 *
 * @param name what the folder in the cache is called
 * @throws when Maven is missing or cannot resolve it, with the end of what it said
 */
export async function mavenClasspath(pomPath: string, name: string): Promise<string> {
  const cache = cacheFolder();
  const hash = createHash('sha256')
    .update(await readFile(pomPath))
    .digest('hex');
  const folder = join(cache, 'maven', `${name}-${hash.slice(0, 12)}`);
  if (existsSync(folder)) return folder;

  await mkdir(join(cache, 'maven'), { recursive: true });
  try {
    await promisify(execFile)('flock', [
      join(cache, 'maven', 'lock'),
      'sh',
      '-c',
      RESOLVE,
      'sh',
      folder,
      pomPath,
    ]);
  } catch (error) {
    const said = (error as { stderr?: string }).stderr?.trim() || String(error);
    throw new Error(`Maven could not fetch ${name} (is it installed? apt-get install maven): ${said}`);
  }
  return folder;
}
