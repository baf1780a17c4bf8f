import { copyFileSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import type { TestContext } from 'node:test';
import type { Incident } from '../../src/incident.ts';
import type { AgentProcess } from '../agent-process.ts';
import { victimProgram, waitsForSigterm } from '../kills/kills.ts';
import { cgroupMounts, processesBelow } from '../servers/cgroups.ts';
import type { Docker } from '../servers/docker.ts';
import { until } from '../sinks/contract.ts';

const NAME = 'victim';
/** Bytes; the smallest that Docker allows is 6 MiB. */
export const LIMIT = 16 << 20;

/** An image with nothing but `/victim`. */
export async function importVictim(docker: Docker): Promise<void> {
  const folder = path.join(docker.folder, 'victim-image');
  mkdirSync(folder);
  copyFileSync(victimProgram(), path.join(folder, 'victim'));
  await docker.importImage(NAME, folder);
}

/**
 * A container of it, in the background, its standard input open.
 *
 * @param args of the victim (test/kills/victim.c); it is in its cgroup already, so `PROCS` is /dev/null
 * @returns the container's id
 */
export async function runVictim(t: TestContext, docker: Docker, ...args: readonly string[]): Promise<string> {
  const options = ['--detach', '--interactive', '--network=none', '--memory', String(LIMIT)];
  const id = await docker.command('run', ...options, NAME, '/victim', ...args);
  t.after(() => docker.command('rm', '--force', id));
  return id;
}

/** Lets the victim in a container be killed that waits for a SIGTERM. @param before what is waited for last */
export async function killWaiting(docker: Docker, container: string, before = async () => {}): Promise<void> {
  const waiting = () =>
    cgroupMounts()
      .flatMap((mount) => processesBelow(path.join(mount, docker.cgroup, container)))
      .find(waitsForSigterm);
  await until(() => waiting() !== undefined, 'a victim that waits');
  await before();
  process.kill(waiting()!, 'SIGTERM');
}

/** What the agent has told of a container. */
export function toldOf(agent: AgentProcess, container: string): Incident[] {
  return agent.incidents.filter((incident) => incident.container?.id === container);
}

/** Waits until a kill in the container is told. */
export async function firstOf(agent: AgentProcess, container: string): Promise<Incident> {
  await agent.until(() => toldOf(agent, container).length > 0, `telling a kill in ${container}`);
  return toldOf(agent, container)[0] as Incident;
}
