import { ApiError, type KubernetesApi } from '../../src/kubernetes/api.ts';
import { refusalOf } from '../../src/kubernetes/status.ts';
import { answerTo } from './api-double-answers.ts';
import type { ObjectStore } from './object-store.ts';

/** What may be wrong between one client and the server. */
export type Trouble = 'none' | 'refused' | 'answers are lost' | 'hangs';

/** One client of an ObjectStore, without a network and its time. */
export class StoreApi implements Pick<KubernetesApi, 'get' | 'create' | 'replace'> {
  trouble: Trouble = 'none';
  writes = 0;
  readonly #store: ObjectStore;

  constructor(store: ObjectStore) {
    this.#store = store;
  }

  get<T>(path: string, signal?: AbortSignal): Promise<T> {
    return this.#ask('GET', path, undefined, signal);
  }

  create<T>(path: string, body: object, signal?: AbortSignal): Promise<T> {
    return this.#ask('POST', path, body, signal);
  }

  replace<T>(path: string, body: object, signal?: AbortSignal): Promise<T> {
    return this.#ask('PUT', path, body, signal);
  }

  async #ask<T>(method: string, path: string, body: object | undefined, signal?: AbortSignal): Promise<T> {
    signal?.throwIfAborted();
    if (this.trouble === 'refused') throw noAnswer();
    if (this.trouble === 'hangs')
      return new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason)));
    const headers = { authorization: 'Bearer any' };
    const copy = body === undefined ? undefined : JSON.parse(JSON.stringify(body));
    const answer = answerTo(
      { method, path, query: new URLSearchParams(), headers, body: copy },
      this.#store,
      new Set(['any']),
    );
    if (method !== 'GET') this.writes += 1;
    if (this.trouble === 'answers are lost') throw noAnswer();
    if (answer.kind !== 'object') throw new Error('nobody watches here');
    if (answer.status >= 300) throw refusalOf(answer.body);
    return structuredClone(answer.body) as T;
  }
}

function noAnswer(): ApiError {
  return new ApiError({ status: 0, reason: 'ECONNREFUSED', message: 'nobody answers' });
}
