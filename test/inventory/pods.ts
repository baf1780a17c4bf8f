import type { KnownPod, KnownPodContainer, Termination } from '../../src/kubernetes/pod.ts';

export const UID = '0f6c1f0e-7d3c-4d7a-9b1e-3a5f7c9d1e2b';

export function containerId(digit: string): string {
  return digit.repeat(64);
}

export function podContainer(container: Partial<KnownPodContainer> = {}): KnownPodContainer {
  return { name: 'shop', kind: 'container', restartCount: 0, running: false, ...container };
}

export function pod(given: Partial<KnownPod> = {}): KnownPod {
  return {
    uid: UID,
    namespace: 'web',
    name: 'shop-5d8f7c-x2x',
    node: 'node-7',
    labels: {},
    annotations: {},
    ready: true,
    containers: [podContainer()],
    ...given,
  };
}

export function oomKilled(id: string, finishedAt = '2026-11-21T03:14:16Z'): Termination {
  return {
    containerId: id,
    reason: 'OOMKilled',
    exitCode: 137,
    startedAt: '2026-11-21T03:00:00Z',
    finishedAt,
  };
}
