import { randomUUID } from 'node:crypto';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse } from 'yaml';

/** The address of the server that a kubeconfig file of one cluster names. */
export function serverIn(kubeconfig: string): URL {
  return new URL(parse(readFileSync(kubeconfig, 'utf8')).clusters[0].cluster.server);
}

/** A copy of a kubeconfig file of one cluster and one user, with other things in it. @returns its path */
export function kubeconfigLike(
  t: { after(clean: () => unknown): void },
  kubeconfig: string,
  { cluster = {}, user }: { readonly cluster?: object; readonly user?: object },
): string {
  const config = parse(readFileSync(kubeconfig, 'utf8'));
  Object.assign(config.clusters[0].cluster, cluster);
  if (user !== undefined) config.users[0].user = user;
  const path = join(tmpdir(), `oom-witness-kubeconfig-${randomUUID()}`);
  writeFileSync(path, JSON.stringify(config), { mode: 0o600 });
  t.after(() => rmSync(path, { force: true }));
  return path;
}
