import type { Follower } from '../../src/kubernetes/list-watch.ts';
import type { ApiObject } from './object-store.ts';

/** Keeps the names of what it is told, as a follower should: what a list does not have is gone when it is complete. */
export class NameFollower implements Follower<ApiObject> {
  readonly names = new Set<string>();
  /** What it was told, in order: `began`, `page a b`, `synced`, `added a`, … */
  readonly told: string[] = [];
  #listed = new Set<string>();
  readonly #waiting = new Map<() => boolean, () => void>();

  began(): void {
    this.#listed = new Set();
    this.#tell('began');
  }

  page(items: readonly ApiObject[]): void {
    const names = items.map(nameOf);
    for (const name of names) {
      this.#listed.add(name);
      this.names.add(name);
    }
    this.#tell(['page', ...names].join(' '));
  }

  synced(): void {
    for (const name of this.names) if (!this.#listed.has(name)) this.names.delete(name);
    this.#tell('synced');
  }

  added(object: ApiObject): void {
    this.names.add(nameOf(object));
    this.#tell(`added ${nameOf(object)}`);
  }

  modified(object: ApiObject): void {
    this.#tell(`modified ${nameOf(object)}`);
  }

  deleted(object: ApiObject): void {
    this.names.delete(nameOf(object));
    this.#tell(`deleted ${nameOf(object)}`);
  }

  /** Resolves when it has been told this, in what comes from now on. */
  next(what: string): Promise<void> {
    const from = this.told.length;
    return this.#until(() => this.told.indexOf(what, from) >= 0);
  }

  #until(isSo: () => boolean): Promise<void> {
    return new Promise((resolve) => this.#waiting.set(isSo, resolve));
  }

  #tell(what: string): void {
    this.told.push(what);
    for (const [isSo, resolve] of this.#waiting)
      if (isSo()) {
        this.#waiting.delete(isSo);
        resolve();
      }
  }
}

function nameOf({ metadata }: ApiObject): string {
  return metadata.name;
}
