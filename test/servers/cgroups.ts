/** The machine's cgroups, below which servers that run containers have their own. */
import { readdirSync, readFileSync, rmdirSync } from 'node:fs';
import path from 'node:path';

/** In capability sets (linux/capability.h). */
const CAP_SYS_RESOURCE = 1n << 24n;

/** Without it, which some sandboxes withhold even from root, nobody may lower an oom_score_adj below what it inherits. */
export function mayRaiseResources(): boolean {
  const status = readFileSync('/proc/self/status', 'utf8');
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0';
  return (BigInt(`0x${effective}`) & CAP_SYS_RESOURCE) !== 0n;
}

/** Where the hierarchies are mounted: one for each controller with cgroup v1. */
export function cgroupMounts(): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => / - cgroup2? /.test(line))
    .map((line) => line.split(' ')[4] as string);
}

/** Nothing when it is not there. */
export function processesBelow(cgroup: string): number[] {
  return foldersOf(cgroup).flatMap((folder) => {
    try {
      return readFileSync(path.join(folder, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean).map(Number);
    } catch {
      return [];
    }
  });
}

/** With all below it; does nothing when it is not there. */
export function removeCgroup(cgroup: string): void {
  for (const folder of foldersOf(cgroup).reverse())
    try {
      rmdirSync(folder);
    } catch (error) {
      // A runtime that ends removes its own.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
}

/** Itself first, then what lies below it; nothing when it is not there. */
function foldersOf(cgroup: string): string[] {
  try {
    const below = readdirSync(cgroup, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    return [cgroup, ...below.flatMap(({ name }) => foldersOf(path.join(cgroup, name)))];
  } catch {
    return [];
  }
}
