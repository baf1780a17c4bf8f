/** Which process a cluster's folder belongs to, so that what a killed run has left can be told from what is in use. */
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Parts } from './parts.ts';

const PREFIX = 'oom-witness-kubernetes-';
const FILE = 'owner.json';

interface Note {
  readonly parts: Parts;
  /** Absent: it belongs to nobody, and stays until somebody stops it. */
  readonly pid?: number;
  /** Of /proc/PID/stat, clock ticks after boot: a number is used again. */
  readonly startTime?: string;
}

/** An empty one that belongs to this process. */
export function ownFolder(parts: Parts): string {
  const folder = mkdtempSync(path.join(tmpdir(), PREFIX));
  write(folder, { parts, pid: process.pid, startTime: startTime(process.pid) });
  return folder;
}

export function disown(folder: string): void {
  write(folder, { parts: partsOf(folder) });
}

/** What the cluster in it is made of. */
export function partsOf(folder: string): Parts {
  const note = read(folder);
  if (note === undefined) throw new Error(`there is no cluster in ${folder}`);
  return note.parts;
}

/** Folders whose owner has ended. */
export function abandonedFolders(): string[] {
  return readdirSync(tmpdir())
    .filter((name) => name.startsWith(PREFIX))
    .map((name) => path.join(tmpdir(), name))
    .filter((folder) => {
      const note = read(folder);
      return note?.pid !== undefined && startTime(note.pid) !== note.startTime;
    });
}

function write(folder: string, note: Note): void {
  writeFileSync(path.join(folder, FILE), JSON.stringify(note));
}

/** Undefined when the folder is just being made, or just being removed by somebody else. */
function read(folder: string): Note | undefined {
  try {
    return JSON.parse(readFileSync(path.join(folder, FILE), 'utf8'));
  } catch {
    return undefined;
  }
}

/** Undefined when it does not run, even if its parent has not asked how it ended yet. */
function startTime(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // proc(5): field 3 is the state, field 22 the time; the name, field 2, may hold anything.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}
