import { readFileSync } from 'node:fs';
import { hostname, uptime } from 'node:os';
import type { AssembledReport } from '../assemble/report-draft.ts';
import type { Host } from '../host.ts';
import type { IncidentHost } from '../incident.ts';

export interface Origin {
  readonly host: IncidentHost;
  /** Why no process of this machine, as it runs now, can be the victim. */
  readonly stranger?: string;
}

/** A daemon that logs before the machine has its name. */
const NAMELESS = 'localhost';

/**
 * Whose kill a line tells of. A log may hold other machines' lines, and those of this one before its last start: process 4711
 * was somebody else there.
 */
export class LogOrigins {
  readonly #host: IncidentHost;
  readonly #names: ReadonlySet<string>;

  /** @param options names beside the configured one count: in a container ours is not the one that the host's log has */
  constructor({ host, paths }: { readonly host: Host; readonly paths: { readonly proc: string } }) {
    const { name, boot_id, kernel, arch } = host;
    this.#host = { name, boot_id, kernel, arch };
    this.#names = new Set([name, hostname(), hostsName(paths.proc), NAMELESS].map(firstLabel));
  }

  /** @param latest when it was at the latest, milliseconds since the epoch */
  of({ kernel }: AssembledReport, name: string | undefined, latest: number | undefined): Origin {
    if (name !== undefined && !this.#names.has(firstLabel(name)))
      return {
        host: { name, ...(kernel !== undefined && { kernel }) },
        stranger: `it was on another machine (${name}), whose kernel's log is kept here`,
      };
    if (latest !== undefined && latest < Date.now() - uptime() * 1000)
      return {
        host: { name: this.#host.name, ...(kernel !== undefined && { kernel }) },
        stranger: 'it was killed before this machine was started the last time',
      };
    return { host: this.#host };
  }
}

/** `Node-7.example.org` and `node-7` are the same: daemons differ in how much of it they write. */
function firstLabel(name: string): string {
  return (name.split('.', 1)[0] ?? '').toLowerCase();
}

/** The name in the root file system of process 1, which in the host's pid namespace is the host's. */
function hostsName(procRoot: string): string {
  try {
    return readFileSync(`${procRoot}/1/root/etc/hostname`, 'utf8').trim();
  } catch {
    return NAMELESS;
  }
}
