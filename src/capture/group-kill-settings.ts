/**
 * Whether the kernel will kill a whole cgroup with its victim (memory.oom.group, cgroup v2, cgroup-v2.rst). Its further
 * members are logged after the victim, so a kill there is told only when the kernel has gone silent.
 */
import { existsSync, readFileSync } from 'node:fs';

/** Between two lines of one group kill: microseconds as a rule, tens of milliseconds with a slow serial console. */
const GROUP_SILENCE_MS = 50;
/** The cgroup is not known or gone already: a short wait, in case. */
const UNSURE_SILENCE_MS = 5;

export class GroupKillSettings {
  readonly #mount: string | undefined;

  constructor(procRoot: string) {
    // Process 1's own view: inside a container ours is a part of it only.
    const mount = `${procRoot}/1/root/sys/fs/cgroup`;
    this.#mount = [mount, '/sys/fs/cgroup'].find((each) => existsSync(`${each}/cgroup.controllers`));
  }

  /** How long the kernel has to be silent before a kill in this cgroup is complete, ms. */
  silenceMs(cgroup: string | undefined): number {
    if (this.#mount === undefined) return 0;
    if (cgroup === undefined) return UNSURE_SILENCE_MS;
    let seen = false;
    for (let path = cgroup; path.length > 1; path = path.slice(0, path.lastIndexOf('/'))) {
      try {
        if (readFileSync(`${this.#mount}${path}/memory.oom.group`, 'latin1').startsWith('1'))
          return GROUP_SILENCE_MS;
        seen = true;
      } catch {
        // Gone, or the root, which has no such file.
      }
    }
    return seen ? 0 : UNSURE_SILENCE_MS;
  }
}
