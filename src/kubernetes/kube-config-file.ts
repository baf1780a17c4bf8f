import { statSync } from 'node:fs';
import path from 'node:path';
import { readSmallFile } from '../config/small-file.ts';
import { isObject } from './status.ts';

type Entry = Record<string, unknown>;

const LIST_KEYS = ['clusters', 'users', 'contexts'] as const;

export type MergedKubeConfig = { [key: string]: unknown } & Record<(typeof LIST_KEYS)[number], Entry[]>;

/**
 * Kubeconfig files as one, by client-go's rules where client-node has others: the first file that names a thing wins, relative
 * paths (of `exec.command` too) are relative to their file, and `tokenFile` comes before `token` and is read again and again.
 *
 * @param files in order of precedence
 * @throws Error that names the file
 */
export async function readKubeConfigs(files: readonly string[]): Promise<MergedKubeConfig> {
  const { parse } = await import('yaml');
  const merged: MergedKubeConfig = {
    clusters: [],
    users: [],
    contexts: [],
  };
  for (const file of files) {
    let config: unknown;
    try {
      // Its content comes once, and the credentials are read again when they are refused.
      if (statSync(file, { throwIfNoEntry: false })?.isFIFO())
        throw new Error('it is a pipe, and it is read again and again');
      config = parse(await readSmallFile(file)) ?? {};
    } catch (error) {
      throw new Error(`cannot read ${file}: ${(error as Error).message.split('\n', 1)[0]}`, { cause: error });
    }
    if (!isObject(config)) throw new Error(`${file} is no kubeconfig`);
    merged['current-context'] ||= config['current-context'];
    for (const key of LIST_KEYS)
      for (const entry of entriesOf(config[key], `${file}: ${key}`))
        if (!merged[key].some(({ name }) => name === entry.name))
          merged[key].push(resolved(entry, path.dirname(file)));
  }
  return merged;
}

function entriesOf(list: unknown, place: string): Entry[] {
  if (list === undefined || list === null) return [];
  if (!Array.isArray(list) || !list.every(isObject)) throw new Error(`${place} is no list of objects`);
  return list;
}

function resolved(entry: Entry, folder: string): Entry {
  const { cluster, user } = entry;
  return {
    ...entry,
    ...(isObject(cluster) ? { cluster: withPaths(cluster, ['certificate-authority'], folder) } : {}),
    ...(isObject(user) ? { user: resolvedUser(user, folder) } : {}),
  };
}

function resolvedUser(user: Entry, folder: string): Entry {
  const { tokenFile, token, exec, ...rest } = withPaths(
    user,
    ['client-certificate', 'client-key', 'tokenFile'],
    folder,
  );
  return {
    ...rest,
    ...(typeof tokenFile === 'string' && tokenFile !== ''
      ? { 'auth-provider': { name: 'tokenFile', config: { tokenFile } } }
      : { token }),
    ...(isObject(exec) ? { exec: resolvedPlugin(exec, folder) } : {}),
  };
}

function resolvedPlugin(exec: Entry, folder: string): Entry {
  const { command, env, apiVersion } = exec;
  // Plugins read from it which version of the answer is wanted, and that nobody sits in front of them.
  const info = JSON.stringify({ apiVersion, kind: 'ExecCredential', spec: { interactive: false } });
  return {
    ...exec,
    ...(typeof command === 'string' && command.includes('/')
      ? { command: path.resolve(folder, command) }
      : {}),
    env: [...(Array.isArray(env) ? env.filter(isObject) : []), { name: 'KUBERNETES_EXEC_INFO', value: info }],
  };
}

function withPaths(entry: Entry, keys: readonly string[], folder: string): Entry {
  const paths = keys.flatMap((key) => {
    const value = entry[key];
    return typeof value === 'string' && value !== '' ? [[key, path.resolve(folder, value)]] : [];
  });
  return { ...entry, ...Object.fromEntries(paths) };
}
