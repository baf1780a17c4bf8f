import { type Identity, identified } from './enrich/identity.ts';
import type { Incident } from './incident.ts';

/** One place where the name of what was hit can be found. */
export interface Finder {
  /** Whether the incident is any of its business. Cheap: it is asked before the incident is stored. */
  concerns(incident: Incident): boolean;
  /**
   * What it knows, as soon as it knows it; undefined: nothing. When the signal is aborted it answers at once with what it has got. A
   * finder whose answer `isPartial` is asked again later, when delivery no longer waits.
   */
  find(incident: Incident, signal: AbortSignal): Promise<Finding | undefined>;
}

export interface Finding {
  readonly identity: Identity;
  /** Something that should be there was not found in time. */
  readonly isPartial: boolean;
}

export interface EnricherObserver {
  /** This is what is known of it when it is delivered. */
  enriched(incident: Incident): void;
  /** A finder failed; delivery goes on without it. */
  enrichFailed(id: string, reason: string): void;
  /** What was missing was found after the incident had been delivered. */
  enrichedLate(incident: Incident): void;
}

export interface EnricherOptions {
  /** Asked in this order, until one has found all that there is. */
  readonly finders: readonly Finder[];
  /** How long delivery waits. */
  readonly timeoutMs: number;
  /** Changes what is stored of the incident and lets its deliveries go; undefined where it is no longer stored. */
  readonly complete: (id: string, change: (stored: Incident) => Incident) => Incident | undefined;
  readonly observer: EnricherObserver;
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<unknown>;
}

/** A pod that the API has not named after ten minutes it will not name. */
const LATE_MS = 10 * 60_000;
/** By so much a finder may be late after its signal. A folder on a dead network mount never answers. */
const GRACE_MS = 1000;
const TOO_LATE = Symbol('too late');
/** Waiting for a late answer costs some KiB each. */
const LATE_LIMIT = 256;

/**
 * Finds out what the victim's cgroup belongs to: container, pod, workload. The incident is already stored; its deliveries are held
 * until `complete`, at most for one deadline, whatever happens here. All incidents are looked up at the same time: none waits
 * for another.
 */
export class Enricher {
  readonly #options: EnricherOptions;
  readonly #closing = new AbortController();
  readonly #running = new Set<Promise<void>>();
  #late = 0;

  constructor(options: EnricherOptions) {
    this.#options = options;
  }

  concerns(incident: Incident): boolean {
    return this.#options.finders.some((finder) => finder.concerns(incident));
  }

  /** Each is completed, in the store, within the deadline; at once and untouched where nobody knows anything of its kind. */
  enrich(incidents: readonly Incident[]): void {
    for (const incident of incidents)
      if (this.concerns(incident)) this.#track(this.#enrich(incident));
      else this.#options.observer.enriched(incident);
  }

  /** Incidents of an earlier run whose pods were not found then: they are not held, and completed if they are found now. */
  resume(incidents: readonly Incident[]): void {
    for (const incident of incidents) if (this.concerns(incident)) this.#track(this.#completeLate(incident));
  }

  /** Completes what is being looked up with what is known by now. */
  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.all(this.#running);
  }

  #track(work: Promise<void>): void {
    this.#running.add(work);
    void work.finally(() => this.#running.delete(work));
  }

  async #enrich(incident: Incident): Promise<void> {
    const { observer, timeoutMs } = this.#options;
    const finding = await this.#find(incident, timeoutMs);
    observer.enriched(this.#complete(incident, finding) ?? incident);
    if (finding?.isPartial) await this.#completeLate(incident);
  }

  /** @param incident as it was stored first: what was found in part is found again */
  async #completeLate(incident: Incident): Promise<void> {
    if (this.#closing.signal.aborted || this.#late >= LATE_LIMIT) return;
    this.#late += 1;
    const finding = await this.#find(incident, LATE_MS);
    this.#late -= 1;
    if (finding === undefined || finding.isPartial || !tellsAnything(finding)) return;
    const completed = this.#complete(incident, finding);
    if (completed) this.#options.observer.enrichedLate(completed);
  }

  #complete({ id }: Incident, finding: Finding | undefined): Incident | undefined {
    return this.#options.complete(id, (stored) => (finding ? identified(stored, finding.identity) : stored));
  }

  async #find(incident: Incident, timeoutMs: number): Promise<Finding | undefined> {
    const patience = new AbortController();
    const done = new AbortController();
    const tooLate = this.#lapse(timeoutMs, patience, done.signal);
    let found: Finding | undefined;
    for (const finder of this.#options.finders) {
      if (!finder.concerns(incident)) continue;
      const finding = await Promise.race([this.#ask(finder, incident, patience.signal), tooLate]);
      if (finding === TOO_LATE) {
        this.#options.observer.enrichFailed(incident.id, 'no answer in time');
        break;
      }
      if (finding?.isPartial === false) {
        found = finding;
        break;
      }
      found ??= finding;
    }
    done.abort();
    return found;
  }

  /** One that fails does not keep the others from being asked. */
  async #ask(finder: Finder, incident: Incident, signal: AbortSignal): Promise<Finding | undefined> {
    try {
      return await finder.find(incident, signal);
    } catch (error) {
      this.#options.observer.enrichFailed(
        incident.id,
        error instanceof Error ? error.message : String(error),
      );
      return undefined;
    }
  }

  /** Aborts `patience` in time, and resolves when that was not enough; at once when it is `done`. */
  async #lapse(timeoutMs: number, patience: AbortController, done: AbortSignal): Promise<typeof TOO_LATE> {
    const { sleep } = this.#options;
    await sleep(timeoutMs, AbortSignal.any([this.#closing.signal, done])).catch(() => {});
    patience.abort();
    await sleep(GRACE_MS, done).catch(() => {});
    return TOO_LATE;
  }
}

/** More than why nothing is known. */
function tellsAnything({ identity }: Finding): boolean {
  return identity.container !== undefined || identity.k8s !== undefined;
}
