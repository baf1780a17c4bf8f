/**
 * Stands for the public image that the Dockerfile builds on, because tests reach no registry of images: the same parts
 * from Debian's packages and from npm.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { constants, copyFileSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { unpackPackages } from '../servers/apt.ts';
import type { Docker } from '../servers/docker.ts';

const run = promisify(execFile);

/** Of node:26, but any does. */
const NPM = 'npm@11.19.1';
const BINUTILS = { arm64: 'binutils-aarch64-linux-gnu', x64: 'binutils-x86-64-linux-gnu' } as const;
const PACKAGES = [
  ...['dash', 'bash', 'coreutils', 'findutils', 'grep', 'libc-bin', 'binutils', 'binutils-common'],
  BINUTILS[process.arch as keyof typeof BINUTILS],
  ...['libc6', 'libgcc-s1', 'libstdc++6', 'libatomic1', 'libbinutils', 'libctf0', 'libctf-nobfd0'],
  ...['libgprofng0', 'libjansson4', 'libzstd1', 'zlib1g', 'libacl1', 'libattr1', 'libgmp10', 'libselinux1'],
  ...['libpcre2-8-0', 'libtinfo6'],
];
/** Debian's, where the machine's administrator adds what a proxy signs with. */
const AUTHORITIES = '/etc/ssl/certs/ca-certificates.crt';

/** Stands for all that the content of the base depends on. */
export const BUILD_BASE = createHash('sha256')
  .update([NPM, process.version, ...PACKAGES].join(' '))
  .digest('hex');

/** Does nothing where Docker has it. */
export async function importBuildBase(docker: Docker, name: string): Promise<void> {
  const label = `oom-witness.build-base=${BUILD_BASE}`;
  const known = ['--filter', `reference=${name}`, '--filter', `label=${label}`];
  if ((await docker.command('images', '--quiet', ...known)) !== '') return;
  const packages = await unpackPackages('build-base', PACKAGES);
  if ('missing' in packages) throw new Error(packages.missing);
  const root = path.join(docker.folder, 'build-base');
  const archive = `${root}.tar`;
  const changes = [`LABEL ${label}`, 'ENV PATH=/usr/local/bin:/usr/bin:/bin'];
  try {
    await run('cp', ['--archive', packages.root, root]);
    for (const folder of ['tmp', 'usr/local/bin', 'usr/local/etc'])
      mkdirSync(path.join(root, folder), { recursive: true });
    copyFileSync(process.execPath, path.join(root, 'usr/local/bin/node'), constants.COPYFILE_FICLONE);
    await run('npm', ['install', '--silent', '--global', '--prefix', path.join(root, 'usr/local'), NPM]);
    // The machine may have a mirror.
    const { stdout } = await run('npm', ['config', 'get', 'registry']);
    writeFileSync(path.join(root, 'usr/local/etc/npmrc'), `registry=${stdout}`);
    if (existsSync(AUTHORITIES)) {
      mkdirSync(path.join(root, path.dirname(AUTHORITIES)), { recursive: true });
      copyFileSync(AUTHORITIES, path.join(root, AUTHORITIES));
      changes.push(`ENV NODE_EXTRA_CA_CERTS=${AUTHORITIES}`);
    }
    await run('tar', ['-C', root, '-cf', archive, '.']);
    await docker.command('import', ...changes.flatMap((change) => ['--change', change]), archive, name);
  } finally {
    rmSync(root, { recursive: true, force: true });
    rmSync(archive, { force: true });
  }
}
