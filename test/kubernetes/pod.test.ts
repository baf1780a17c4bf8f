import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { knownPod } from '../../src/kubernetes/pod.ts';

const NOTHING = { labels: new Set<string>(), annotations: new Set<string>() };
const ALL = { labels: new Set(['*']), annotations: new Set(['*']) };

/** As a real API server (1.34) answered, after real kills. */
const { items } = JSON.parse(
  readFileSync(new URL('../fixtures/kubernetes/pods.json', import.meta.url), 'utf8'),
);
const named = (name: string) =>
  items.find((item: { metadata: { name: string } }) => item.metadata.name === name);

describe('what is kept of a pod', () => {
  it('names, quality of service, limits, and how its container ended', () => {
    const pod = knownPod(named('oom1'), NOTHING);
    assert.deepEqual(pod, {
      uid: '1234e8b6-b89d-4b1f-b5fa-94aef2474677',
      namespace: 'default',
      name: 'oom1',
      node: 'node-a',
      resourceVersion: '435',
      labels: {},
      annotations: {},
      qos: 'Burstable',
      ready: false,
      containers: [
        {
          name: 'hog',
          kind: 'container',
          id: 'e53fee17570b7a0023a602dae52b0ce3a2c8c1ae1d6adea0660deef85b13ca23',
          runtime: 'containerd',
          image: {
            name: 'localhost/hog:1',
            id: 'sha256:e0e72cb8f5e2a35c091adb4c12e40731dad4d6241ca7dc6bbcf43fc9ce119580',
          },
          limits: { memory: '64Mi' },
          requests: { memory: '32Mi' },
          restartCount: 0,
          running: false,
          terminated: {
            containerId: 'e53fee17570b7a0023a602dae52b0ce3a2c8c1ae1d6adea0660deef85b13ca23',
            reason: 'OOMKilled',
            exitCode: 137,
            startedAt: '2026-11-21T04:33:19Z',
            finishedAt: '2026-11-21T04:33:19Z',
          },
        },
      ],
    });
  });

  it('of its labels and annotations only those that were asked for', () => {
    assert.deepEqual(knownPod(named('oom1'), { ...NOTHING, labels: new Set(['app']) })?.labels, {
      app: 'oom',
    });
    assert.deepEqual(Object.keys(knownPod(named('oom1'), ALL)?.annotations ?? {}), [
      'kubectl.kubernetes.io/last-applied-configuration',
    ]);
  });

  it('the hash by which the cgroup of a static pod is named', () => {
    const static_ = structuredClone(named('oom1'));
    static_.metadata.annotations['kubernetes.io/config.hash'] = '2b8c9d0e1f2a3b4c5d6e7f8091a2b3c4';
    assert.equal(knownPod(static_, NOTHING)?.configHash, '2b8c9d0e1f2a3b4c5d6e7f8091a2b3c4');
  });

  it('of several owners the controller, with the hash that a Deployment appends', () => {
    const owned = structuredClone(named('oom1'));
    owned.metadata.labels['pod-template-hash'] = '5d8f7c';
    owned.metadata.ownerReferences = [
      { apiVersion: 'example.org/v1', kind: 'Watcher', name: 'w', uid: '1' },
      { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'shop-5d8f7c', uid: '2', controller: true },
    ];
    assert.deepEqual(knownPod(owned, NOTHING)?.owner, {
      apiVersion: 'apps/v1',
      kind: 'ReplicaSet',
      name: 'shop-5d8f7c',
      templateHash: '5d8f7c',
    });
  });

  it('init and ephemeral containers too', () => {
    const pod = structuredClone(named('oom1'));
    pod.spec.initContainers = [{ name: 'migrate' }];
    pod.spec.ephemeralContainers = [{ name: 'debugger' }];
    pod.status.initContainerStatuses = [
      { name: 'migrate', containerID: 'cri-o://4bf1', restartCount: 3, state: { running: {} } },
    ];
    assert.deepEqual(
      knownPod(pod, NOTHING)?.containers.map(({ name, kind, id, runtime, running }) => [
        name,
        kind,
        id,
        runtime,
        running,
      ]),
      [
        [
          'hog',
          'container',
          'e53fee17570b7a0023a602dae52b0ce3a2c8c1ae1d6adea0660deef85b13ca23',
          'containerd',
          false,
        ],
        ['migrate', 'init', '4bf1', 'cri-o', true],
        ['debugger', 'ephemeral', undefined, undefined, false],
      ],
    );
  });
});

describe('an answer is not trusted', () => {
  for (const [what, answer] of Object.entries({
    null: null,
    'a list': [],
    'a text': 'pod',
    'no metadata': {},
    'a UID that is a number': { metadata: { uid: 7, name: 'x', namespace: 'y' } },
    'no name': { metadata: { uid: 'a', namespace: 'y' } },
  }))
    it(`${what} is no pod`, () => assert.equal(knownPod(answer, ALL), undefined));

  it('fields of the wrong type count as absent', () => {
    const pod = knownPod(
      {
        metadata: { uid: 'a', name: 'x', namespace: 'y', labels: 'no', ownerReferences: {} },
        spec: { containers: [{ name: 'c', resources: [] }, { name: {} }, null], nodeName: 3 },
        status: {
          conditions: 'Ready',
          containerStatuses: [
            { name: 'c', containerID: 'containerd://../../x y', restartCount: 1.5, state: 1 },
          ],
        },
      },
      ALL,
    );
    assert.deepEqual(pod, {
      uid: 'a',
      namespace: 'y',
      name: 'x',
      labels: {},
      annotations: {},
      ready: false,
      containers: [{ name: 'c', kind: 'container', restartCount: 0, running: false }],
    });
  });

  it('long values are cut', () => {
    const pod = knownPod(
      { metadata: { uid: 'a', name: 'x', namespace: 'y', annotations: { long: 'z'.repeat(9999) } } },
      ALL,
    );
    assert.equal(pod?.annotations.long?.length, 1024);
  });

  it('and not within a character, of which a path of the API could not be made', () => {
    const long = `${'z'.repeat(1023)}\u{1f600}`;
    const ownerReferences = [{ controller: true, apiVersion: 'batch/v1', kind: 'Job', name: long }];
    const metadata = { uid: 'a', name: 'x', namespace: 'y', annotations: { long }, ownerReferences };
    const pod = knownPod({ metadata }, ALL);
    for (const value of [pod?.owner?.name, pod?.annotations.long])
      assert.equal(decodeURIComponent(encodeURIComponent(value!)), `${'z'.repeat(1023)}\ufffd`);
  });
});
