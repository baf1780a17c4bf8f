/** All that a cluster is made of and the machine lacks, fetched and built once into the tests' cache. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { unpackPackages } from '../servers/apt.ts';
import { imageArchive } from './image-archive.ts';
import { buildKube1 } from './kube1.ts';
import type { TarEntry } from './tar.ts';

/** What sandboxes are made of. */
export const PAUSE_IMAGE = 'localhost/pause:1';
/** `/victim` (test/kills/victim.c), `/pause` and busybox. */
export const VICTIM_IMAGE = 'localhost/victim:1';

const PACKAGES = ['containerd', 'runc', 'containernetworking-plugins', 'busybox-static', 'libseccomp2'];
const APPLETS = ['sh', 'sleep', 'ls', 'cat', 'grep', 'ps', 'head', 'tail', 'kill', 'cp', 'rm', 'mkdir'];

export interface Parts {
  readonly kube1: string;
  /** The root folder with the packages' files. */
  readonly debian: string;
}

/** @throws with the reason when something cannot be had */
export async function prepareParts(say: (line: string) => void): Promise<Parts> {
  const unpacked = await unpackPackages('kubernetes', PACKAGES);
  if ('missing' in unpacked) throw new Error(unpacked.missing);
  return { debian: unpacked.root, kube1: await buildKube1(say) };
}

/** Writes the archives of the images that tests use into a folder. */
export function writeImages(parts: Parts, folder: string): string[] {
  mkdirSync(folder, { recursive: true });
  const pause = { path: 'pause', file: compile(path.join(import.meta.dirname, 'pause.c')) };
  const victim = { path: 'victim', file: compile(path.join(import.meta.dirname, '../kills/victim.c')) };
  const busybox = { path: 'bin/busybox', file: readFileSync(path.join(parts.debian, 'bin/busybox')) };
  const folders: TarEntry[] = ['bin', 'dev', 'etc', 'proc', 'sys'].map((name) => ({
    path: name,
    folder: true,
  }));
  const links = APPLETS.map((name): TarEntry => ({ path: `bin/${name}`, link: 'busybox' }));
  const temporary: TarEntry = { path: 'tmp', folder: true, mode: 0o1777 };
  const images = [
    { name: PAUSE_IMAGE, entrypoint: ['/pause'], contents: [pause] },
    {
      name: VICTIM_IMAGE,
      entrypoint: ['/victim'],
      contents: [...folders, temporary, pause, victim, busybox, ...links],
    },
  ];
  return images.map((image) => {
    const file = path.join(folder, `${image.name.replace(/.*\/(.*):.*/, '$1')}.tar`);
    writeFileSync(file, imageArchive(image));
    return file;
  });
}

function compile(source: string): Buffer {
  const folder = mkdtempSync(path.join(tmpdir(), 'oom-witness-compile-'));
  try {
    const program = path.join(folder, 'program');
    execFileSync('cc', ['-O1', '-static', '-s', '-pthread', '-o', program, source]);
    return readFileSync(program);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
