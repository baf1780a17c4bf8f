/** Whether a file is the one that was read, whatever its name is now: told by the bytes that were read last. */
import { createHash } from 'node:crypto';
import { readdirSync, readSync, type Stats, statSync } from 'node:fs';
import path from 'node:path';
import type { LogPlace } from './place.ts';

/** Compared at each read. A log line has a time stamp, so so many bytes are not there twice. */
export const OVERLAP_BYTES = 512;
/** Rotated files beside the log that are looked at. */
const MOST_SIBLINGS = 100;

/** Files that rotation may have made of the log, the newest first: their names begin like its. */
export function siblings(file: string): string[] {
  return listed(file).map(({ each }) => each);
}

/** Rotated after `old` was and before what is the log now, the oldest first. Compressed ones are left out. */
export function rotatedSince(file: string, old: Stats): string[] {
  const { base } = path.parse(file);
  return listed(file)
    .filter(({ each }) => /^[.-][\d.-]*\d$/.test(path.basename(each).slice(base.length)))
    .filter(({ changed }) => changed > old.mtimeMs)
    .map(({ each }) => each)
    .reverse();
}

function listed(file: string): { each: string; changed: number }[] {
  const { dir, base, name } = path.parse(file);
  let names: string[];
  try {
    names = readdirSync(dir || '.');
  } catch {
    return [];
  }
  return names
    .filter((each) => each !== base && each.startsWith(name))
    .map((each) => path.join(dir, each))
    .map((each) => ({ each, changed: changedAt(each) }))
    .sort((a, b) => b.changed - a.changed)
    .slice(0, MOST_SIBLINGS);
}

function changedAt(file: string): number {
  try {
    return statSync(file).mtimeMs;
  } catch {
    // Gone, or a link to somewhere that we may not look at, or to itself.
    return 0;
  }
}

export function bytesBefore(fd: number, offset: number, most: number): Buffer {
  const bytes = Buffer.alloc(Math.min(most, offset));
  return bytes.subarray(0, readSync(fd, bytes, 0, bytes.length, offset - bytes.length));
}

/** Whether the file has what had been read at that place. */
export function continues(
  fd: number,
  { ino, size }: Stats,
  { inode, end, fingerprint: wanted }: LogPlace,
): boolean {
  if (size < end || (end === 0 && ino !== inode)) return false;
  return fingerprint(bytesBefore(fd, end, OVERLAP_BYTES)) === wanted;
}

/** A log may hold secrets: what is kept of its bytes is a hash. */
export function fingerprint(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex').slice(0, 32);
}
