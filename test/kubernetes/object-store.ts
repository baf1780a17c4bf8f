/** The objects of an API server, with its resourceVersions, its history of changes, and its forgetting. For ApiDouble. */

// biome-ignore lint/suspicious/noExplicitAny: objects of any kind, made by tests and by what is tested
export type ApiObject = { metadata?: any; [field: string]: any };

export interface Change {
  readonly version: number;
  readonly collection: string;
  readonly before: ApiObject | undefined;
  readonly after: ApiObject | undefined;
}

/** `/apis/GROUP/VERSION[/namespaces/NAMESPACE]/RESOURCE[/NAME[/SUBRESOURCE]]` */
export interface ResourcePath {
  readonly apiVersion: string;
  /** Without the namespace: objects of all namespaces are in one. */
  readonly collection: string;
  readonly namespace: string | undefined;
  readonly name: string | undefined;
}

export function resourcePath(path: string): ResourcePath | undefined {
  const match =
    /^\/(?:api|apis\/([\w.-]+))\/(v\w+)(?:\/namespaces\/([\w.-]+)(?=\/))?\/([a-z]+)(?:\/([\w.-]+))?(?:\/status)?$/.exec(
      path,
    );
  if (match === null) return undefined;
  const [, group, version, namespace, resource, name] = match;
  const apiVersion = group === undefined ? version! : `${group}/${version}`;
  return { apiVersion, collection: `${apiVersion}/${resource}`, namespace, name };
}

export class ObjectStore {
  readonly #objects = new Map<string, ApiObject>();
  readonly #history: Change[] = [];
  /** Real ones do not begin at zero either. */
  #version = 1000;
  #compacted = 1000;
  #uids = 0;
  readonly #listeners = new Set<(change: Change) => void>();

  get version(): number {
    return this.#version;
  }

  /** The oldest version from which a watch can go on. */
  get compacted(): number {
    return this.#compacted;
  }

  get(path: ResourcePath): ApiObject | undefined {
    return this.#objects.get(keyOf(path));
  }

  /** In the order of etcd's keys. */
  list({ collection, namespace }: ResourcePath): ApiObject[] {
    const prefix = namespace === undefined ? `${collection}|` : `${collection}|${namespace}/`;
    return [...this.#objects.keys()]
      .filter((key) => key.startsWith(prefix))
      .sort()
      .map((key) => this.#objects.get(key)!);
  }

  put(path: ResourcePath, object: ApiObject): ApiObject {
    const before = this.get(path);
    const { name, namespace } = path;
    const stored = structuredClone(object);
    stored.metadata = {
      ...stored.metadata,
      name,
      ...(namespace === undefined ? {} : { namespace }),
      uid:
        before?.metadata.uid ??
        stored.metadata?.uid ??
        `00000000-0000-4000-8000-${String(++this.#uids).padStart(12, '0')}`,
      creationTimestamp: before?.metadata.creationTimestamp ?? '2026-11-27T00:00:00Z',
      resourceVersion: String(this.#version + 1),
    };
    this.#objects.set(keyOf(path), stored);
    this.#record(path.collection, before, stored);
    return stored;
  }

  remove(path: ResourcePath): ApiObject | undefined {
    const before = this.get(path);
    if (before === undefined) return undefined;
    this.#objects.delete(keyOf(path));
    const last = structuredClone(before);
    last.metadata.resourceVersion = String(this.#version + 1);
    this.#record(path.collection, last, undefined);
    return last;
  }

  changesSince(version: number): readonly Change[] {
    return this.#history.filter((change) => change.version > version);
  }

  /** Forgets how the present came to be, as etcd does every five minutes. */
  compact(): void {
    // Some change of something else: nobody's version is the newest one.
    this.#version += 1;
    this.#compacted = this.#version;
    this.#history.length = 0;
  }

  /** @returns what takes the listener away */
  listen(listener: (change: Change) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #record(collection: string, before: ApiObject | undefined, after: ApiObject | undefined): void {
    this.#version += 1;
    const change = { version: this.#version, collection, before, after };
    this.#history.push(change);
    for (const listener of this.#listeners) listener(change);
  }
}

function keyOf({ collection, namespace, name }: ResourcePath): string {
  return `${collection}|${namespace === undefined ? '' : `${namespace}/`}${name}`;
}

/** RFC 7386. A strategic merge does the same where there are no lists. */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch;
  const result: Record<string, unknown> =
    typeof target === 'object' && target !== null && !Array.isArray(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch))
    if (value === null) delete result[key];
    else result[key] = mergePatch(result[key], value);
  return result;
}

/** What a real server takes as a field selector, of the kinds that are used here. */
const FIELDS = /^(metadata\.(name|namespace)|spec\.nodeName|status\.phase|involvedObject\.\w+|reason|type)$/;

/** `a=b`, `a==b`, `a!=b`, and `a` for a label that is there, joined by commas. @throws Error for a field that cannot be selected by */
export function matcher(fields: string | null, labels: string | null): (object: ApiObject) => boolean {
  const conditions = [
    ...termsOf(fields).map(({ key, holds }) => {
      if (!FIELDS.test(key)) throw new Error(`field label not supported: ${key}`);
      const steps = key.split('.');
      return (object: ApiObject) =>
        holds(String(steps.reduce((part: ApiObject | undefined, step) => part?.[step], object) ?? ''));
    }),
    ...termsOf(labels).map(
      ({ key, holds }) =>
        (object: ApiObject) =>
          holds(object.metadata.labels?.[key]),
    ),
  ];
  return (object) => conditions.every((isMet) => isMet(object));
}

interface Term {
  readonly key: string;
  holds(value: string | undefined): boolean;
}

function termsOf(selector: string | null): Term[] {
  return (selector ?? '')
    .split(',')
    .filter(Boolean)
    .map((term) => {
      const [, key, operator, wanted] = /^([^!=]+)(!=|==?)(.*)$/.exec(term) ?? [];
      if (key === undefined) return { key: term, holds: (value) => value !== undefined };
      return { key, holds: (value) => (value === wanted) === (operator !== '!=') };
    });
}
