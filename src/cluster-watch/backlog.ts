import { createHash } from 'node:crypto';

/** Something that the status of a pod told and that is to be delivered once, by whoever holds the lease. */
export interface Found {
  /** The same whoever reads the status. */
  readonly id: string;
  /** When it happened, Unix time in ms. */
  readonly at: number;
}

/** Up to where the last holder of the lease had come. */
export interface Progress {
  /** Unix time, ms: what happened before is dealt with, or was before anybody watched. */
  readonly since: number;
  /** Digests of the ids of what has happened since and is delivered. */
  readonly done: ReadonlySet<string>;
}

/** How late a status may come, and how far clocks may be apart. */
export const OVERLAP_MS = 10 * 60_000;
/** Each refers to its pod, 2 KiB. In the annotation of the lease 55 KiB; the API allows 256 KiB for all of them together. */
const LIMIT = 5000;
const DIGEST_CHARACTERS = 11;

/**
 * What was found in the last ten minutes. Who waits for the lease keeps it too, because the status of a pod forgets: a container that
 * crashes again has lost the end before its last one. The next holder takes from it what the last one has not delivered.
 */
export class Backlog<T extends Found> {
  readonly #now: () => number;
  /** The oldest first, as they were told. */
  readonly #found = new Map<string, T>();

  constructor(now: () => number) {
    this.#now = now;
  }

  /** @returns false where it was there before */
  add(found: T): boolean {
    if (this.#found.has(found.id)) return false;
    this.#found.set(found.id, found);
    const before = this.#now() - OVERLAP_MS;
    for (const [id, { at }] of this.#found) {
      if (at >= before && this.#found.size <= LIMIT) break;
      if (id !== found.id) this.#found.delete(id);
    }
    return true;
  }

  /** What nobody has delivered, in the order in which it was told. */
  left({ since, done }: Progress): readonly T[] {
    return [...this.#found.values()].filter(({ id, at }) => at >= since && !isDone({ done }, id));
  }

  /** @param isDelivered whether nobody need deliver it any more */
  progress(isDelivered: (found: T) => boolean): Progress {
    const since = this.#now() - OVERLAP_MS;
    const recent = [...this.#found.values()].filter((found) => found.at >= since && isDelivered(found));
    return { since, done: new Set(recent.map(({ id }) => digest(id))) };
  }
}

export function isDone({ done }: Pick<Progress, 'done'>, id: string): boolean {
  return done.has(digest(id));
}

export function encodeProgress({ since, done }: Progress): string {
  return JSON.stringify({ since: new Date(since).toISOString(), done: [...done].join('') });
}

/** @returns undefined where it is none: anybody who may write the lease can have written it */
export function decodeProgress(text: string): Progress | undefined {
  try {
    const { since, done } = JSON.parse(text);
    const at = Date.parse(since);
    if (Number.isNaN(at) || typeof done !== 'string') return undefined;
    return { since: at, done: new Set(done.match(new RegExp(`.{${DIGEST_CHARACTERS}}`, 'g')) ?? []) };
  } catch {
    return undefined;
  }
}

/** 66 bits: among thousands no two are alike. */
function digest(id: string): string {
  return createHash('sha256').update(id).digest('base64url').slice(0, DIGEST_CHARACTERS);
}
