import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import type { ApiError, KubernetesApi, Selection, WatchEvent } from '../../src/kubernetes/api.ts';
import { type ConnectOptions, connect } from '../../src/kubernetes/connection.ts';
import { LeaseElection, type LeaseTools } from '../../src/kubernetes/lease.ts';
import { ListWatch, type ListWatchTools } from '../../src/kubernetes/list-watch.ts';
import { PATIENCE_MS } from '../patience.ts';
import { NameFollower } from './follower.ts';
import { kubeconfigLike, serverIn } from './kubeconfig-file.ts';
import type { ApiObject } from './object-store.ts';
import { TcpRelay } from './tcp-relay.ts';

/** An API server that the contract is held against. */
export interface ContractServer {
  /** A file with one cluster and one user, who may do all that the contract does. Its paths are absolute. */
  readonly kubeconfig: string;
  /** It exists, has a service account `default`, and is empty. */
  readonly namespace: string;
  /** Makes the server forget how the objects came to be what they are. Its connections are cut. */
  forget(): Promise<void>;
  /** A bearer token of somebody who may read config maps. */
  token(): Promise<string>;
}

/** What every API server does, so far as it is used here: `api-double.test.ts` runs it on ApiDouble, an integration test on kube-apiserver. */
export function describeApiContract(name: string, start: (t: TestContext) => Promise<ContractServer>): void {
  describe(`the API of ${name}`, { timeout: 2 * PATIENCE_MS }, () => {
    it('creates, reads, patches and replaces; a stale version and a second object of a name are conflicts', async (t) => {
      const { api, maps } = await setUp(t, start);
      const created = await api.create<ApiObject>(maps, configMap('one', { data: { a: '1' } }));
      assert.equal(created.data.a, '1');
      await assert.rejects(api.create(maps, configMap('one')), failure(409, 'AlreadyExists'));
      const patched = await api.patch<ApiObject>(`${maps}/one`, { data: { a: null, b: '2' } }, 'merge');
      assert.deepEqual(patched.data, { b: '2' });
      assert.deepEqual(await api.get(`${maps}/one`), patched);
      const merged = await api.patch<ApiObject>(`${maps}/one`, { data: { c: '3' } }, 'strategic-merge');
      assert.deepEqual(merged.data, { b: '2', c: '3' });
      await assert.rejects(api.replace(`${maps}/one`, created), failure(409, 'Conflict'));
      const { resourceVersion } = created.metadata;
      const stale = { metadata: { resourceVersion }, data: { d: '4' } };
      await assert.rejects(api.patch(`${maps}/one`, stale, 'merge'), failure(409, 'Conflict'));
      assert.deepEqual(
        await api.patch(`${maps}/one`, {}, 'merge'),
        merged,
        'nothing is changed, so it is no new version',
      );
      const replaced = await api.replace<ApiObject>(`${maps}/one`, { ...merged, data: { d: '4' } });
      assert.deepEqual(replaced.data, { d: '4' });
      await assert.rejects(api.get(`${maps}/two`), failure(404, 'NotFound'));
      await assert.rejects(api.get('/api/v1/nothings/two'), failure(404, 'NotFound'));
    });

    it('lists in pages of one version', async (t) => {
      const { api, maps } = await setUp(t, start, { pageSize: 2 });
      for (const each of ['a', 'b', 'c', 'd', 'e'])
        await api.create(maps, configMap(each, { labels: { side: each < 'c' ? 'left' : 'right' } }));
      const pages = await Array.fromAsync(api.list<ApiObject>(maps, { labelSelector: 'side' }));
      assert.deepEqual(pages.flatMap(names), ['a', 'b', 'c', 'd', 'e']);
      assert.ok(pages.every(({ items }) => items.length <= 2));
      assert.equal(new Set(pages.map(({ resourceVersion }) => resourceVersion)).size, 1);
      const right = await Array.fromAsync(api.list<ApiObject>(maps, { labelSelector: 'side=right' }));
      assert.deepEqual(right.flatMap(names), ['c', 'd', 'e']);
    });

    it('lists and watches the pods of a node, whole and from the cache of the server', async (t) => {
      const { api, pods, version } = await setUp(t, start, { pageSize: 1 });
      const node = `node-${randomUUID()}`;
      const ofNode = { fieldSelector: `spec.nodeName=${node}` };
      const resourceVersion = await version();
      for (const each of ['a', 'b', 'c'])
        await api.create(pods, pod(each, each === 'b' ? `other-${node}` : node));
      // What a watch has shown is in the cache.
      const seen = await events(t, api, pods, { ...ofNode, resourceVersion }, 2);
      assert.deepEqual(seen, ['ADDED a', 'ADDED c']);
      const pages = await Array.fromAsync(api.list<ApiObject>('/api/v1/pods', ofNode));
      assert.deepEqual(pages.flatMap(names), ['a', 'c']);
      await assert.rejects(
        Array.fromAsync(api.list(pods, { fieldSelector: 'spec.priority=1' })),
        failure(400, 'BadRequest'),
      );
    });

    it('watches from a version, and resumes after any event', async (t) => {
      const { api, maps, version } = await setUp(t, start);
      const from = await version();
      await api.create(maps, configMap('a', { labels: { watched: 'yes' } }));
      await api.create(maps, configMap('b'));
      await api.patch(`${maps}/a`, { data: { x: '1' } }, 'merge');
      await api.patch(`${maps}/b`, { metadata: { labels: { watched: 'yes' } } }, 'merge');
      await api.patch(`${maps}/a`, { metadata: { labels: null } }, 'merge');
      const selection = { labelSelector: 'watched=yes' };
      const all = ['ADDED a', 'MODIFIED a', 'ADDED b', 'DELETED a'];
      const versions: string[] = [];
      assert.deepEqual(await events(t, api, maps, { ...selection, resourceVersion: from }, 4, versions), all);
      for (const [index, resourceVersion] of versions.slice(0, 3).entries())
        assert.deepEqual(
          await events(t, api, maps, { ...selection, resourceVersion }, 3 - index),
          all.slice(index + 1),
        );
    });

    it('ends a watch when its time is over, with a bookmark of what it need not be told before', async (t) => {
      const { api, maps, version } = await setUp(t, start, { watchMs: 10_000, random: () => 0 });
      const selection = {
        labelSelector: 'watched',
        resourceVersion: await version(),
        bookmarks: true,
      } as const;
      await api.create(maps, configMap('a', { labels: { watched: 'yes' } }));
      const seen: WatchEvent<ApiObject>[] = [];
      let unseen = '';
      for await (const event of api.watch<ApiObject>(maps, selection, t.signal)) {
        seen.push(event);
        if (event.type !== 'ADDED') continue;
        // A server sends no bookmark to a watch that is newer than the last change of this kind of object.
        unseen = (await api.create<ApiObject>(maps, configMap('b'))).metadata.resourceVersion;
      }
      assert.ok(seen.slice(1).every(({ type }) => type === 'BOOKMARK'));
      assert.ok(seen.length > 1);
      assert.ok(BigInt(seen.at(-1)!.object.metadata.resourceVersion) >= BigInt(unseen));
    });

    it('has forgotten what was long ago (410)', async (t) => {
      const { api, maps, server, version } = await setUp(t, start);
      const resourceVersion = await version();
      await api.create(maps, configMap('a'));
      await server.forget();
      await assert.rejects(events(t, api, maps, { resourceVersion }, 1), failure(410, 'Expired'));
    });

    it('keeps events of a pod, which are found by its name and counted up', async (t) => {
      const { api, eventsPath, server } = await setUp(t, start);
      const involvedObject = {
        apiVersion: 'v1',
        kind: 'Pod',
        namespace: server.namespace,
        name: 'victim',
        uid: randomUUID(),
      };
      const time = '2026-11-27T10:00:00Z';
      const event = {
        ...{ metadata: { generateName: 'victim.' }, involvedObject, type: 'Warning', reason: 'OOMKilled' },
        ...{
          message: 'killed',
          count: 1,
          firstTimestamp: time,
          lastTimestamp: time,
          source: { component: 'oom-witness' },
        },
      };
      const { metadata } = await api.create<ApiObject>(eventsPath, event);
      assert.match(metadata.name, /^victim\..+/);
      const counted = await api.patch<ApiObject>(
        `${eventsPath}/${metadata.name}`,
        { count: 2 },
        'strategic-merge',
      );
      assert.equal(counted.count, 2);
      await api.create(eventsPath, {
        ...event,
        metadata: { name: 'another' },
        involvedObject: { ...involvedObject, name: 'other' },
      });
      await assert.rejects(
        api.create(eventsPath, { ...event, metadata: { name: 'elsewhere', namespace: 'kube-system' } }),
        failure(400, 'BadRequest'),
      );
    });

    it('takes an event with a time of its own only with a message of 1024 bytes at most', async (t) => {
      const { api, eventsPath, server } = await setUp(t, start);
      const event = (name: string, message: string, over: object = {}) => ({
        metadata: { name },
        involvedObject: { apiVersion: 'v1', kind: 'Pod', name: 'a', namespace: server.namespace },
        reason: 'OOMKilled',
        type: 'Warning',
        message,
        action: 'Kill',
        eventTime: '2026-11-27T10:00:00.123000Z',
        reportingComponent: 'oom-witness',
        reportingInstance: 'node-a',
        ...over,
      });
      await api.create(eventsPath, event('fits', 'x'.repeat(1024)));
      const tooLong = event('long', 'ü'.repeat(513));
      await assert.rejects(api.create(eventsPath, tooLong), failure(422, 'Invalid'));
      const nobody = event('nobody', 'x', { reportingComponent: '' });
      await assert.rejects(api.create(eventsPath, nobody), failure(422, 'Invalid'));
      const badTime = event('time', 'x', { eventTime: '2026-11-27T10:00:00.123Z' });
      await assert.rejects(api.create(eventsPath, badTime), failure(400, 'BadRequest'));
    });

    it('lets one of two take a lease', async (t) => {
      const { api, leases } = await setUp(t, start);
      const lease = (holderIdentity: string, renewTime: string) => ({
        ...{ apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: { name: 'only' } },
        spec: { holderIdentity, leaseDurationSeconds: 15, renewTime },
      });
      await assert.rejects(
        api.create(leases, lease('a', '2026-11-27T10:00:00.123Z')),
        failure(400, 'BadRequest'),
      );
      const free = await api.create<ApiObject>(leases, lease('', '2026-11-27T10:00:00.123000Z'));
      const taken = (holderIdentity: string) => ({ ...free, spec: { ...free.spec, holderIdentity } });
      await api.replace(`${leases}/only`, taken('a'));
      await assert.rejects(api.replace(`${leases}/only`, taken('b')), failure(409, 'Conflict'));
      assert.equal((await api.get<ApiObject>(`${leases}/only`)).spec.holderIdentity, 'a');
    });

    it('elects one of two, and the other when that one gives the lease back', async (t) => {
      const { api, server, leases } = await setUp(t, start);
      const candidate = (identity: string) => {
        const leads = Promise.withResolvers<void>();
        const stop = new AbortController();
        t.after(() => stop.abort());
        const settings = { namespace: server.namespace, name: 'election', identity, retryMs: 100 };
        const lead = async (signal: AbortSignal) => {
          leads.resolve();
          if (!signal.aborted) await once(signal, 'abort');
        };
        const ended = new LeaseElection(api, settings, tools()).run(lead, stop.signal);
        return { leads: leads.promise, stop: () => stop.abort(), ended };
      };
      const first = candidate('first');
      await first.leads;
      const second = candidate('second');
      assert.equal((await api.get<ApiObject>(`${leases}/election`)).spec.holderIdentity, 'first');
      first.stop();
      await first.ended;
      await second.leads;
      second.stop();
      await second.ended;
      const { spec } = await api.get<ApiObject>(`${leases}/election`);
      assert.deepEqual([spec.holderIdentity, spec.leaseTransitions], ['', 1]);
    });

    it('keeps a set current over cut connections, and lists it again when it has forgotten', async (t) => {
      const { api, server, maps } = await setUp(t, start);
      const relay = await TcpRelay.start(t, serverIn(server.kubeconfig));
      const relayed = await connect({ kubeconfig: through(t, relay, server) });
      const follower = new NameFollower();
      const stop = new AbortController();
      const watch = new ListWatch<ApiObject>(relayed, maps, { labelSelector: 'followed' }, follower, tools());
      const synced = follower.next('synced');
      const running = watch.run(stop.signal);
      t.after(async () => {
        stop.abort();
        await running;
        relayed.close();
      });
      await synced;
      const create = async (name: string) => {
        const added = follower.next(`added ${name}`);
        await api.create(maps, configMap(name, { labels: { followed: 'yes' } }));
        await added;
      };
      await create('a');
      relay.cut();
      await create('b');
      assert.deepEqual(follower.told, ['began', 'page', 'synced', 'added a', 'added b']);
      const again = follower.next('synced');
      relay.shut();
      await api.create(maps, configMap('missed', { labels: { followed: 'yes' } }));
      await server.forget();
      relay.open();
      await again;
      assert.deepEqual([...follower.names], ['a', 'b', 'missed']);
      await create('c');
    });

    it('refuses a bad token, and is asked again at once when the file has a good one', async (t) => {
      const { server, maps } = await setUp(t, start);
      const tokenFile = join(tmpdir(), `oom-witness-token-${randomUUID()}`);
      t.after(() => rmSync(tokenFile, { force: true }));
      writeFileSync(tokenFile, 'no-token-at-all');
      const api = await connect({
        kubeconfig: kubeconfigLike(t, server.kubeconfig, { user: { tokenFile } }),
      });
      t.after(() => api.close());
      await assert.rejects(api.get(maps), failure(401, 'Unauthorized'));
      writeFileSync(tokenFile, `${await server.token()}\n`);
      await api.get(maps);
    });

    it('is watched over a connection that is cut: an error without a status, and nothing is lost', async (t) => {
      const { server, api, maps, version } = await setUp(t, start);
      const relay = await TcpRelay.start(t, serverIn(server.kubeconfig));
      const relayed = await connect({ kubeconfig: through(t, relay, server) });
      t.after(() => relayed.close());
      const from = await version();
      const selection = { resourceVersion: from, bookmarks: true } as const;
      const watch = relayed.watch<ApiObject>(maps, selection, t.signal)[Symbol.asyncIterator]();
      await api.create(maps, configMap('a'));
      const first = (await watch.next()).value as WatchEvent<ApiObject>;
      assert.equal(first.object.metadata.name, 'a');
      relay.cut();
      await assert.rejects(watch.next(), failure(0));
      await api.create(maps, configMap('b'));
      const { resourceVersion } = first.object.metadata;
      assert.deepEqual(await events(t, relayed, maps, { resourceVersion }, 1), ['ADDED b']);
    });

    it('is given up where nothing comes any more, and asked again over another connection', async (t) => {
      const { server, api, maps, version } = await setUp(t, start);
      const relay = await TcpRelay.start(t, serverIn(server.kubeconfig));
      const limits = { timeoutMs: 5000, watchMs: 10_000, graceMs: 100, random: () => 0 };
      const relayed = await connect({ kubeconfig: through(t, relay, server), ...limits });
      t.after(() => relayed.close());
      const selection = { resourceVersion: await version(), bookmarks: true } as const;
      const watch = relayed.watch<ApiObject>(maps, selection, t.signal)[Symbol.asyncIterator]();
      await api.create(maps, configMap('a'));
      await watch.next();
      await relayed.get(maps);
      relay.freeze();
      await assert.rejects(relayed.get(maps), failure(0, 'Timeout'));
      await assert.rejects(
        async () => {
          while (!(await watch.next()).done);
        },
        failure(0, 'Timeout'),
      );
      await relayed.get(maps);
    });

    it('ends at once when the caller wants no more', async (t) => {
      const { api, maps, version } = await setUp(t, start);
      const resourceVersion = await version();
      await api.create(maps, configMap('a'));
      const stop = new AbortController();
      const enough = new Error('enough');
      await assert.rejects(async () => {
        for await (const _ of api.watch(maps, { resourceVersion, bookmarks: true }, stop.signal))
          stop.abort(enough);
      }, enough);
      await assert.rejects(api.get(maps, AbortSignal.abort(enough)), enough);
    });
  });
}

