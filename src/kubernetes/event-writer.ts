import { ApiError, type KubernetesApi } from './api.ts';
import { type ApiEvent, eventsPath, seconds, shortHash } from './event.ts';

/** What one Event counts. */
export interface Occurrence {
  /** The same on every delivery. */
  readonly id: string;
  /** Milliseconds since the epoch. */
  readonly time: number;
}

/** An Event as it would be if it told of these occurrences alone. */
export interface EventWrite {
  readonly event: ApiEvent;
  /** Oldest first; at least one, and no id twice. */
  readonly occurrences: readonly Occurrence[];
  /** False: it tells of one occurrence, and another would have an Event of its own. */
  readonly counts: boolean;
}

/** The id of the newest incident, for whoever has the agent's API or its store. */
export const INCIDENT_ANNOTATION = 'oom-witness/incident';
/** Short hashes of the newest ones counted, so that one that is delivered again is not counted again. */
export const COUNTED_ANNOTATION = 'oom-witness/counted';

/** A delivery comes again after a crash between its writing and its settlement: one batch at most. */
const COUNTED_LIMIT = 128;
const HASH_DIGITS = 10;
/** Somebody else who writes the same Event, or its end after an hour, may come between reading and writing. */
const ROUNDS = 4;
const CACHE_LIMIT = 1000;

interface Known {
  readonly resourceVersion: string;
  readonly count: number;
  readonly first: number;
  readonly last: number;
  readonly counted: readonly string[];
}

/**
 * Writes Events so that each occurrence is counted once, however often it is delivered and by whom: the Event itself says which
 * ones it counts, and a write that meets a change by another begins anew. Needs the rights to create and to patch.
 */
export class EventWriter {
  readonly #api: KubernetesApi;
  /** By path; the least recently written first. Only saves the reading. */
  readonly #known = new Map<string, Known>();

  constructor(api: KubernetesApi) {
    this.#api = api;
  }

  /** @throws ApiError, or the signal's reason */
  async write(write: EventWrite, signal: AbortSignal): Promise<void> {
    const { namespace, name } = write.event.metadata;
    const path = eventsPath(namespace, name);
    let known = this.#known.get(path);
    this.#known.delete(path);
    for (let round = 0; round < ROUNDS; round++) {
      const made = known === undefined ? await this.#create(write, signal) : undefined;
      known ??= made === undefined ? await this.#read(write, path, signal) : undefined;
      const written = made ?? (known && (await this.#count(write, known, path, signal)));
      if (written !== undefined) {
        this.#remember(path, written);
        return;
      }
      known = undefined;
    }
    throw new ApiError({ status: 409, reason: 'Conflict', message: 'another one writes the same Event' });
  }

  /** Undefined where there is one already. */
  async #create({ event, occurrences, counts }: EventWrite, signal: AbortSignal): Promise<Known | undefined> {
    const whole = {
      ...event,
      ...span(occurrences),
      ...(counts && { metadata: { ...event.metadata, annotations: annotations(occurrences, []) } }),
    };
    try {
      return knownOf(await this.#api.create(eventsPath(event.metadata.namespace), whole, signal), whole);
    } catch (error) {
      if (error instanceof ApiError && error.status === 409) return undefined;
      throw error;
    }
  }

  /** Undefined where it has gone meanwhile. */
  async #read({ event, counts }: EventWrite, path: string, signal: AbortSignal): Promise<Known | undefined> {
    // One that counts nothing tells of the same occurrence: it need not be looked at.
    if (!counts) return knownOf({}, event);
    try {
      // A patch that changes nothing is a `get` that needs no right of its own, and is not written to etcd.
      return knownOf(await this.#api.patch(path, {}, 'merge', signal), event);
    } catch (error) {
      if (isGone(error)) return undefined;
      throw error;
    }
  }

  /** Returns what is there now; undefined where it is not what is `known` any more. */
  async #count(
    { event, occurrences, counts }: EventWrite,
    known: Known,
    path: string,
    signal: AbortSignal,
  ): Promise<Known | undefined> {
    const counted = new Set(known.counted);
    const fresh = occurrences.filter(({ id }) => !counted.has(hash(id)));
    if (!counts || fresh.length === 0) return known;
    const first = Math.min(known.first, fresh[0]!.time);
    const last = Math.max(known.last, fresh.at(-1)!.time);
    const isNewest = fresh.at(-1)!.time >= known.last;
    const metadata = { annotations: annotations(fresh, known.counted) };
    if (!isNewest) delete metadata.annotations[INCIDENT_ANNOTATION];
    const changed = {
      count: known.count + fresh.length,
      firstTimestamp: seconds(first),
      lastTimestamp: seconds(last),
      ...(isNewest && { message: event.message }),
    };
    try {
      const patched = await this.#api.patch(
        path,
        { metadata: { ...metadata, resourceVersion: known.resourceVersion }, ...changed },
        'merge',
        signal,
      );
      return knownOf(patched, { ...event, ...changed, metadata: { ...event.metadata, ...metadata } });
    } catch (error) {
      if (isGone(error) || (error instanceof ApiError && error.status === 409)) return undefined;
      throw error;
    }
  }

  #remember(path: string, known: Known): void {
    // Without the version of what was written the next write could not tell that nobody came between.
    if (known.resourceVersion === '') return;
    this.#known.set(path, known);
    for (const [oldest] of this.#known) {
      if (this.#known.size <= CACHE_LIMIT) return;
      this.#known.delete(oldest);
    }
  }
}

function span(
  occurrences: readonly Occurrence[],
): Pick<ApiEvent, 'count' | 'firstTimestamp' | 'lastTimestamp'> {
  return {
    count: occurrences.length,
    firstTimestamp: seconds(occurrences[0]!.time),
    lastTimestamp: seconds(occurrences.at(-1)!.time),
  };
}

function annotations(fresh: readonly Occurrence[], counted: readonly string[]): Record<string, string> {
  const all = [...counted, ...fresh.map(({ id }) => hash(id))];
  return {
    [INCIDENT_ANNOTATION]: fresh.at(-1)!.id,
    [COUNTED_ANNOTATION]: all.slice(-COUNTED_LIMIT).join(' '),
  };
}

function hash(id: string): string {
  return shortHash(id, HASH_DIGITS);
}

/** An answer of a server: what is missing in it is taken from what was `sent`. */
function knownOf(answer: unknown, sent: ApiEvent): Known {
  const { metadata, count, firstTimestamp, lastTimestamp } = object(answer);
  const { resourceVersion, annotations } = object(metadata);
  const counted = object(annotations ?? sent.metadata.annotations)[COUNTED_ANNOTATION];
  return {
    resourceVersion: typeof resourceVersion === 'string' ? resourceVersion : '',
    count: Number.isSafeInteger(count) && (count as number) > 0 ? (count as number) : sent.count,
    first: timeOf(firstTimestamp) ?? Date.parse(sent.firstTimestamp),
    last: timeOf(lastTimestamp) ?? Date.parse(sent.lastTimestamp),
    counted: typeof counted === 'string' ? counted.split(' ').slice(-COUNTED_LIMIT) : [],
  };
}

function timeOf(text: unknown): number | undefined {
  const time = typeof text === 'string' ? Date.parse(text) : Number.NaN;
  return Number.isNaN(time) ? undefined : time;
}

/** The API server forgets Events after an hour (`--event-ttl`). */
function isGone(error: unknown): boolean {
  return error instanceof ApiError && (error.status === 404 || error.status === 410);
}

function object(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}
