/** The image that the Dockerfile makes, for every test that runs the agent in a container or a pod. */
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
} from 'node:fs';
import path from 'node:path';
import packageJson from '../../package.json' with { type: 'json' };
import { cacheFolder } from '../servers/cache.ts';
import { Docker, dockerPackages } from '../servers/docker.ts';
import { lockFile } from '../servers/file-lock.ts';
import { BUILD_BASE, importBuildBase } from './build-base.ts';

const ROOT = path.join(import.meta.dirname, '../..');
const CACHE = path.join(cacheFolder(), 'agent-image');
/** Of 120 MB each. */
const KEPT = 5;
const BUILDER_CACHE = '3GB';
/** Another checkout's tests may be about to read theirs. */
const IN_USE_MS = 3_600_000;

/** Its name in Docker; containerd puts `docker.io/library/` before it. */
export const AGENT_IMAGE = `oom-witness:${packageJson.version}`;

/**
 * Builds it from the checkout, unless the same has been built before.
 *
 * @returns a file as `docker save` writes it, for `docker load` and `ctr images import`
 * @throws with the reason, where Docker cannot run
 */
export async function buildAgentImage(): Promise<string> {
  const archive = path.join(CACHE, `${contentHash()}.tar`);
  if (isThere(archive)) return archive;
  const packages = await dockerPackages();
  if ('missing' in packages) throw new Error(packages.missing);
  mkdirSync(CACHE, { recursive: true });
  await using _lock = await lockFile(path.join(CACHE, 'lock'));
  // Somebody else may have built the same in the meantime.
  if (isThere(archive)) return archive;
  // What has not changed since the last build is not made again.
  await using docker = await Docker.start(packages.root, { data: path.join(CACHE, 'docker') });
  await buildIn(docker);
  // It appears under its name when it is complete.
  await docker.command('save', '--output', `${archive}.part`, AGENT_IMAGE);
  renameSync(`${archive}.part`, archive);
  await docker.command('image', 'prune', '--force');
  await docker.command('builder', 'prune', '--force', '--keep-storage', BUILDER_CACHE);
  removeOldest();
  return archive;
}

export async function loadAgentImage(docker: Docker): Promise<void> {
  await docker.command('load', '--input', await buildAgentImage());
}

async function buildIn(docker: Docker): Promise<void> {
  const dockerfile = readFileSync(path.join(ROOT, 'Dockerfile'), 'utf8');
  const base = /^ARG BASE=(\S+)$/m.exec(dockerfile)?.[1];
  if (base === undefined) throw new Error('the Dockerfile names no base');
  await importBuildBase(docker, base);
  await docker.build(AGENT_IMAGE, ROOT);
}

/** Of all that the builder is sent, and of what it builds on. */
function contentHash(): string {
  const sent = readFileSync(path.join(ROOT, '.dockerignore'), 'utf8').matchAll(/^!(\S+)$/gm);
  const parts = ['Dockerfile', '.dockerignore', ...Array.from(sent, ([, name]) => name as string)];
  const hash = createHash('sha256').update(BUILD_BASE);
  for (const file of parts.flatMap(filesOf).sort())
    hash.update(`\0${file}\0`).update(readFileSync(path.join(ROOT, file)));
  return hash.digest('hex').slice(0, 16);
}

function filesOf(part: string): string[] {
  const at = path.join(ROOT, part);
  if (!statSync(at).isDirectory()) return [part];
  const entries = readdirSync(at, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => path.relative(ROOT, path.join(parentPath, name)));
}

/** Marks it as used. */
function isThere(archive: string): boolean {
  if (!existsSync(archive)) return false;
  const now = new Date();
  utimesSync(archive, now, now);
  return true;
}

function removeOldest(): void {
  const archives = readdirSync(CACHE)
    .filter((name) => name.endsWith('.tar'))
    .map((name) => ({ file: path.join(CACHE, name), usedAt: statSync(path.join(CACHE, name)).mtimeMs }))
    .sort((a, b) => b.usedAt - a.usedAt);
  for (const { file, usedAt } of archives.slice(KEPT))
    if (Date.now() - usedAt > IN_USE_MS) rmSync(file, { force: true });
}
