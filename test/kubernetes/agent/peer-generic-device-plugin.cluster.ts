/** k8s/overlays/reduced with generic-device-plugin itself, started as docs/kubernetes.md says. */
import assert from 'node:assert/strict';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { it, type TestContext } from 'node:test';
import { MANIFESTS } from '../../k8s/manifest-files.ts';
import { peerProgram } from '../../servers/peer.ts';
import { runningCluster } from '../cluster-test.ts';
import { imageArchive } from '../image-archive.ts';
import { assertReducedSees } from './reduced-agent.ts';

const NAME = 'generic-device-plugin';
const IMAGE = `localhost/${NAME}:1`;
const peer = peerProgram(NAME);
const skip = 'missing' in peer && peer.missing;
const cluster = runningCluster();

/** Its flag and that flag's value, in the documentation's words. */
function documentedArguments(): string[] {
  const text = readFileSync(path.join(MANIFESTS, '../docs/kubernetes.md'), 'utf8');
  const [, flag = '', value = ''] = /`(--device) '(\{"name": "kmsg".*?\})'`/.exec(text) ?? [];
  return [flag, value];
}

/** On every node, with what its own manifest has; until kubelet offers the device. */
async function deployPlugin(t: TestContext): Promise<void> {
  assert.ok('executable' in peer);
  const contents = [{ path: 'plugin', file: readFileSync(peer.executable), mode: 0o755 }];
  const archive = cluster.at('images/device-plugin.tar');
  writeFileSync(archive, imageArchive({ name: IMAGE, entrypoint: ['/plugin'], contents }));
  t.after(() => rmSync(archive));
  await cluster.importImage(archive);
  const labels = { 'app.kubernetes.io/name': NAME };
  const mounts = { 'device-plugin': '/var/lib/kubelet/device-plugins', dev: '/dev' };
  const container = {
    name: NAME,
    image: IMAGE,
    imagePullPolicy: 'Never',
    args: documentedArguments(),
    securityContext: { privileged: true },
    volumeMounts: Object.entries(mounts).map(([name, mountPath]) => ({ name, mountPath })),
  };
  const daemonSet = {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: { name: NAME, namespace: 'kube-system' },
    spec: {
      selector: { matchLabels: labels },
      template: {
        metadata: { labels },
        spec: {
          containers: [container],
          nodeSelector: { 'kubernetes.io/hostname': 'node-a' },
          tolerations: [{ operator: 'Exists' }],
          terminationGracePeriodSeconds: 1,
          volumes: Object.entries(mounts).map(([name, path]) => ({ name, hostPath: { path } })),
        },
      },
    },
  };
  await cluster.apply(daemonSet);
  const place = [`daemonset/${NAME}`, '--namespace=kube-system', '--timeout=60s'];
  t.after(() => cluster.kubectl(['delete', ...place]));
  await cluster.kubectl(['rollout', 'status', ...place]);
  const offered = '--for=jsonpath={.status.allocatable.squat\\.ai/kmsg}';
  await cluster.kubectl(['wait', 'node/node-a', offered, '--timeout=60s']);
}

it(`with ${NAME} and without privileges: kills are seen and named`, { skip }, async (t) => {
  await deployPlugin(t);
  await assertReducedSees(t, cluster);
});
