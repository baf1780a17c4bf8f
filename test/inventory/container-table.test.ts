import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import { containerIdentity } from '../../src/inventory/container-identity.ts';
import { ContainerTable, KEPT_MS } from '../../src/inventory/container-table.ts';

const ID = 'a'.repeat(64);

function identity(id = ID, labels: unknown = {}) {
  return containerIdentity({ id, runtime: 'docker', name: 'shop', imageName: 'redis:7', labels })!;
}

describe('who a container is', () => {
  it('has the words of Kubernetes where kubelet has set them', () => {
    const labels = {
      'io.kubernetes.pod.namespace': 'web',
      'io.kubernetes.pod.name': 'shop-1',
      'io.kubernetes.pod.uid': 'f3a1',
      'io.kubernetes.container.name': 'cart',
    };
    assert.deepEqual(containerIdentity({ id: ID, runtime: 'containerd', labels }), {
      id: ID,
      runtime: 'containerd',
      name: 'cart',
      namespace: 'web',
      podName: 'shop-1',
      podUid: 'f3a1',
      containerName: 'cart',
      labels,
    });
  });

  it('keeps no label that may hold anything, and no text without an end', () => {
    const labels = {
      'traefik.http.middlewares.a.basicauth.users': 'admin:secret',
      'com.docker.compose.service': `x${'y'.repeat(10_000)}`,
      'com.docker.compose.project': { not: 'a text' },
      __proto__: 'x',
    };
    const { labels: kept } = identity(ID, labels);
    assert.deepEqual(Object.keys(kept), ['com.docker.compose.service']);
    assert.equal(kept['com.docker.compose.service']?.length, 512);
    assert.deepEqual(identity(ID, 'no labels at all').labels, {});
    assert.deepEqual(identity(ID, Object.create({ 'nerdctl/name': 'inherited' })).labels, {});
    assert.equal(containerIdentity({ id: ID, runtime: 'docker', name: 'a\ud800b' })?.name, 'a\ufffdb');
  });

  it('keeps the labels that somebody asked for, as far as there is room', () => {
    const labels = { team: 'shop', secret: 'x', 'nerdctl/name': 'job' };
    const keep = (...names: string[]) =>
      containerIdentity({ id: ID, runtime: 'docker', labels }, new Set(names))?.labels;
    assert.deepEqual(keep('team', 'other'), { 'nerdctl/name': 'job', team: 'shop' });
    assert.deepEqual(keep('*'), { 'nerdctl/name': 'job', team: 'shop', secret: 'x' });
    const many = Object.fromEntries(
      Array.from({ length: 1000 }, (_, index) => [`label-${index}`, 'x'.repeat(600)]),
    );
    const all = containerIdentity({ id: ID, runtime: 'docker', labels: many }, new Set(['*']))!.labels;
    assert.equal(Object.keys(all).length, 15);
  });

  it('is nobody where the id cannot be one', () => {
    for (const id of ['', '../../etc/passwd', 'a b', '-a', 'a-', 'x'.repeat(129), 7 as unknown as string])
      assert.equal(containerIdentity({ id, runtime: 'docker' }), undefined, String(id));
    assert.equal(containerIdentity({ id: 'c1', runtime: 'containerd' })?.id, 'c1');
    assert.equal(containerIdentity({ id: 'my_app.v2-1', runtime: 'containerd' })?.id, 'my_app.v2-1');
  });
});

