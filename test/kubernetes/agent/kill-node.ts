/** The nodes on which kills are tried, and in what they differ. */
import { rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { untilHeaderIsAllowed } from '../../docker/kernel-header.ts';
import { NODE_A, NODE_B } from '../addresses.ts';
import type { Cluster } from '../cluster.ts';
import type { TestNamespace } from '../cluster-test.ts';
import type { NodeName } from './deployed-agent.ts';

export interface KillNode {
  readonly name: NodeName;
  /** Whether kubelet has the kernel kill all processes of a container, whichever it chose. */
  readonly groupKills: boolean;
  /** Whether the container's status says OOMKilled for sure. */
  readonly isToldOfKills: boolean;
  /** Until `killWithHeader`. */
  readonly waitsFor: 'SIGTERM' | 'line';
  /** Lets a victim be killed that waits, with the namespace's name in its command line: when the kernel will print limit and usage. */
  killWithHeader(namespace: TestNamespace, pod: string): Promise<void>;
  /** Of a container, as the kernel prints it. */
  cgroup(qos: string, podUid: string, containerId: string): string;
  /** kubelet runs the pod of this manifest, until it is removed. */
  writeStaticPod(file: string, manifest: object): Promise<void>;
  removeStaticPod(file: string): Promise<void>;
}

const JSON_FILE = '.json';

/** This machine: cgroup v1 and kubelet's driver `cgroupfs`. */
export function nodeA(cluster: Cluster): KillNode {
  const at = (file: string) => path.join(cluster.staticPods, file + JSON_FILE);
  return {
    name: NODE_A.name,
    groupKills: false,
    isToldOfKills: true,
    waitsFor: 'SIGTERM',
    killWithHeader: (namespace) => namespace.kill(namespace.name, untilHeaderIsAllowed),
    cgroup(qos, podUid, containerId) {
      const level = qos === 'Guaranteed' ? '' : `/${qos.toLowerCase()}`;
      return `${cluster.cgroupRoot}/kubepods${level}/pod${podUid}/${containerId}`;
    },
    writeStaticPod: async (file, manifest) => writeFileSync(at(file), JSON.stringify(manifest)),
    removeStaticPod: async (file) => rmSync(at(file), { force: true }),
  };
}

/** The virtual machine: cgroup v2 and kubelet's driver `systemd`. */
export function nodeB({ guest }: Cluster): KillNode {
  const at = (file: string) => path.join(guest.staticPods, file + JSON_FILE);
  return {
    name: NODE_B.name,
    groupKills: true,
    // In one run of three it was `Error`, exit code 137.
    isToldOfKills: false,
    waitsFor: 'line',
    // Its kernel prints of nobody else's kills.
    killWithHeader: (namespace, pod) => namespace.tell(pod),
    cgroup(qos, podUid, containerId) {
      const level = qos === 'Guaranteed' ? '' : `-${qos.toLowerCase()}`;
      const slices = ['kubepods', ...(level && [`kubepods${level}`])];
      const pod = `kubepods${level}-pod${podUid.replaceAll('-', '_')}`;
      return `/${[...slices, pod].map((slice) => `${slice}.slice`).join('/')}/cri-containerd-${containerId}.scope`;
    },
    writeStaticPod: (file, manifest) => guest.writeFile(at(file), JSON.stringify(manifest)),
    async removeStaticPod(file) {
      await guest.shell(`rm -f ${at(file)}`);
    },
  };
}
