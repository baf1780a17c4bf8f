import type { KubernetesApi } from './api.ts';
import { ApiError } from './api.ts';
import {
  type ApiEvent,
  eventName,
  type InvolvedObject,
  microseconds,
  NODE_NAMESPACE,
  seconds,
} from './event.ts';
import { type EventWrite, EventWriter, type Occurrence } from './event-writer.ts';
import { type Rate, TokenBucket } from './token-bucket.ts';

/** Something that happened to an object. */
export interface Happening extends Occurrence {
  readonly involved: InvolvedObject;
  readonly reason: string;
  /** Of those that share an Event the newest one's is shown. At most 1024 bytes. */
  readonly message: () => string;
  /** Happenings to the same object that are alike within a window share one Event. Absent: it has one of its own, without series. */
  readonly likeness?: string;
  /** Who says so: `source.component`. */
  readonly component: string;
}

export interface EventLimits {
  /** For all objects together. */
  readonly overall: Rate;
  readonly perObject: Rate;
}

/** `setTimeout` of `node:timers/promises`. */
export type Wait = (ms: number, signal: AbortSignal) => Promise<unknown>;

/** Windows begin at fixed times, so that the name of an Event depends on nothing that a restart forgets. */
const WINDOW_MS = 10 * 60_000;
/** More objects than a node has pods; one whose bucket is full need not be remembered. */
const BUCKETS = 1000;
/** In place of the likeness where an object has more kinds of happenings than it may have Events. */
const ANY = '';

interface PlannedWrite {
  readonly object: string;
  readonly happenings: readonly Happening[];
  readonly likeness: string | undefined;
}

/**
 * Tells of happenings by Events: alike ones by one Event and its count, at a bounded rate for each object and for all. In a storm it
 * waits for its turn, and what comes together by then is counted by one write: nothing is left out.
 */
export class EventRecorder {
  readonly #writer: EventWriter;
  readonly #limits: EventLimits;
  readonly #now: () => number;
  readonly #wait: Wait;
  readonly #instance: string;
  readonly #overall: TokenBucket;
  readonly #buckets = new Map<string, TokenBucket>();

  /** @param instance who writes them: this machine's name */
  constructor(api: KubernetesApi, instance: string, limits: EventLimits, now: () => number, wait: Wait) {
    this.#writer = new EventWriter(api);
    this.#instance = instance.slice(0, 128) || 'unknown';
    this.#limits = limits;
    this.#now = now;
    this.#wait = wait;
    this.#overall = new TokenBucket(limits.overall, now());
  }

  /**
   * Returns for each happening why it could not be told, undefined where it was. After a failure that is the server's and not the
   * Event's the rest is not tried and fails with it.
   */
  async record(
    happenings: readonly Happening[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<Happening, Error | undefined>> {
    const results = new Map<Happening, Error | undefined>();
    let stopped: Error | undefined;
    for (const planned of this.#plan(happenings)) {
      const failure = stopped ?? (await this.#try(planned, signal));
      for (const happening of planned.happenings) results.set(happening, failure);
      if (failure !== undefined && (signal.aborted || isOfServer(failure))) stopped = failure;
    }
    return results;
  }

  /** In order of their first happenings. Where an object has more kinds of them than tokens, the last token is for all that are left. */
  #plan(happenings: readonly Happening[]): readonly PlannedWrite[] {
    const own = grouped(happenings, ({ likeness }) => likeness);
    const ofObject = Map.groupBy(own, ({ object }) => object);
    const surplus = new Set(
      [...ofObject].flatMap(([object, writes]) => {
        const allowed = Math.max(1, this.#bucket(object).available(this.#now()));
        return writes.length > allowed ? writes.slice(allowed - 1) : [];
      }),
    );
    const likenessOf = new Map(
      own.flatMap((write) =>
        write.happenings.map((happening) => [
          happening,
          surplus.has(write) && write.likeness !== undefined ? ANY : write.likeness,
        ]),
      ),
    );
    return grouped(happenings, (happening) => likenessOf.get(happening));
  }

  async #try(
    { object, happenings, likeness }: PlannedWrite,
    signal: AbortSignal,
  ): Promise<Error | undefined> {
    try {
      signal.throwIfAborted();
      const now = this.#now();
      const waitMs = Math.max(this.#overall.take(now), this.#bucket(object).take(now));
      if (waitMs > 0) await this.#wait(waitMs, signal);
      await this.#writer.write(this.#eventOf(happenings, likeness), signal);
      return undefined;
    } catch (error) {
      return error instanceof Error ? error : new Error(String(error));
    }
  }

  #eventOf(happenings: readonly Happening[], likeness: string | undefined): EventWrite {
    const once = new Map(happenings.map((happening) => [happening.id, happening]));
    const occurrences = [...once.values()].sort((a, b) => a.time - b.time);
    const newest = occurrences.at(-1)!;
    const { involved, reason, component } = newest;
    const counts = likeness !== undefined;
    const name = eventName(involved.name, writeKey(newest, likeness));
    const event: ApiEvent = {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name, namespace: involved.namespace ?? NODE_NAMESPACE },
      type: 'Warning',
      reason,
      message: newest.message(),
      involvedObject: involved,
      source: { component, ...(counts && { host: this.#instance }) },
      firstTimestamp: seconds(newest.time),
      lastTimestamp: seconds(newest.time),
      count: 1,
      ...(counts && { eventTime: microseconds(occurrences[0]!.time), action: 'Kill' }),
      reportingComponent: counts ? component : '',
      reportingInstance: counts ? this.#instance : '',
    };
    return { event, occurrences, counts };
  }

  #bucket(object: string): TokenBucket {
    const known = this.#buckets.get(object);
    if (known !== undefined) return known;
    const now = this.#now();
    if (this.#buckets.size >= BUCKETS)
      for (const [other, bucket] of this.#buckets) if (bucket.isFull(now)) this.#buckets.delete(other);
    const bucket = new TokenBucket(this.#limits.perObject, now);
    this.#buckets.set(object, bucket);
    return bucket;
  }
}

function grouped(
  happenings: readonly Happening[],
  likenessOf: (happening: Happening) => string | undefined,
): readonly PlannedWrite[] {
  const writes = Map.groupBy(happenings, (happening) => writeKey(happening, likenessOf(happening)));
  return [...writes.values()].map((group) => ({
    object: objectKey(group[0]!.involved),
    likeness: likenessOf(group[0]!),
    happenings: group,
  }));
}

function objectKey({ kind, namespace, name, uid }: InvolvedObject): string {
  return JSON.stringify([kind, namespace, name, uid]);
}

/** Equal for those that share an Event. */
function writeKey({ involved, reason, id, time }: Happening, likeness: string | undefined): string {
  const which = likeness === undefined ? [id] : [likeness, Math.floor(time / WINDOW_MS)];
  return JSON.stringify([objectKey(involved), involved.fieldPath, reason, ...which]);
}

/** Not the fault of the Event: the next one would meet the same. */
function isOfServer(error: Error): boolean {
  if (!(error instanceof ApiError)) return true;
  return error.status === 0 || error.status === 401 || error.status === 429 || error.status >= 500;
}
