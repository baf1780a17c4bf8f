import type { DockerContainer, DockerEngine, DockerEvent } from '../docker/engine-api.ts';
import { containerIdentity, isContainerId } from '../inventory/container-identity.ts';
import type { ContainerState, ContainerTable } from '../inventory/container-table.ts';
import { crypto } from '../net/lazy-builtins.ts';
import { type FeedStatus, type FeedTools, keepFollowing, Questions } from './container-feed.ts';

export interface DockerWatchOptions extends FeedTools {
  readonly engine: DockerEngine;
  readonly table: ContainerTable;
}

/** The daemon remembers 256 events: these are all that it can tell again. */
const REMEMBERED = 512;
/** Events have the order in which they were told, not quite that of their times. */
const OVERLAP_S = 1;
/**
 * The daemon writes a container's labels over the attributes of its event, so a label of this name hides the exit code
 * (daemon.LogContainerEventWithAttributes).
 */
const EXIT_CODE = 'exitCode';

/**
 * Containers of Docker, from its events: no event costs a question, save one for the image of a new container. After
 * every connection the containers are asked for once, because the daemon forgets its events when it restarts: what was
 * missed is made up for, and what is told again counts once.
 */
export class DockerWatch {
  readonly #engine: DockerEngine;
  readonly #table: ContainerTable;
  readonly #options: DockerWatchOptions;
  readonly #stop = new AbortController();
  readonly #told = new Set<string>();
  /** Containers with a label that hides their exit code. */
  readonly #hidden = new Set<string>();
  readonly #questions = new Questions();
  #status: FeedStatus = { works: false, problem: 'connecting' };
  #watchedSince: number | undefined;
  /** Unix time in seconds. */
  #newestEvent: number | undefined;
  #running: Promise<void> | undefined;

  constructor(options: DockerWatchOptions) {
    this.#options = options;
    this.#engine = options.engine;
    this.#table = options.table;
  }

  get status(): FeedStatus {
    return this.#status;
  }

  start(): void {
    const follow = (follows: (containers: number) => void, signal: AbortSignal) =>
      this.#follow(follows, signal);
    const became = (status: FeedStatus) => {
      this.#status = status;
    };
    this.#running = keepFollowing('docker', this.#options, follow, became, this.#stop.signal);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    await this.#questions.done;
    this.#engine.close();
  }

  async #follow(follows: (containers: number) => void, signal: AbortSignal): Promise<void> {
    const { observer, now } = this.#options;
    const asked = now();
    const since = this.#newestEvent === undefined ? undefined : this.#newestEvent - OVERLAP_S;
    const skipped = (reason: string) => observer.feedSkipped('docker', reason);
    const events = await this.#engine.events(since, skipped, signal);
    this.#watchedSince ??= asked;
    // At the same time: the daemon drops events that nobody takes.
    await Promise.all([this.#listen(events, signal), this.#takeStock(signal).then(follows)]);
  }

  async #listen(events: AsyncIterable<DockerEvent>, signal: AbortSignal): Promise<void> {
    for await (const event of events) this.#happened(event, signal);
    throw new Error('Docker ended the stream of events');
  }

  /** @returns how many containers there are */
  async #takeStock(signal: AbortSignal): Promise<number> {
    const asOf = this.#options.now();
    const ids = (await this.#engine.containers(signal)).filter(isContainerId);
    this.#table.onlyThese('docker', new Set(ids), asOf);
    for (const id of ids) await this.#inspect(id, signal);
    return ids.length;
  }

  #happened(event: DockerEvent, signal: AbortSignal): void {
    const { action, id, attributes, at } = event;
    if (this.#wasTold(event)) return;
    this.#newestEvent = Math.max(this.#newestEvent ?? 0, at / 1000);
    switch (action) {
      case 'create':
      case 'start':
        this.#identify(event);
        if (action === 'create') return;
        this.#table.started(id, at);
        if (this.#table.get(id)?.image?.id === undefined) this.#inspectLater(id, signal);
        return;
      case 'die':
        if (this.#hidden.has(id)) this.#inspectLater(id, signal);
        else this.#table.died(id, exitCode(attributes[EXIT_CODE]), at);
        return;
      case 'oom':
        this.#table.oom(id);
        return;
      case 'rename':
        if (typeof attributes.name === 'string') this.#identify(event);
        return;
      case 'destroy':
        this.#table.gone(id, at);
        this.#hidden.delete(id);
        return;
    }
  }

  #wasTold({ line }: DockerEvent): boolean {
    const digest = crypto().hash('sha1', line, 'base64');
    if (this.#told.has(digest)) return true;
    this.#told.add(digest);
    if (this.#told.size > REMEMBERED) this.#told.delete(this.#told.values().next().value!);
    return false;
  }

  #identify({ id, attributes, action, at }: DockerEvent): void {
    if (action !== 'rename' && Object.hasOwn(attributes, EXIT_CODE)) this.#hidden.add(id);
    const { name, image, execID: _, exitCode: __, signal: ___, ...labels } = attributes;
    const stated = { id, runtime: 'docker', name, imageName: image, labels } as const;
    const identity = containerIdentity(stated, this.#options.chosenLabels);
    if (identity !== undefined) this.#table.identify('docker', identity, at);
  }

  #inspectLater(id: string, signal: AbortSignal): void {
    this.#questions.ask(() => this.#inspect(id, signal));
  }

  async #inspect(id: string, signal: AbortSignal): Promise<void> {
    const asOf = this.#options.now();
    const container = await this.#engine.container(id, signal);
    if (container === undefined) return;
    const { Name, Image, Config } = container;
    const name = typeof Name === 'string' ? Name.replace(/^\//, '') : undefined;
    const said = { imageName: Config?.Image, imageId: Image, labels: Config?.Labels };
    const identity = containerIdentity({ id, runtime: 'docker', name, ...said }, this.#options.chosenLabels);
    if (identity === undefined) return;
    if (Object.hasOwn(Object(Config?.Labels ?? {}), EXIT_CODE)) this.#hidden.add(id);
    this.#table.identify('docker', identity, asOf);
    this.#table.found(id, stateOf(container), this.#watchedSince ?? asOf);
  }
}

function stateOf({ State }: DockerContainer): ContainerState {
  const running = State?.Running === true;
  const startedAt = time(State?.StartedAt);
  const exitedAt = time(State?.FinishedAt);
  const code = exitCode(State?.ExitCode);
  return {
    running,
    ...(startedAt !== undefined && { startedAt }),
    ...(exitedAt !== undefined && { exitedAt }),
    // While it runs again this is 0, whatever the run before ended with.
    ...(!running && exitedAt !== undefined && code !== undefined && { exitCode: code }),
  };
}

/** Docker writes the year 1 for never. */
function time(text: unknown): number | undefined {
  const ms = typeof text === 'string' ? Date.parse(text) : Number.NaN;
  return ms > 0 ? ms : undefined;
}

function exitCode(value: unknown): number | undefined {
  const code = typeof value === 'string' && value !== '' ? Number(value) : value;
  return typeof code === 'number' && Number.isInteger(code) ? code : undefined;
}
