import type { KnownPod, KnownPodContainer, Termination } from '../kubernetes/pod.ts';

/** What changes in the table and is worth acting on. Called in the order of what happened, each once. */
export interface PodListener {
  /** The pod as it is now, before what follows from it; also where nothing has changed. */
  applied?(pod: KnownPod): void;
  /** A container is known that was not: when its pod appears, before the container runs. */
  containerSeen?(pod: KnownPod, container: KnownPodContainer): void;
  /** An instance of a container ended, or had ended when the pod was first seen. */
  terminated?(pod: KnownPod, container: KnownPodContainer, termination: Termination): void;
  /** An instance of a container runs. */
  started?(pod: KnownPod, container: KnownPodContainer): void;
  /** A container runs again after an instance of it had ended. `previous` is how that one ended. */
  restarted?(pod: KnownPod, container: KnownPodContainer, previous: Termination): void;
  /** The pod is no longer in the API. It stays known here for a while. */
  gone?(pod: KnownPod): void;
  /** Nothing is known of it any more, nor of another that has its name (a StatefulSet's pods have one name after another). */
  forgotten?(pod: KnownPod): void;
}

export interface PodOfContainer {
  readonly pod: KnownPod;
  readonly container: KnownPodContainer;
}

interface Entry {
  pod: KnownPod;
  /** Container id -> the container's name, of every instance that was ever seen, oldest first. */
  readonly instances: Map<string, string>;
  /** Container name -> its instance when a start was last told. */
  readonly running: Map<string, string | undefined>;
  /** Instances whose end was told. Most pods have none, and an empty set takes 150 bytes. */
  ended?: Set<string>;
  /** Container name -> its restart count when a restart was last told. */
  restarts?: Map<string, number>;
}

/** A kill may be told after its pod was deleted: a log that is read late, a queue that was stuck. */
const KEEP_GONE_MS = 10 * 60_000;
/** 110 pods are the default limit of a node; a cluster-wide watch keeps none that are gone beyond this. */
const GONE_LIMIT = 2000;
/** Of one pod: a container that crashes every second makes 86,400 a day. */
const INSTANCE_LIMIT = 64;

/**
 * Pods by UID (for static pods also by the hash that stands in their cgroup's path) and by the id of any container that they
 * had. A deleted pod stays known for ten minutes. Memory: under 2 KiB a pod, and 100 bytes for each of its last 64 instances.
 */
