import { readFileSync } from 'node:fs';
import os from 'node:os';
import type { IncidentHost } from './incident.ts';

/** Where the kernel's interfaces are. The host is an argument: tests and containers have other roots. */
export interface HostPaths {
  readonly proc: string;
  readonly kmsg: string;
  /** Where the host's log files may be: first through its first process, which shows them in a pod without a volume. */
  readonly logs: readonly string[];
  /** Where the host's root folder may be, in the same order. */
  readonly roots: readonly string[];
}

export const DEFAULT_PATHS: HostPaths = Object.freeze({
  proc: '/proc',
  kmsg: '/dev/kmsg',
  logs: ['/proc/1/root/var/log', '/var/log'],
  roots: ['/proc/1/root', '/'],
});

const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

export interface Host extends IncidentHost {
  readonly boot_id: string;
  /** The whole of /proc/version, trimmed. */
  readonly version_line: string;
}

/**
 * @param name overrides the kernel's host name (in a container that is the container's name, not the node's)
 * @throws when proc is not mounted: then nothing else can work either
 */
export function readHost(paths: HostPaths, name?: string): Host {
  const bootId = readFileSync(`${paths.proc}/sys/kernel/random/boot_id`, 'utf8').trim();
  return {
    name: name || os.hostname() || 'N/A',
    boot_id: bootId,
    kernel: os.release(),
    arch: ARCHITECTURES[process.arch] ?? process.arch,
    version_line: readFileSync(`${paths.proc}/version`, 'utf8').trim(),
  };
}