interface SetUp {
  readonly server: ContractServer;
  readonly api: KubernetesApi;
  /** Paths of collections. */
  readonly maps: string;
  readonly pods: string;
  readonly leases: string;
  readonly eventsPath: string;
  /** Of the present. */
  version(): Promise<string>;
}

async function setUp(
  t: TestContext,
  start: (t: TestContext) => Promise<ContractServer>,
  options: ConnectOptions = {},
): Promise<SetUp> {
  const server = await start(t);
  const api = await connect({ kubeconfig: server.kubeconfig, ...options });
  t.after(() => api.close());
  const core = `/api/v1/namespaces/${server.namespace}`;
  return {
    server,
    api,
    maps: `${core}/configmaps`,
    pods: `${core}/pods`,
    leases: `/apis/coordination.k8s.io/v1/namespaces/${server.namespace}/leases`,
    eventsPath: `${core}/events`,
    async version() {
      const [page] = await Array.fromAsync(api.list(`${core}/endpoints`, {}));
      return page!.resourceVersion;
    },
  };
}

/** The next `count` events but for bookmarks, as `TYPE name`. */
async function events(
  t: TestContext,
  api: KubernetesApi,
  path: string,
  selection: Selection & { readonly resourceVersion: string },
  count: number,
  versions: string[] = [],
): Promise<string[]> {
  const seen: string[] = [];
  for await (const { type, object } of api.watch<ApiObject>(
    path,
    { ...selection, bookmarks: true },
    t.signal,
  )) {
    if (type === 'BOOKMARK') continue;
    seen.push(`${type} ${object.metadata.name}`);
    versions.push(object.metadata.resourceVersion);
    if (seen.length === count) break;
  }
  return seen;
}

