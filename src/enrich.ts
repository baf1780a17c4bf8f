import { type Identity, identified } from './enrich/identity.ts';
import type { Incident } from './incident.ts';
import type { Completion } from './store.ts';

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
  /** Changes what is stored of the incidents and lets their deliveries go; undefined where one is no longer stored. */
  readonly complete: (completions: readonly Completion[]) => readonly (Incident | undefined)[];
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

/** How long is waited for what was asked for at the same time. */
interface Patience {
  readonly signal: AbortSignal;
  /** It was not enough to abort the signal. */
  readonly exhausted: Promise<typeof TOO_LATE>;
  /** Nobody waits any more. */
  end(): void;
}

/**
 * Finds out what the victim's cgroup belongs to: container, pod, workload. The incident is already stored; its deliveries are held
 * until `complete`, at most for one deadline, whatever happens here. All incidents are looked up at the same time: none waits
 * for another. What is found at the same time is stored at once, as a transaction each would be the dearest part of a storm.
 */
export class Enricher {
  readonly #options: EnricherOptions;
  readonly #closing = new AbortController();
  readonly #running = new Set<Promise<void>>();
  #late = 0;
  /** What is stored at the end of this turn, and the answer to it. */
  #completions: Completion[] = [];
  #completed: Promise<readonly (Incident | undefined)[]> | undefined;

  constructor(options: EnricherOptions) {
    this.#options = options;
  }

  concerns(incident: Incident): boolean {
    return this.#options.finders.some((finder) => finder.concerns(incident));
  }

  /** Each is completed, in the store, within the deadline; at once and untouched where nobody knows anything of its kind. */
  enrich(incidents: readonly Incident[]): void {
    const concerned: Incident[] = [];
    for (const incident of incidents)
      if (this.concerns(incident)) concerned.push(incident);
      else this.#options.observer.enriched(incident);
    if (concerned.length > 0)
      this.#track(
        concerned,
        this.#enrich(concerned).then((late) => this.#completeLate(late)),
      );
  }

  /** Outlines of incidents of an earlier run whose pods were not found then: they are not held, and completed if they are found now. */
  resume(incidents: readonly Incident[]): void {
    const concerned = incidents.filter((incident) => this.concerns(incident));
    this.#track(concerned, this.#completeLate(concerned));
  }

  /** Completes what is being looked up with what is known by now. */
  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.all(this.#running);
  }

  /** Should it fail where nothing can, their deliveries go out when they have been held for long enough. */
  #track(incidents: readonly Incident[], work: Promise<void>): void {
    const ended = work
      .catch((error) => {
        for (const { id } of incidents) this.#options.observer.enrichFailed(id, reasonOf(error));
      })
      .finally(() => this.#running.delete(ended));
    this.#running.add(ended);
  }

  /** @returns those of which something was not found in time */
  async #enrich(incidents: readonly Incident[]): Promise<readonly Incident[]> {
    const { observer, timeoutMs } = this.#options;
    const late: Incident[] = [];
    await this.#findAll(incidents, timeoutMs, async (incident, finding) => {
      observer.enriched((await this.#complete(incident, finding)) ?? incident);
      if (finding?.isPartial) late.push(outlineOf(incident));
    });
    return late;
  }

  /** @param incidents as they were stored first: what was found in part is found again */
  async #completeLate(incidents: readonly Incident[]): Promise<void> {
    if (this.#closing.signal.aborted) return;
    const some = incidents.slice(0, LATE_LIMIT - this.#late);
    this.#late += some.length;
    await this.#findAll(some, LATE_MS, async (incident, finding) => {
      this.#late -= 1;
      if (finding === undefined || finding.isPartial || !tellsAnything(finding)) return;
      const completed = await this.#complete(incident, finding);
      if (completed) this.#options.observer.enrichedLate(completed);
    });
  }

  #complete({ id }: Incident, finding: Finding | undefined): Promise<Incident | undefined> {
    const change = (stored: Incident) => (finding ? identified(stored, finding.identity) : stored);
    const index = this.#completions.push({ id, change }) - 1;
    this.#completed ??= Promise.resolve().then(() => {
      const completions = this.#completions;
      this.#completions = [];
      this.#completed = undefined;
      return this.#options.complete(completions);
    });
    return this.#completed.then((completed) => completed[index]);
  }

  async #findAll(
    incidents: readonly Incident[],
    timeoutMs: number,
    found: (incident: Incident, finding: Finding | undefined) => Promise<void>,
  ): Promise<void> {
    if (incidents.length === 0) return;
    const patience = this.#patience(timeoutMs);
    await Promise.all(
      incidents.map(async (incident) => found(incident, await this.#find(incident, patience))),
    );
    patience.end();
  }

  async #find(incident: Incident, { signal, exhausted }: Patience): Promise<Finding | undefined> {
    let found: Finding | undefined;
    for (const finder of this.#options.finders) {
      if (!finder.concerns(incident)) continue;
      const finding = await Promise.race([this.#ask(finder, incident, signal), exhausted]);
      if (finding === TOO_LATE) {
        this.#options.observer.enrichFailed(incident.id, 'no answer in time');
        break;
      }
      if (finding?.isPartial === false) return finding;
      found ??= finding;
    }
    return found;
  }

  /** One that fails does not keep the others from being asked. */
  async #ask(finder: Finder, incident: Incident, signal: AbortSignal): Promise<Finding | undefined> {
    try {
      return await finder.find(incident, signal);
    } catch (error) {
      this.#options.observer.enrichFailed(incident.id, reasonOf(error));
      return undefined;
    }
  }

  #patience(timeoutMs: number): Patience {
    const { sleep } = this.#options;
    const patience = new AbortController();
    const done = new AbortController();
    const exhaust = async (): Promise<typeof TOO_LATE> => {
      await sleep(timeoutMs, AbortSignal.any([this.#closing.signal, done.signal])).catch(() => {});
      patience.abort();
      await sleep(GRACE_MS, done.signal).catch(() => {});
      return TOO_LATE;
    };
    return { signal: patience.signal, exhausted: exhaust(), end: () => done.abort() };
  }
}

/** What no finder looks at, and most of an incident, is not kept for ten minutes. */
function outlineOf({ memory: _, tasks: __, ...rest }: Incident): Incident {
  return { ...rest, raw: [] };
}

/** More than why nothing is known. */
function tellsAnything({ identity }: Finding): boolean {
  return identity.container !== undefined || identity.k8s !== undefined;
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
