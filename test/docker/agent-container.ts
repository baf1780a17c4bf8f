import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { AgentProcess } from '../agent-process.ts';
import type { Docker } from '../servers/docker.ts';

const ROOT = path.join(import.meta.dirname, '../..');
const IMAGE = 'oom-witness';
const HOME = '/opt/oom-witness';
const NODE = '/usr/bin/node';
const STATE_DIR = '/var/lib/oom-witness';

/** The agent's own image: Node.js, the libraries that it needs, and the bundle. */
export async function importAgent(docker: Docker): Promise<void> {
  execFileSync(process.execPath, ['--disable-warning=ExperimentalWarning', 'build.ts'], { cwd: ROOT });
  const image = path.join(docker.folder, 'agent-image');
  const add = (from: string, to: string) => {
    mkdirSync(path.join(image, path.dirname(to)), { recursive: true });
    symlinkSync(from, path.join(image, to));
  };
  add(process.execPath, NODE);
  for (const library of librariesOf(process.execPath)) add(library, library);
  add(path.join(ROOT, 'dist'), `${HOME}/dist`);
  add(path.join(ROOT, 'package.json'), `${HOME}/package.json`);
  const entry = [
    ...[NODE, '--disable-warning=ExperimentalWarning', '--max-semi-space-size=1'],
    `${HOME}/dist/src/main.js`,
  ];
  await docker.importImage(IMAGE, image, [`ENTRYPOINT ${JSON.stringify(entry)}`]);
}

/** One container with the agent, privileged, with the host's processes and without its network; its state on a volume. */
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

  /** Not started yet. */
  static async create(
    t: TestContext,
    docker: Docker,
    cgroupNamespace: 'host' | 'private',
  ): Promise<AgentContainer> {
    const volume = await docker.command('volume', 'create');
    const id = await docker.command(
      ...['create', '--privileged', '--pid=host', '--network=none'],
      ...['--cgroupns', cgroupNamespace, '--volume', `${volume}:${STATE_DIR}`],
      ...[IMAGE, '--stdout', 'json', '--listen', 'off', '--state-dir', STATE_DIR],
      // Else it would be the container's.
      ...['--host-name', hostname()],
    );
    t.after(() => docker.command('rm', '--force', id));
    return new AgentContainer(t, docker, id, volume);
  }

  /** Resolves when it is armed. What the container prints, `docker start --attach` prints; signals go the other way. */
  start(): Promise<AgentProcess> {
    const attached = this.#docker.commandLine('start', '--attach', this.#id);
    // The arguments that follow start the checkout's agent; the shell drops them.
    return AgentProcess.start(this.#t, { wrapper: ['sh', '-c', `exec ${attached.map(quoted).join(' ')}`] });
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

/** With the loader. */
function librariesOf(program: string): string[] {
  const lines = execFileSync('ldd', [program], { encoding: 'utf8' }).split('\n');
  return lines.flatMap((line) => /(\/\S+) \(0x/.exec(line)?.[1] ?? []);
}

/** For a shell. */
function quoted(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}
