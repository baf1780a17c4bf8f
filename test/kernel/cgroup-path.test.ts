import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cgroupOwner, isWithin, limitOwner } from '../../src/kernel/cgroup-path.ts';

const ID = '4bf1c3d5e7a9b0c2d4f6a8b0c2d4e6f8a0b2c4d6e8f0a2b4c6d8e0f2a4b6c8d0';
const UID = '0f6c1f0e-7d3c-4d7a-9b1e-3a5f7c9d1e2b';
const UNDERSCORED = UID.replaceAll('-', '_');
const BURSTABLE = '/kubepods.slice/kubepods-burstable.slice';
const POD = `${BURSTABLE}/kubepods-burstable-pod${UNDERSCORED}.slice`;

const owners: readonly [string, object][] = [
  [`/kubepods/burstable/pod${UID}/${ID}`, { container: { id: ID }, podUid: UID, qos: 'Burstable' }],
  [`/kubepods/pod${UID}/${ID}`, { container: { id: ID }, podUid: UID, qos: 'Guaranteed' }],
  [
    `${POD}/cri-containerd-${ID}.scope`,
    { container: { id: ID, runtime: 'containerd' }, podUid: UID, qos: 'Burstable' },
  ],
  [
    `/kubepods.slice/kubepods-pod${UNDERSCORED}.slice/crio-${ID}.scope`,
    { container: { id: ID, runtime: 'cri-o' }, podUid: UID, qos: 'Guaranteed' },
  ],
  [
    `/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod${UNDERSCORED}.slice/docker-${ID}.scope`,
    { container: { id: ID, runtime: 'docker' }, podUid: UID, qos: 'BestEffort' },
  ],
  [
    `/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod${UNDERSCORED}.slice/cri-containerd-${ID}.scope`,
    { container: { id: ID, runtime: 'containerd' }, podUid: UID, qos: 'Burstable' },
  ],
  [
    `/system.slice/containerd.service/kubepods-burstable-pod${UNDERSCORED}.slice:cri-containerd:${ID}`,
    { container: { id: ID, runtime: 'containerd' }, podUid: UID, qos: 'Burstable' },
  ],
  // A node that is a container itself: the pod's container is the inner one, and above the pod there is none.
  [
    `/docker/${ID}/kubelet/kubepods/besteffort/pod${UID}/${'ab'.repeat(32)}`,
    { container: { id: 'ab'.repeat(32) }, podUid: UID, qos: 'BestEffort' },
  ],
  [`/docker/${ID}/kubelet/kubepods/pod${UID}`, { podUid: UID, qos: 'Guaranteed' }],
  // A static pod: the hash of its file.
  [
    `/kubepods/burstable/podd41d8cd98f00b204e9800998ecf8427e/${ID}`,
    { container: { id: ID }, podUid: 'd41d8cd98f00b204e9800998ecf8427e', qos: 'Burstable' },
  ],
  [`/docker/${ID}`, { container: { id: ID, runtime: 'docker' } }],
  [`/docker/${ID}/system.slice/sshd.service`, { container: { id: ID, runtime: 'docker' } }],
  [`/system.slice/docker-${ID}.scope`, { container: { id: ID, runtime: 'docker' } }],
  [`/machine.slice/libpod-${ID}.scope/container`, { container: { id: ID, runtime: 'podman' } }],
  [`/libpod_parent/libpod-${ID}`, { container: { id: ID, runtime: 'podman' } }],
  [`/libpod_parent/libpod-conmon-${ID}`, {}],
  [`/machine.slice/libpod-conmon-${ID}.scope`, { unit: `libpod-conmon-${ID}.scope`, slice: 'machine.slice' }],
  ['/lxc.payload.web-1', { container: { id: 'web-1', runtime: 'lxc' } }],
  ['/lxc/web-1', { container: { id: 'web-1', runtime: 'lxc' } }],
  [`/ecs/0123/${ID}`, { container: { id: ID } }],
  [
    '/ecs/x/0123456789abcdef0123456789abcdef-1234567890',
    { container: { id: '0123456789abcdef0123456789abcdef-1234567890' } },
  ],
  ['/system.slice/nginx.service', { unit: 'nginx.service', slice: 'system.slice' }],
  [
    '/user.slice/user-1000.slice/user@1000.service/app.slice/app-firefox.scope',
    { unit: 'app-firefox.scope', slice: 'app.slice', userId: 1000 },
  ],
  ['/user.slice/user-0.slice/session-3.scope', { unit: 'session-3.scope', slice: 'user-0.slice', userId: 0 }],
  // Everybody may call a scope of his own as he likes: no name means more than that of a runtime.
  [
    '/user.slice/user-1000.slice/user@1000.service/app.slice/constructor-0123456789ab.scope',
    { unit: 'constructor-0123456789ab.scope', slice: 'app.slice', userId: 1000 },
  ],
  [`/batch/constructor-${ID}`, {}],
  [`/batch:constructor:${ID}`, { container: { id: ID } }],
  ['/', {}],
  ['', {}],
  ['/just/some/cgroup', {}],
];

for (const [path, owner] of owners)
  test(`owner of ${path || 'an empty path'}`, () => assert.deepEqual(cgroupOwner(path), owner));

const limits: readonly [string, string, string | undefined][] = [
  [`${POD}/cri-containerd-${ID}.scope`, `${POD}/cri-containerd-${ID}.scope`, 'container'],
  [`/docker/${ID}/inner`, `/docker/${ID}/inner/x`, 'container'],
  [POD, `${POD}/cri-containerd-${ID}.scope`, 'pod'],
  [`/kubepods/pod${UID}`, `/kubepods/pod${UID}/${ID}`, 'pod'],
  [BURSTABLE, POD, 'qos'],
  ['/kubepods/besteffort', `/kubepods/besteffort/pod${UID}`, 'qos'],
  ['/kubepods.slice', POD, 'slice'],
  ['/user.slice/user-1000.slice', '/user.slice/user-1000.slice/session-1.scope', 'slice'],
  ['/system.slice/nginx.service', '/system.slice/nginx.service', 'unit'],
  ['/docker', `/docker/${ID}`, 'slice'],
  ['/batch', '/batch', undefined],
  ['/', '/x', 'node'],
];

for (const [limit, task, owner] of limits)
  test(`a limit of ${limit} is the ${owner ?? 'unknown'}'s`, () =>
    assert.equal(limitOwner(limit, task), owner));

test('a path is within itself and what is above it, by whole names', () => {
  assert.ok(isWithin('/a/b', '/a'));
  assert.ok(isWithin('/a', '/a'));
  assert.ok(isWithin('/a', '/'));
  assert.ok(!isWithin('/ab', '/a'));
});
