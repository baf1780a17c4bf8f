import { cgroupOwner } from '../kernel/cgroup-path.ts';
import type { ContainerIdentity } from './container-identity.ts';

export type { ContainerIdentity, ContainerRuntime } from './container-identity.ts';

/** Who told of a container first: what it no longer lists is gone. */
export type ContainerFeed = 'docker' | 'containerd' | 'kubernetes';

export interface KnownContainer extends ContainerIdentity {
  readonly feed: ContainerFeed;
  readonly running: boolean;
  /** Unix time, ms. */
  readonly startedAt?: number;
  /** Of its newest run that has ended. */
  readonly exitCode?: number;
  /** Unix time, ms. */
  readonly exitedAt?: number;
  /** Starts that were seen, the first one included. */
  readonly starts: number;
  /** Starts that were seen of one that had run before. */
  readonly restarts: number;
  /** Processes that were killed in it since it is known; see `ContainerTable.killed` and `.oom`. */
  readonly oomKills: number;
  /** Out-of-memory events of the runtime. On cgroup v1 they are more than the kills (20 for 5, measured). */
  readonly oomEvents: number;
  /** When the runtime removed it; Unix time, ms. */
  readonly goneAt?: number;
}

/** `forgotten`: it was gone for `KEPT_MS`, or there were too many. */
export type ContainerEventType = 'seen' | 'started' | 'died' | 'oom' | 'gone' | 'forgotten';

export type ContainerListener = (type: ContainerEventType, container: KnownContainer) => void;

/** What a runtime says of the state of a container. Times are Unix times in ms. */
export interface ContainerState {
  readonly running: boolean;
  /** Of the newest run. */
  readonly startedAt?: number;
  readonly exitCode?: number;
  readonly exitedAt?: number;
}

export interface ContainerTableOptions {
  readonly now: () => number;
  /** Whether the kernel's own word of a kill arrives here: then the runtime's is not counted. */
  readonly kernelSees: () => boolean;
  /** Tests have few. */
  readonly most?: number;
}

/** Labels and counts are still needed after the removal: by incidents on their way and by the next scrape. */
export const KEPT_MS = 5 * 60_000;
/** Usually 1 KiB each; with all their texts at their longest 48 MiB together. */
const MOST_CONTAINERS = 2048;
/** So much later than the end of a run its start may be told. Docker restarts nothing within 100 ms. */
const TOLD_LATE_MS = 50;
/** Kills in containers that no runtime has told of yet. */
const MOST_EARLY = 256;

interface Entry extends Mutable<KnownContainer> {
  readonly seenAt: number;
  /** A start that was found before its event was told, which may still come: its time. */
  announced?: number;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/**
 * The containers of this machine as their runtimes tell of them, those that were removed within the last five minutes
 * included. Bounded: of too many, the one that was removed longest ago goes first, then the one that ended longest ago,
 * then the oldest.
 */
export class ContainerTable {
  readonly #now: () => number;
  readonly #kernelSees: () => boolean;
  readonly #most: number;
  readonly #containers = new Map<string, Entry>();
  /** Ids in the order of their removal. */
  readonly #gone = new Set<string>();
  readonly #early = new Map<string, number>();
  readonly #listeners = new Set<ContainerListener>();

  constructor({ now, kernelSees, most = MOST_CONTAINERS }: ContainerTableOptions) {
    this.#now = now;
    this.#kernelSees = kernelSees;
    this.#most = most;
  }

  get size(): number {
    return this.#containers.size;
  }

  get(id: string): KnownContainer | undefined {
    this.#sweep();
    return this.#containers.get(id);
  }

  /** The innermost container that a cgroup's path names, in whatever form its runtime writes ids into paths. */
  ofCgroup(path: string): KnownContainer | undefined {
    const id = cgroupOwner(path).container?.id;
    if (id !== undefined) return this.get(id);
    // Without Kubernetes containerd's own layout is /NAMESPACE/ID, and an id may be any word. Without its namespace above it
    // a container called system.slice would be taken for the owner of everything there.
    const names = path.split('/');
    for (let index = names.length - 1; index > 0; index--) {
      const container = this.get(names[index]!);
      if (container !== undefined && container.runtimeNamespace === names[index - 1]) return container;
    }
    return undefined;
  }

  /** In the order of their first sight. */
  values(): Iterable<KnownContainer> {
    this.#sweep();
    return this.#containers.values();
  }