describe('ContainerTable', () => {
  let now: number;
  let kernelSees: boolean;
  let table: ContainerTable;
  let told: string[];

  beforeEach(() => {
    now = 1_000_000;
    kernelSees = true;
    table = new ContainerTable({ now: () => now, kernelSees: () => kernelSees, most: 4 });
    told = [];
    table.listen((type, { id }) => told.push(`${type} ${id.slice(0, 2)}`));
  });

  it('counts the first start as a start, later ones as restarts, too', () => {
    table.identify('docker', identity());
    table.started(ID, 10);
    table.died(ID, 137, 20);
    table.started(ID, 30);
    table.died(ID, 1, 40);
    const { starts, restarts, exitCode, running, startedAt } = table.get(ID)!;
    assert.deepEqual(
      { starts, restarts, exitCode, running, startedAt },
      { starts: 2, restarts: 1, exitCode: 1, running: false, startedAt: 30 },
    );
    assert.deepEqual(told, ['seen aa', 'started aa', 'died aa', 'started aa', 'died aa']);
  });

  it('knows that one which is found had run before', () => {
    table.identify('docker', identity());
    table.found(ID, { running: false, startedAt: 5, exitCode: 3, exitedAt: 6 }, 1_000);
    assert.equal(table.get(ID)?.starts, 0);
    table.started(ID, 100);
    const { starts, restarts, exitCode } = table.get(ID)!;
    assert.deepEqual({ starts, restarts, exitCode }, { starts: 1, restarts: 1, exitCode: 3 });
  });

  it('counts the start of one that was found after a run of milliseconds, its end stamped before its start', () => {
    table.identify('docker', identity());
    table.found(ID, { running: false, startedAt: 60, exitCode: 2, exitedAt: 58 }, 1_000);
    table.started(ID, 5_000);
    const { starts, restarts, exitCode } = table.get(ID)!;
    assert.deepEqual({ starts, restarts, exitCode }, { starts: 1, restarts: 1, exitCode: 2 });
  });

  it('lets an old death that is told late change nothing', () => {
    table.identify('docker', identity());
    table.found(ID, { running: false, startedAt: 50, exitCode: 3, exitedAt: 60 }, 1_000);
    table.died(ID, 9, 55);
    assert.equal(table.get(ID)?.exitCode, 3);
  });

  describe('a state that was asked for', () => {
    const WATCHED_SINCE = 100;
    const running = (startedAt: number) => ({ running: true, startedAt });
    const counts = () => {
      const { starts, restarts, running } = table.get(ID)!;
      return { starts, restarts, running };
    };
    beforeEach(() => {
      table.identify('docker', identity());
    });

    it('makes up for a start that nobody told', () => {
      table.started(ID, 110);
      table.found(ID, running(200), WATCHED_SINCE);
      assert.deepEqual(counts(), { starts: 2, restarts: 1, running: true });
    });

    it('counts no start twice, whichever comes first', () => {
      table.started(ID, 110);
      table.found(ID, running(109), WATCHED_SINCE);
      assert.deepEqual(counts(), { starts: 1, restarts: 0, running: true });
      table.found(ID, running(200), WATCHED_SINCE);
      table.started(ID, 201);
      assert.deepEqual(counts(), { starts: 2, restarts: 1, running: true });
    });

    it('does not take the next start for the one that it found', () => {
      table.found(ID, running(200), WATCHED_SINCE);
      table.died(ID, 137, 300);
      table.started(ID, 400);
      assert.deepEqual(counts(), { starts: 2, restarts: 1, running: true });
    });

    it('stands between older events that are told again', () => {
      table.started(ID, 110);
      table.found(ID, running(400), WATCHED_SINCE);
      table.died(ID, 1, 200);
      table.started(ID, 250);
      table.died(ID, 2, 300);
      table.started(ID, 401);
      assert.deepEqual(counts(), { starts: 3, restarts: 2, running: true });
      assert.equal(table.get(ID)?.exitCode, 2);
    });

    it('does not count what was before the watch, nor its event that comes late', () => {
      table.found(ID, running(90), WATCHED_SINCE);
      table.started(ID, 101);
      assert.deepEqual(counts(), { starts: 0, restarts: 0, running: true });
    });

    it('tells a death once', () => {
      table.started(ID, 110);
      table.found(ID, { running: false, startedAt: 110, exitCode: 137, exitedAt: 120 }, WATCHED_SINCE);
      table.died(ID, 137, 121);
      assert.deepEqual(told, ['seen aa', 'started aa', 'died aa']);
      assert.equal(table.get(ID)?.running, false);
    });

    it('brings nobody back who was removed after it was asked for', () => {
      table.gone(ID, now);
      table.identify('docker', identity(), now - 1);
      table.found(ID, running(200), WATCHED_SINCE);
      assert.equal(table.get(ID)?.goneAt, now);
      assert.deepEqual(counts(), { starts: 0, restarts: 0, running: false });
    });
  });

  it('believes the kernel, and the runtime only where the kernel is not heard', () => {
    table.identify('docker', identity());
    for (let event = 0; event < 20; event++) table.oom(ID);
    table.killed(ID, 5);
    assert.deepEqual([table.get(ID)?.oomKills, table.get(ID)?.oomEvents], [5, 20]);
    kernelSees = false;
    table.oom(ID);
    assert.equal(table.get(ID)?.oomKills, 6);
  });

  it('gives a container the kills that were told before it', () => {
    table.killed(ID, 1);
    table.killed(ID, 2);
    assert.equal(table.identify('docker', identity()).oomKills, 3);
  });

  it('remembers a bounded number of such kills, the newest', () => {
    for (let index = 0; index < 1000; index++) table.killed(`c${index}`, 1);
    assert.equal(table.identify('docker', identity('c0')).oomKills, 0);
    assert.equal(table.identify('docker', identity('c999')).oomKills, 1);
  });

  it('keeps what is gone for five minutes', () => {
    table.identify('docker', identity());
    table.gone(ID, now);
    now += KEPT_MS - 1;
    assert.equal(table.get(ID)?.goneAt, 1_000_000);
    now += 1;
    assert.equal(table.get(ID), undefined);
    assert.deepEqual(told, ['seen aa', 'gone aa', 'forgotten aa']);
  });

  it('goes on counting when an id is used again', () => {
    table.identify('containerd', identity('job'));
    table.started('job', 10);
    table.killed('job', 1);
    table.gone('job', now);
    now += 1;
    table.identify('containerd', identity('job'));
    now += 2 * KEPT_MS;
    assert.deepEqual([table.get('job')?.oomKills, table.get('job')?.goneAt], [1, undefined]);
  });

  it('takes as gone what its feed no longer has', () => {
    for (const id of ['d1', 'd2']) table.identify('docker', identity(id));
    table.identify('containerd', identity('c1'));
    now += 1;
    table.identify('docker', identity('d3'));
    table.onlyThese('docker', new Set(['d2']), now);
    const gone = [...table.values()].filter(({ goneAt }) => goneAt !== undefined).map(({ id }) => id);
    assert.deepEqual(gone, ['d1']);
  });

  it('finds the container of a cgroup by its id, whatever its form', () => {
    const pod = '/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0a1b.slice';
    table.identify('containerd', identity());
    for (const id of ['c1', 'system.slice'])
      table.identify(
        'containerd',
        containerIdentity({ id, runtime: 'containerd', runtimeNamespace: 'default' })!,
      );
    for (const path of [`/docker/${ID}`, `${pod}/cri-containerd-${ID}.scope`, `/docker/${ID}/init.scope`])
      assert.equal(table.ofCgroup(path)?.id, ID, path);
    for (const path of ['/default/c1', '/default/c1/workers', '/outer/default/c1'])
      assert.equal(table.ofCgroup(path)?.id, 'c1', path);
    for (const path of [
      '/',
      '',
      '/c1',
      '/other/c1',
      '/system.slice/nginx.service',
      `/docker/${'b'.repeat(64)}`,
    ])
      assert.equal(table.ofCgroup(path), undefined, path);
  });

  it('is bounded: what is gone makes room first, then what has ended, then the oldest', () => {
    for (const id of ['c1', 'c2', 'c3', 'c4']) {
      table.identify('docker', identity(id));
      table.started(id, 1);
    }
    table.died('c3', 0, 2);
    table.gone('c2', now);
    for (const id of ['c5', 'c6', 'c7']) {
      table.identify('docker', identity(id));
      table.started(id, 1);
    }
    assert.deepEqual(
      [...table.values()].map(({ id }) => id),
      ['c4', 'c5', 'c6', 'c7'],
    );
    assert.deepEqual(
      told.filter((line) => line.startsWith('forgotten')),
      ['forgotten c2', 'forgotten c3', 'forgotten c1'],
    );
  });

  it('knows nothing of what nobody has identified', () => {
    table.started(ID, 1);
    table.died(ID, 0, 1);
    table.oom(ID);
    table.gone(ID, 1);
    table.found(ID, { running: true }, 0);
    assert.equal(table.size, 0);
    assert.deepEqual(told, []);
  });
});
