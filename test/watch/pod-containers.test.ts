import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import { ContainerTable } from '../../src/inventory/container-table.ts';
import { PodTable } from '../../src/inventory/pod-table.ts';
import { type KnownPod, knownPod } from '../../src/kubernetes/pod.ts';
import type { MetricFamily } from '../../src/metrics/family.ts';
import { openFamily } from '../../src/metrics/missing-container-metrics.ts';
import { PodContainers } from '../../src/watch/pod-containers.ts';

const [FIRST, SECOND] = ['1'.repeat(64), '2'.repeat(64)] as const;
const RUNNING = { running: { startedAt: '2026-11-21T03:15:00Z' } };

function ended(id: string, exitCode: number, reason: string) {
  const times = { startedAt: '2026-11-21T03:15:00Z', finishedAt: '2026-11-21T03:16:00Z' };
  return { terminated: { containerID: `containerd://${id}`, exitCode, reason, ...times } };
}

/** The pod as the API has it. */
function pod(status: Readonly<Record<string, unknown>>): KnownPod {
  const containerStatuses = [{ name: 'cart', image: 'redis:7', restartCount: 0, ...status }];
  const metadata = { name: 'shop-1', namespace: 'prod', uid: 'f3a1' };
  const known = knownPod(
    { metadata, spec: { containers: [{ name: 'cart' }] }, status: { containerStatuses } },
    { labels: new Set(), annotations: new Set() },
  );
  return known ?? assert.fail('no pod');
}

describe('containers as the status of their pods tells of them', () => {
  let now: number;
  let kernelSees: boolean;
  let pods: PodTable;
  let table: ContainerTable;
  let family: MetricFamily;

  beforeEach(() => {
    now = Date.parse('2026-11-21T03:15:30.700Z');
    kernelSees = true;
    pods = new PodTable(() => now);
    table = new ContainerTable({ now: () => now, kernelSees: () => kernelSees });
    family = openFamily({ containers: table, isReplacement: true });
    pods.listen(new PodContainers(table, () => now));
  });

  async function metrics(id: string): Promise<Record<string, number>> {
    const lines = (await family.scrape()).split('\n').filter((line) => line.includes(`"containerd://${id}"`));
    return Object.fromEntries(
      lines.map((line) => [line.slice(0, line.indexOf('{')), Number(line.split(' ').at(-1))]),
    );
  }

  const metricsOf = (restarts: number, ooms: number, exitCode: number) => ({
    container_restarts: restarts,
    container_ooms: ooms,
    container_last_exit_code: exitCode,
  });

  it('has its series as soon as it runs, with the labels of containerd', async () => {
    pods.apply(pod({ state: { waiting: {} } }));
    assert.equal(await family.scrape(), '');
    pods.apply(pod({ containerID: `containerd://${FIRST}`, state: RUNNING }));
    assert.deepEqual(await metrics(FIRST), metricsOf(0, 0, 0));
    const labels = `container_id="containerd://${FIRST}",container_short_id="111111111111",docker_container_id="not-a-docker-container",image_id="redis:7",name="cart",namespace="prod",pod="shop-1"`;
    assert.ok((await family.scrape()).includes(`container_ooms{${labels}} 0`));
  });

  it('killed and restarted: the one that died keeps its exit code, the other has the count', async () => {
    pods.apply(pod({ containerID: `containerd://${FIRST}`, state: RUNNING }));
    table.killed(FIRST, 1);
    const lastState = ended(FIRST, 137, 'OOMKilled');
    const again = { containerID: `containerd://${SECOND}`, state: RUNNING, lastState, restartCount: 1 };
    pods.apply(pod(again));
    pods.apply(pod(again));
    assert.deepEqual(await metrics(FIRST), metricsOf(0, 1, 137));
    assert.deepEqual(await metrics(SECOND), metricsOf(1, 0, 0));
    assert.equal(table.get(FIRST)?.goneAt, now);
  });

  it('believes the status only where the kernel is not heard', async () => {
    kernelSees = false;
    pods.apply(pod({ containerID: `containerd://${FIRST}`, state: ended(FIRST, 137, 'OOMKilled') }));
    assert.deepEqual(await metrics(FIRST), metricsOf(0, 1, 137));
  });

  it('does not count kills from before it watched', async () => {
    kernelSees = false;
    const old = { startedAt: '2026-11-21T03:00:00Z', finishedAt: '2026-11-21T03:15:29Z' };
    const { terminated } = ended(FIRST, 137, 'OOMKilled');
    pods.apply(
      pod({ containerID: `containerd://${FIRST}`, state: { terminated: { ...terminated, ...old } } }),
    );
    assert.deepEqual(await metrics(FIRST), metricsOf(0, 0, 137));
  });

  it('a runtime that is followed tells of its own containers itself, and of no others', async () => {
    const followed = new ContainerTable({ now: () => now, kernelSees: () => kernelSees });
    pods.listen(new PodContainers(followed, () => now, new Set(['docker'])));
    pods.apply(pod({ containerID: `docker://${FIRST}`, state: ended(FIRST, 137, 'OOMKilled') }));
    pods.apply(pod({ containerID: `containerd://${SECOND}`, state: RUNNING }));
    assert.equal(followed.get(FIRST), undefined);
    assert.equal(followed.get(SECOND)?.name, 'cart');
    assert.ok(table.get(FIRST));
  });

  it('is gone with its pod', async () => {
    pods.apply(pod({ containerID: `containerd://${FIRST}`, state: RUNNING }));
    pods.remove('f3a1');
    assert.equal(table.get(FIRST)?.goneAt, now);
  });
});