  /** @returns the function that ends it */
  listen(listener: ContainerListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * A runtime tells who a container is. One that was gone is there again: containerd lets an id be used again.
   *
   * @param asOf when that was so: a list that was asked for before a removal brings nobody back
   */
  identify(feed: ContainerFeed, identity: ContainerIdentity, asOf = this.#now()): KnownContainer {
    this.#sweep();
    const known = this.#containers.get(identity.id);
    if (known !== undefined) {
      // An event says less than the container's own record: what was known stays where nothing new is said.
      const image = { ...known.image, ...identity.image };
      Object.assign(known, identity, Object.keys(image).length > 0 && { image });
      if (known.goneAt !== undefined && asOf > known.goneAt) {
        delete known.goneAt;
        this.#gone.delete(known.id);
      }
      return known;
    }
    this.#makeRoom();
    const oomKills = this.#early.get(identity.id) ?? 0;
    this.#early.delete(identity.id);
    const counts = { starts: 0, restarts: 0, oomKills, oomEvents: 0 };
    const container: Entry = { ...identity, feed, running: false, ...counts, seenAt: this.#now() };
    this.#containers.set(container.id, container);
    this.#tell('seen', container);
    return container;
  }

  /**
   * A state that was asked for. What happened unseen is made up for: a start that is newer than the newest known one
   * counts, and if its event is told afterwards it counts no second time. Order does not matter.
   *
   * @param watchedSince since when starts are watched: earlier ones do not count. Unix time, ms
   */
  found(id: string, state: ContainerState, watchedSince: number): void {
    const container = this.#containers.get(id);
    if (container === undefined || container.goneAt !== undefined) return;
    const { startedAt, exitCode, exitedAt } = state;
    const isFirstSight = container.startedAt === undefined && container.exitedAt === undefined;
    if (startedAt !== undefined && startedAt > (container.startedAt ?? 0)) {
      const ranBefore = container.startedAt !== undefined;
      container.startedAt = startedAt;
      container.announced = startedAt;
      container.running = state.running;
      if (startedAt >= watchedSince) this.#countStart(container, ranBefore);
    }
    if (exitedAt !== undefined && exitedAt > (container.exitedAt ?? 0)) {
      container.exitedAt = exitedAt;
      if (exitCode !== undefined) container.exitCode = exitCode;
      if (exitedAt >= (container.startedAt ?? 0)) container.running = state.running;
      if (!isFirstSight || exitedAt >= watchedSince) this.#tell('died', container);
    }
  }

  started(id: string, at: number): void {
    const container = this.#containers.get(id);
    if (container === undefined) return;
    const { announced, startedAt, exitedAt = 0 } = container;
    if (announced !== undefined && at >= announced) {
      delete container.announced;
      // Of a run of milliseconds Docker stamps the end before the start.
      if (container.running || at <= Math.max(exitedAt, announced) + TOLD_LATE_MS) return;
    }
    if (startedAt === undefined || at >= startedAt) {
      container.running = true;
      container.startedAt = at;
    }
    this.#countStart(container, startedAt !== undefined);
  }

  #countStart(container: Entry, ranBefore: boolean): void {
    container.starts += 1;
    if (ranBefore) container.restarts += 1;
    this.#tell('started', container);
  }

  /** It runs, and somebody else has counted its restarts. */
  restarted(id: string, restarts: number): void {
    const container = this.#containers.get(id);
    if (container === undefined) return;
    container.running = true;
    container.starts = restarts;
    container.restarts = restarts;
    this.#tell('started', container);
  }

  /** Its first process has ended. An older run than the newest one whose end is known changes nothing. */
  died(id: string, exitCode: number | undefined, at: number): void {
    const container = this.#containers.get(id);
    if (container === undefined || at < (container.exitedAt ?? 0)) return;
    // Told in order: the event of that start can no longer come.
    if (container.announced !== undefined && at >= container.announced) delete container.announced;
    const isNews = container.running || container.exitedAt === undefined;
    if (at >= (container.startedAt ?? 0)) container.running = false;
    if (exitCode !== undefined) container.exitCode = exitCode;
    container.exitedAt = at;
    if (isNews) this.#tell('died', container);
  }

  /** The runtime's word. It counts as a kill only where the kernel's own word does not arrive. */
  oom(id: string): void {
    const container = this.#containers.get(id);
    if (container === undefined) return;
    container.oomEvents += 1;
    if (!this.#kernelSees()) container.oomKills += 1;
    this.#tell('oom', container);
  }

  /** The kernel's word: so many processes of the container were killed. It may come before the runtime's of its start. */
  killed(id: string, processes: number): void {
    const container = this.#containers.get(id);
    if (container !== undefined) {
      container.oomKills += processes;
      return;
    }
    const sum = (this.#early.get(id) ?? 0) + processes;
    this.#early.delete(id);
    this.#early.set(id, sum);
    if (this.#early.size > MOST_EARLY) this.#early.delete(this.#early.keys().next().value!);
  }

  gone(id: string, at: number): void {
    const container = this.#containers.get(id);
    if (container === undefined || container.goneAt !== undefined) return;
    container.running = false;
    container.goneAt = Math.min(at, this.#now());
    this.#gone.add(id);
    this.#tell('gone', container);
  }

  /** @param ids all that the feed had at `asOf`: what else was known of it then is gone */
  onlyThese(feed: ContainerFeed, ids: ReadonlySet<string>, asOf: number): void {
    for (const { id, feed: teller, seenAt } of this.#containers.values())
      if (teller === feed && seenAt < asOf && !ids.has(id)) this.gone(id, asOf);
  }

  /** When somebody looks: no timer runs for it. */
  #sweep(): void {
    const before = this.#now() - KEPT_MS;
    for (const id of this.#gone) {
      if (this.#containers.get(id)!.goneAt! > before) return;
      this.#forget(id);
    }
  }

  #makeRoom(): void {
    if (this.#containers.size < this.#most) return;
    const [longestGone] = this.#gone;
    this.#forget(longestGone ?? this.#longestEnded() ?? this.#containers.keys().next().value!);
  }

  #longestEnded(): string | undefined {
    let found: KnownContainer | undefined;
    for (const container of this.#containers.values()) {
      if (container.running || container.exitedAt === undefined) continue;
      if (found === undefined || container.exitedAt < found.exitedAt!) found = container;
    }
    return found?.id;
  }

  #forget(id: string): void {
    const container = this.#containers.get(id)!;
    this.#containers.delete(id);
    this.#gone.delete(id);
    this.#tell('forgotten', container);
  }

  #tell(type: ContainerEventType, container: KnownContainer): void {
    for (const listener of this.#listeners) listener(type, container);
  }
}
