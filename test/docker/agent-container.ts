import { existsSync, readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { AgentProcess } from '../agent-process.ts';
import type { Docker } from '../servers/docker.ts';
import { AGENT_IMAGE } from './agent-image.ts';

const STATE_DIR = '/var/lib/oom-witness';
const PRIVILEGED = ['--privileged', '--network=none'];

/** One container of the agent's image, with the host's processes; nothing but its state's volume can be written. */
export class AgentContainer {
  readonly #t: TestContext;
  readonly #docker: Docker;
  readonly #id: string;
  readonly #volume: string;

  private constructor(t: TestContext, docker: Docker, id: string, volume: string) {
    this.#t = t;
    this.#docker = docker;
    this.#id = id;
    this.#volume = volume;
  }

  /**
   * Not started yet.
   *
   * @param privileges flags of `docker create`; default: all of them, but without the host's network
   */
  static async create(
    t: TestContext,
    docker: Docker,
    cgroupNamespace: 'host' | 'private',
    privileges: readonly string[] = PRIVILEGED,
  ): Promise<AgentContainer> {
    const volume = await docker.command('volume', 'create');
    const id = await docker.command(
      ...['create', ...privileges, '--pid=host', '--read-only'],
      ...['--cgroupns', cgroupNamespace, '--volume', `${volume}:${STATE_DIR}`],
      ...[AGENT_IMAGE, '--stdout', 'json', '--listen', 'off', '--state-dir', STATE_DIR],
      // Else it would be the container's.
      ...['--host-name', hostname()],
    );
    t.after(() => docker.command('rm', '--force', id));
    return new AgentContainer(t, docker, id, volume);
  }

  /** Resolves when it is armed. What the container prints, `docker start --attach` prints; signals go the other way. */
  async start(): Promise<AgentProcess> {
    const agent = this.launch();
    await agent.until(() => agent.armed, 'armed');
    return agent;
  }

  launch(): AgentProcess {
    const attached = this.#docker.commandLine('start', '--attach', this.#id);
    // The arguments that follow start the checkout's agent; the shell drops them.
    return AgentProcess.launch(this.#t, { wrapper: ['sh', '-c', `exec ${attached.map(quoted).join(' ')}`] });
  }

  async kill9(): Promise<void> {
    await this.#docker.command('kill', '--signal', 'KILL', this.#id);
  }

  /** What it has written about the processes that it sees. */
  journal(): string {
    const file = path.join(this.#docker.volume(this.#volume), 'processes.jsonl');
    return existsSync(file) ? readFileSync(file, 'utf8') : '';
  }
}

/** For a shell. */
function quoted(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}