export class PodTable {
  readonly #now: () => number;
  readonly #byUid = new Map<string, Entry>();
  readonly #uidByHash = new Map<string, string>();
  readonly #uidByContainer = new Map<string, string>();
  /** `namespace/name` -> UID of the newest pod of that name. */
  readonly #uidByName = new Map<string, string>();
  readonly #listeners = new Set<PodListener>();
  readonly #awaited = new Map<string, Set<() => void>>();
  /** UID -> when it left the API, milliseconds since the epoch; the oldest first. */
  readonly #gone = new Map<string, number>();

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Returns the function that stops it. */
  listen(listener: PodListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Takes the pod as it is now. */
  apply(pod: KnownPod): void {
    this.#forgetOld();
    const entry = this.#entryOf(pod);
    const before = entry.pod;
    entry.pod = pod;
    this.#gone.delete(pod.uid);
    this.#tell((listener) => listener.applied?.(pod));
    for (const container of pod.containers) {
      this.#remember(entry, container);
      const isNew = before === pod || !before.containers.some(({ name }) => name === container.name);
      if (isNew) this.#tell((listener) => listener.containerSeen?.(pod, container));
      this.#tellEnds(entry, container);
    }
    for (const wake of this.#awaited.get(pod.uid) ?? []) wake();
    for (const wake of (pod.configHash && this.#awaited.get(pod.configHash)) || []) wake();
  }

  /** The pod is gone from the API; `last` is its last state, where the watch tells that. */
  remove(uid: string, last?: KnownPod): void {
    const entry = this.#byUid.get(uid);
    if (entry === undefined || this.#gone.has(uid)) return;
    if (last !== undefined) this.apply(last);
    this.#gone.set(uid, this.#now());
    this.#tell((listener) => listener.gone?.(entry.pod));
    this.#forgetOld();
  }

  /** After a list: whatever is not in it has gone meanwhile. */
  retain(uids: ReadonlySet<string>): void {
    for (const uid of [...this.#byUid.keys()]) if (!uids.has(uid)) this.remove(uid);
  }

  /** @param uid a pod's UID, or a static pod's hash, as the path of its cgroup has it */
  byUid(uid: string): KnownPod | undefined {
    return (this.#byUid.get(uid) ?? this.#byUid.get(this.#uidByHash.get(uid) ?? ''))?.pod;
  }

  /** Whose container this is or was: the container as it is now, also where the id is of an earlier instance. */
  byContainerId(id: string): PodOfContainer | undefined {
    const entry = this.#byUid.get(this.#uidByContainer.get(id) ?? '');
    const name = entry?.instances.get(id);
    const container = entry?.pod.containers.find((each) => each.name === name);
    return entry && container && { pod: entry.pod, container };
  }

  /** Resolves when the pod with this UID or hash changes or appears, or when the signal is aborted. */
  changed(uid: string, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const waiting = this.#awaited.get(uid) ?? new Set();
      this.#awaited.set(uid, waiting);
      const wake = () => {
        signal.removeEventListener('abort', wake);
        waiting.delete(wake);
        if (waiting.size === 0 && this.#awaited.get(uid) === waiting) this.#awaited.delete(uid);
        resolve();
      };
      waiting.add(wake);
      if (signal.aborted) wake();
      else signal.addEventListener('abort', wake);
    });
  }

  /** How many are known, those that are gone included. */
  get size(): number {
    return this.#byUid.size;
  }

  #entryOf(pod: KnownPod): Entry {
    const known = this.#byUid.get(pod.uid);
    if (known !== undefined) return known;
    const entry: Entry = {
      pod,
      instances: new Map(),
      running: new Map(),
    };
    this.#byUid.set(pod.uid, entry);
    this.#uidByName.set(nameOf(pod), pod.uid);
    if (pod.configHash !== undefined) this.#uidByHash.set(pod.configHash, pod.uid);
    return entry;
  }

  #remember({ pod, instances, ended }: Entry, { name, id, terminated, previous }: KnownPodContainer): void {
    for (const instance of [previous?.containerId, terminated?.containerId, id]) {
      if (instance === undefined || instances.has(instance)) continue;
      instances.set(instance, name);
      this.#uidByContainer.set(instance, pod.uid);
    }
    for (const [oldest] of instances) {
      if (instances.size <= INSTANCE_LIMIT) break;
      instances.delete(oldest);
      ended?.delete(oldest);
      this.#uidByContainer.delete(oldest);
    }
  }

  /** First how the earlier instance ended, then that it runs (again), then how the newest ended. */
  #tellEnds(entry: Entry, container: KnownPodContainer): void {
    const { pod } = entry;
    const { name, id, previous, terminated, restartCount, running } = container;
    if (previous !== undefined) this.#tellEnd(entry, container, previous);
    if (running && !(entry.running.has(name) && entry.running.get(name) === id)) {
      entry.running.set(name, id);
      this.#tell((listener) => listener.started?.(pod, container));
    }
    if (previous !== undefined && running && entry.restarts?.get(name) !== restartCount) {
      entry.restarts = (entry.restarts ?? new Map()).set(name, restartCount);
      this.#tell((listener) => listener.restarted?.(pod, container, previous));
    }
    if (terminated !== undefined) this.#tellEnd(entry, container, terminated);
  }

  #tellEnd(entry: Entry, container: KnownPodContainer, termination: Termination): void {
    const { pod } = entry;
    entry.ended ??= new Set();
    const { ended } = entry;
    const instance = termination.containerId ?? `${container.name} ${termination.finishedAt}`;
    if (ended.has(instance)) return;
    ended.add(instance);
    // Those without an id of their own are in no other list that bounds this one.
    if (ended.size > 2 * INSTANCE_LIMIT) ended.delete(ended.values().next().value as string);
    this.#tell((listener) => listener.terminated?.(pod, container, termination));
  }

  #forgetOld(): void {
    const before = this.#now() - KEEP_GONE_MS;
    for (const [uid, goneAt] of this.#gone) {
      if (goneAt > before && this.#gone.size <= GONE_LIMIT) return;
      this.#gone.delete(uid);
      const entry = this.#byUid.get(uid);
      if (entry === undefined) continue;
      this.#byUid.delete(uid);
      // A static pod that was deleted in the API comes back with another UID, and the same hash and containers.
      if (entry.pod.configHash !== undefined) deleteIf(this.#uidByHash, entry.pod.configHash, uid);
      for (const id of entry.instances.keys()) deleteIf(this.#uidByContainer, id, uid);
      if (deleteIf(this.#uidByName, nameOf(entry.pod), uid))
        this.#tell((listener) => listener.forgotten?.(entry.pod));
    }
  }

  #tell(call: (listener: PodListener) => void): void {
    for (const listener of this.#listeners) call(listener);
  }
}

function nameOf({ namespace, name }: KnownPod): string {
  return `${namespace}/${name}`;
}

function deleteIf(map: Map<string, string>, key: string, value: string): boolean {
  return map.get(key) === value && map.delete(key);
}
