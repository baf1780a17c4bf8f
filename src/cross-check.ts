import type { EndedContainer } from './enrich/unplaced.ts';
import type { Incident, Statement } from './incident.ts';
import type { PodListener, PodOfContainer } from './inventory/pod-table.ts';
import { statementOf } from './inventory/stated-kill.ts';
import { type KnownPod, type KnownPodContainer, OOM_KILLED, type Termination } from './kubernetes/pod.ts';
import type { Completion } from './store.ts';

export interface CrossCheckObserver {
  /** The cluster's word on a kill that the kernel told of. */
  stated(incident: Incident, statement: Statement): void;
}

export interface CrossCheckOptions {
  /** Changes what is stored of an incident; undefined where it is not stored. */
  readonly complete: (completion: Completion) => Incident | undefined;
  /** A status says OOMKilled and nobody else has told of it so far; somebody will, be it `unexplained`. */
  readonly untold: (pod: KnownPod) => void;
  /** A status says OOMKilled and nobody else told of it. */
  readonly unexplained: (pod: KnownPod, container: KnownPodContainer, termination: Termination) => void;
  /** Where the container's id is known now. Absent where the cluster is not asked: its silence says nothing then. */
  readonly find?: (containerId: string) => PodOfContainer | undefined;
  readonly observer: CrossCheckObserver;
  /** Ends of containers before this are old news, RFC 3339. */
  readonly since: string;
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<unknown>;
}

/** kubelet tells the API within a few seconds; on an overloaded node it was seen to take 35 s. */
export const STATEMENT_MS = 60_000;
/** The kernel's record is read within milliseconds, and at the start what its ring still holds within a second. */
const RECORD_MS = 10_000;
/** Container ids whose kill the kernel told of, and ends that no kill was known for: 100 bytes each. */
const REMEMBERED = 4096;
const SURVIVED = Symbol('the container lived on until the next kill');
/** How many may be waited for at a time. */
const WAITING = 1024;

/**
 * The kernel's word against the cluster's. The kernel is the witness; the status of a pod is a statement, which can be missing (a
 * child of the container died), late or wrong (exit code 137 without OOMKilled, or a 0). Each kill that the kernel told of gets the
 * statement about its container, or that there was none. A container of which only the status says OOMKilled is `unexplained`.
 */
export class CrossCheck implements PodListener {
  readonly #options: CrossCheckOptions;
  readonly #closing = new AbortController();
  /** Ids of containers in which somebody told of a kill, the oldest first. */
  readonly #witnessed = new Map<string, true>();
  /** Container id -> how it ended. */
  readonly #ended = new Map<string, Termination>();
  /** Container id -> the newest incident in it, and what ends the wait for its statement. */
  readonly #waiting = new Map<string, { readonly incident: string; readonly wait: AbortController }>();

  constructor(options: CrossCheckOptions) {
    this.#options = options;
  }

  /** Stored, by an earlier run or now: the kernel told of them, so that they are not reported once more. */
  recall(incidents: readonly Incident[]): void {
    for (const { kind, container } of incidents)
      if (kind === 'oom_kill' && container?.id !== undefined) remember(this.#witnessed, container.id, true);
  }

  /** Somebody told of a kill, and it is known where. */
  witnessed({ id, kind, witness, container, k8s }: Incident): void {
    if (kind !== 'oom_kill' || container?.id === undefined) return;
    remember(this.#witnessed, container.id, true);
    const { find } = this.#options;
    // It was made from the statement.
    if (witness.every((each) => each === 'kubernetes')) return;
    // The statement will be about the kill that ended the container; this one it survived.
    this.#waiting.get(container.id)?.wait.abort(SURVIVED);
    const ended = this.#ended.get(container.id);
    if (ended !== undefined) this.#state(id, statementOf(ended));
    else if (k8s?.pod !== undefined && find !== undefined) void this.#await(container.id, id, find);
  }

  terminated(pod: KnownPod, container: KnownPodContainer, termination: Termination): void {
    const { containerId, finishedAt, reason } = termination;
    if (containerId === undefined) {
      if (reason === OOM_KILLED && this.#isNews(finishedAt))
        this.#options.unexplained(pod, container, termination);
      return;
    }
    remember(this.#ended, containerId, termination);
    const waiting = this.#waiting.get(containerId);
    if (waiting !== undefined) {
      waiting.wait.abort();
      this.#state(waiting.incident, statementOf(termination));
    } else if (!this.#witnessed.has(containerId) && reason === OOM_KILLED && this.#isNews(finishedAt))
      void this.#doubt(pod, container, termination, containerId);
  }

  /** Containers that ended by an OOM kill which nobody told of, between these Unix times in ms. */
  untoldEnds(from: number, to: number): EndedContainer[] {
    return [...this.#ended].flatMap(([id, { reason, finishedAt }]) => {
      if (reason !== OOM_KILLED || this.#witnessed.has(id)) return [];
      const at = Date.parse(finishedAt ?? '');
      if (!(at >= from && at <= to)) return [];
      const found = this.#options.find?.(id);
      return found ? [{ ...found, id, at }] : [];
    });
  }

  close(): void {
    this.#closing.abort();
    for (const { wait } of this.#waiting.values()) wait.abort();
  }

  #isNews(finishedAt: string | undefined): boolean {
    return finishedAt === undefined || Date.parse(finishedAt) >= Date.parse(this.#options.since);
  }

  /** The status may come before the kernel's record has been read. */
  async #doubt(
    pod: KnownPod,
    container: KnownPodContainer,
    termination: Termination,
    containerId: string,
  ): Promise<void> {
    this.#options.untold(pod);
    await this.#options.sleep(RECORD_MS, this.#closing.signal).catch(() => {});
    if (this.#closing.signal.aborted || this.#witnessed.has(containerId)) return;
    this.#options.unexplained(pod, container, termination);
  }

  async #await(
    containerId: string,
    incident: string,
    find: NonNullable<CrossCheckOptions['find']>,
  ): Promise<void> {
    if (this.#waiting.size >= WAITING || this.#closing.signal.aborted) return;
    const wait = new AbortController();
    this.#waiting.set(containerId, { incident, wait });
    await this.#options.sleep(STATEMENT_MS, wait.signal).catch(() => {});
    if (this.#waiting.get(containerId)?.wait === wait) this.#waiting.delete(containerId);
    if (wait.signal.aborted && wait.signal.reason !== SURVIVED) return;
    const found = find(containerId);
    const lives = found?.container.id === containerId && found.container.running;
    this.#state(incident, {
      by: 'kubernetes',
      agrees: false,
      says: lives ? 'nothing: the container lives on' : `nothing within ${STATEMENT_MS / 1000} s`,
    });
  }

  #state(id: string, statement: Statement): void {
    const change = (stored: Incident): Incident => ({
      ...stored,
      witness:
        statement.agrees && !stored.witness.includes('kubernetes')
          ? [...stored.witness, 'kubernetes']
          : stored.witness,
      statements: [...(stored.statements ?? []).filter(({ by }) => by !== statement.by), statement],
    });
    const incident = this.#options.complete({ id, change });
    if (incident !== undefined) this.#options.observer.stated(incident, statement);
  }
}

/** The newest so many. */
function remember<T>(map: Map<string, T>, key: string, value: T): void {
  map.delete(key);
  map.set(key, value);
  if (map.size > REMEMBERED) map.delete(map.keys().next().value as string);
}
