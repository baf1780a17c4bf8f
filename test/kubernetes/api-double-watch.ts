import type { ServerResponse } from 'node:http';
import { type ApiObject, type Change, matcher, type ObjectStore, type ResourcePath } from './object-store.ts';

export interface WatchRequest {
  readonly path: ResourcePath;
  readonly query: URLSearchParams;
}

/** One watch of ApiDouble: what has happened since a version, and then what happens. */
export class ApiWatch {
  readonly #store: ObjectStore;
  readonly #path: ResourcePath;
  readonly #matches: (object: ApiObject) => boolean;
  readonly #hasBookmarks: boolean;
  readonly #response: ServerResponse;
  readonly #unlisten: () => void;
  readonly #timer: NodeJS.Timeout | undefined;

  constructor(store: ObjectStore, { path, query }: WatchRequest, response: ServerResponse) {
    this.#store = store;
    this.#path = path;
    this.#matches = matcher(query.get('fieldSelector'), query.get('labelSelector'));
    this.#hasBookmarks = query.get('allowWatchBookmarks') === 'true';
    this.#response = response;
    this.#unlisten = store.listen((change) => this.#tell(change));
    response.writeHead(200, { 'content-type': 'application/json' });
    response.flushHeaders();
    const since = Number(query.get('resourceVersion') ?? 0);
    if (since < store.compacted) {
      const message = `too old resource version: ${since} (${store.compacted})`;
      this.#event('ERROR', {
        kind: 'Status',
        apiVersion: 'v1',
        metadata: {},
        status: 'Failure',
        message,
        reason: 'Expired',
        code: 410,
      });
      this.end();
      return;
    }
    for (const change of store.changesSince(since)) this.#tell(change);
    const seconds = query.get('timeoutSeconds');
    if (seconds !== null) this.#timer = setTimeout(() => this.#timeout(), Number(seconds) * 1000);
  }

  send(text: string): void {
    this.#response.write(text);
  }

  bookmark(): void {
    if (!this.#hasBookmarks) return;
    this.#event('BOOKMARK', {
      kind: 'Bookmark',
      metadata: { resourceVersion: String(this.#store.version), creationTimestamp: null },
    });
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#unlisten();
    this.#response.end();
  }

  #timeout(): void {
    this.bookmark();
    this.end();
  }

  /** What leaves the selection is deleted for who watches it, and what comes into it is added. */
  #tell({ collection, before, after }: Change): void {
    if (collection !== this.#path.collection) return;
    const { namespace } = this.#path;
    const selected = (object: ApiObject | undefined): ApiObject | undefined =>
      object !== undefined &&
      (namespace === undefined || object.metadata.namespace === namespace) &&
      this.#matches(object)
        ? object
        : undefined;
    const was = selected(before);
    const is = selected(after);
    if (is !== undefined) this.#event(was === undefined ? 'ADDED' : 'MODIFIED', is);
    else if (was !== undefined)
      this.#event('DELETED', withVersion(was, (after ?? was).metadata.resourceVersion));
  }

  #event(type: string, object: object): void {
    this.send(`${JSON.stringify({ type, object })}\n`);
  }
}

function withVersion(object: ApiObject, resourceVersion: string): ApiObject {
  return { ...object, metadata: { ...object.metadata, resourceVersion } };
}