function tools(): LeaseTools & ListWatchTools {
  const ignored = () => {};
  return {
    observer: {
      ...{ leaseTaken: ignored, leaseLost: ignored, leaseHeldBy: ignored, leaseFailed: ignored },
      ...{ listed: ignored, listWatchFailed: ignored, listWatchOutdated: ignored, objectSkipped: ignored },
    },
    now: Date.now,
    monotonic: () => performance.now(),
    sleep: (ms, signal) => setTimeout(ms, undefined, { signal }),
    random: Math.random,
  };
}

function names({ items }: { readonly items: readonly ApiObject[] }): string[] {
  return items.map(({ metadata }) => metadata.name);
}

function failure(status: number, reason?: string): (error: ApiError) => boolean {
  return (error) => {
    assert.equal(error.name, 'ApiError', error.message);
    assert.equal(error.status, status, error.message);
    if (reason !== undefined) assert.equal(error.reason, reason, error.message);
    return true;
  };
}

/** The certificate is for 127.0.0.1 too. */
function through(t: TestContext, relay: TcpRelay, server: ContractServer): string {
  return kubeconfigLike(t, server.kubeconfig, { cluster: { server: relay.url } });
}

function configMap(
  name: string,
  { labels, data }: { readonly labels?: object; readonly data?: object } = {},
): object {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, labels }, data };
}

function pod(name: string, nodeName: string): object {
  const containers = [{ name: 'only', image: 'localhost/nothing:1' }];
  return { apiVersion: 'v1', kind: 'Pod', metadata: { name }, spec: { nodeName, containers } };
}
