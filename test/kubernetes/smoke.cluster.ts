import assert from 'node:assert/strict';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { until } from '../sinks/contract.ts';
import { runningCluster, TestNamespace } from './cluster-test.ts';
import { hog, hogPod, idle, once, pod } from './pods.ts';

const cluster = runningCluster();

describe('the cluster that the tests use is a real one', () => {
  it('has a node that is ready and runs the Kubernetes that was built', async () => {
    const node = await cluster.get<{
      status: { conditions: { type: string; status: string }[]; nodeInfo: { kubeletVersion: string } };
    }>('node', 'node-a');
    assert.equal(node.status.conditions.find(({ type }) => type === 'Ready')?.status, 'True');
    assert.match(node.status.nodeInfo.kubeletVersion, /^v1\.34\./);
  });

  it('kills the first process of a pod, and the status says so', async (t) => {
    const namespace = await TestNamespace.create(t, cluster);
    await namespace.apply(hogPod('victim'));
    await namespace.untilOomKilled('victim');
    const { status } = await namespace.pod('victim');
    assert.equal(status.containerStatuses?.[0]?.state.terminated?.exitCode, 137);
    await namespace.until('pod/victim', '.status.phase', 'Failed');
  });

  it('kills a child and lets its parent live: the status says nothing of it', async (t) => {
    const namespace = await TestNamespace.create(t, cluster);
    await namespace.apply(hogPod('victim', { who: 'child' }));
    await namespace.until('pod/victim', '.status.phase', 'Running');
    const { metadata, status } = await namespace.pod('victim');
    const id = status.containerStatuses?.[0]?.containerID.replace('containerd://', '');
    const cgroup = `${cluster.cgroupRoot}/kubepods/burstable/pod${metadata.uid}/${id}`;
    const control = `/sys/fs/cgroup/memory${cgroup}/memory.oom_control`;
    await until(() => /^oom_kill [1-9]/m.test(readFileSync(control, 'utf8')), 'a kill');
    assert.ok((await namespace.pod('victim')).status.containerStatuses?.[0]?.state.running);
  });

  it('kills an init container', async (t) => {
    const namespace = await TestNamespace.create(t, cluster);
    await namespace.apply(pod('victim', once([idle('main')], { initContainers: [hog('first')] })));
    await namespace.until(
      'pod/victim',
      '.status.initContainerStatuses[0].state.terminated.reason',
      'OOMKilled',
    );
  });

  it('runs static pods', async (t) => {
    const namespace = await TestNamespace.create(t, cluster);
    const file = path.join(cluster.staticPods, `${namespace.name}.json`);
    const manifest = pod('static', once([hog('hog', { liveMs: 100 })]), { namespace: namespace.name });
    writeFileSync(file, JSON.stringify(manifest));
    t.after(() => rmSync(file));
    await namespace.kubectl('wait', '--for=create', 'pod/static-node-a', '--timeout=250s');
    await namespace.untilOomKilled('static-node-a');
  });
});
