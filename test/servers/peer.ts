/** Programs that the agent can replace or is used with, run beside it: users have them, this project does not. */
import { accessSync, constants } from 'node:fs';
import path from 'node:path';

/**
 * The program's executable, whose path an environment variable gives: `OOM_WITNESS_PEER_` and the name in capitals.
 *
 * @returns or why tests beside it are skipped
 * @throws where the variable names nothing that can be run: a test that was asked for is not skipped
 */
export function peerProgram(name: string): { readonly executable: string } | { readonly missing: string } {
  const variable = `OOM_WITNESS_PEER_${name.toUpperCase().replaceAll('-', '_')}`;
  const given = process.env[variable];
  if (!given) return { missing: `needs ${variable}: the path of ${name}'s executable` };
  const executable = path.resolve(given);
  try {
    accessSync(executable, constants.X_OK);
  } catch {
    throw new Error(`${variable}: ${executable} cannot be run`);
  }
  return { executable };
}
