import { homedir } from 'node:os';
import { join } from 'node:path';

/** Where the suites keep what takes long to fetch or to build: outside the checkout, safe to delete while no suite runs. */
export function cacheFolder(): string {
  const { OOM_WITNESS_TEST_CACHE, XDG_CACHE_HOME } = process.env;
  return OOM_WITNESS_TEST_CACHE ?? join(XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'oom-witness-test');
}
