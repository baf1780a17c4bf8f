/** The few verbs of the Kubernetes API that are used. `connect` in connection.ts gives one that talks to a cluster. */

export interface WatchEvent<T> {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK';
  /** Of a BOOKMARK only `metadata.resourceVersion` is there. */
  readonly object: T;
}

export interface Selection {
  readonly fieldSelector?: string;
  readonly labelSelector?: string;
}

export interface WatchSelection extends Selection {
  readonly resourceVersion: string;
  readonly bookmarks: true;
  /** Called when the server has taken it, which may be long before it has anything to tell. */
  readonly opened?: () => void;
}

export interface ListPage<T> {
  readonly items: readonly T[];
  /** Of the whole list, the same on each page: where a watch goes on. */
  readonly resourceVersion: string;
}

/**
 * Paths are like `/api/v1/nodes/node-a`. Answers are checked to be JSON objects and no further: `T` is what the caller hopes
 * for, and every field of it may be absent or of another type.
 */
export interface KubernetesApi {
  get<T>(path: string, signal?: AbortSignal): Promise<T>;
  /**
   * Part by part, as it comes; at least one. What the server forgets in the middle (410) throws: the parts so far are no list.
   * With a field selector it comes from the cache of the server, and may be some moments old.
   */
  list<T>(path: string, selection: Selection, signal?: AbortSignal): AsyncIterable<ListPage<T>>;
  /** Ends when the server ends it, which it does every few minutes. Throws ApiError; status 410: list anew. */
  watch<T>(path: string, selection: WatchSelection, signal: AbortSignal): AsyncIterable<WatchEvent<T>>;
  create<T>(path: string, body: object, signal?: AbortSignal): Promise<T>;
  patch<T>(path: string, body: object, type: 'merge' | 'strategic-merge', signal?: AbortSignal): Promise<T>;
  /** Status 409 where the `resourceVersion` in `body` is stale. */
  replace<T>(path: string, body: object, signal?: AbortSignal): Promise<T>;
  close(): void;
}

export interface ApiFailure {
  /** Of HTTP; 0: no answer (connection refused, reset, time limit). */
  readonly status: number;
  /** The API's word (`Expired`, `Forbidden`, `Conflict`, …) or the system's code (`ECONNREFUSED`). */
  readonly reason: string;
  /** One line. */
  readonly message: string;
  /** The server's wish. */
  readonly retryAfterMs?: number;
}

/** One kind of error for all that goes wrong between us and the API; aborting by the caller's signal is not among it. */
export class ApiError extends Error {
  readonly status: number;
  readonly reason: string;
  readonly retryAfterMs?: number;

  constructor({ status, reason, message, retryAfterMs }: ApiFailure, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'ApiError';
    this.status = status;
    this.reason = reason;
    if (retryAfterMs !== undefined) this.retryAfterMs = retryAfterMs;
  }
}
