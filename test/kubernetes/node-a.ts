/** The node that is this machine: its kernel log, its cgroups below one of ours, containers of Debian's containerd and runc. */
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { libraryPath } from '../servers/apt.ts';
import { cgroupMounts, mayRaiseResources } from '../servers/cgroups.ts';
import { API_URL, DNS_SERVER, NODE_A } from './addresses.ts';
import type { CertificateAuthority } from './certificates.ts';
import {
  containerdConfiguration,
  kubeletConfiguration,
  type NodeConfiguration,
  networkConfiguration,
} from './node-configuration.ts';
import { PAUSE_IMAGE, type Parts } from './parts.ts';

export interface NodeCommands {
  readonly containerd: readonly string[];
  readonly kubelet: readonly string[];
}

/** Writes its configuration. */
export function nodeCommands(
  parts: Parts,
  authority: CertificateAuthority,
  folder: string,
  cgroupRoot: string,
): NodeCommands {
  const at = (name: string) => path.join(folder, name);
  const debian = (name: string) => path.join(parts.debian, name);
  const node: NodeConfiguration = {
    address: NODE_A.address,
    podRange: NODE_A.pods,
    certificates: at('certificates'),
    staticPods: staticPodFolder(folder),
    networkConfiguration: at('network'),
    networkPlugins: debian('usr/lib/cni'),
    runc: debian('usr/sbin/runc'),
    cgroupDriver: 'cgroupfs',
    cgroupRoot,
    restrictOomScoreAdj: !mayRaiseResources(),
  };
  for (const each of [node.certificates, node.staticPods, node.networkConfiguration])
    mkdirSync(each, { recursive: true });
  writeFileSync(at('containerd.toml'), containerdConfiguration(node, PAUSE_IMAGE));
  writeFileSync(at('network/10-pods.conflist'), networkConfiguration(node));
  writeFileSync(at('kubelet.yaml'), kubeletConfiguration(node, DNS_SERVER));
  const subject = `/O=system:nodes/CN=system:node:${NODE_A.name}`;
  authority.issue('kubelet-server', {
    subject,
    usage: 'serverAuth',
    names: `DNS:${NODE_A.name},DNS:localhost,IP:127.0.0.1,IP:${NODE_A.address}`,
  });
  writeFileSync(at('kubelet.kubeconfig'), authority.kubeconfig('kubelet', API_URL, subject));
  return {
    containerd: ['containerd', '--config', at('containerd.toml')],
    kubelet: [
      ...['kubelet', `--config=${at('kubelet.yaml')}`, `--kubeconfig=${at('kubelet.kubeconfig')}`],
      ...[`--hostname-override=${NODE_A.name}`, `--node-ip=${NODE_A.address}`, '--v=2'],
    ],
  };
}

/** Where containerd and what it starts find Debian's programs. */
export function nodeEnvironment({ debian }: Parts): Readonly<Record<string, string>> {
  const programs = ['usr/bin', 'usr/sbin'].map((folder) => path.join(debian, folder));
  return { PATH: [...programs, process.env.PATH].join(':'), LD_LIBRARY_PATH: libraryPath(debian) };
}

export function staticPodFolder(folder: string): string {
  return path.join(folder, 'static-pods');
}

/** kubelet makes all below it, but not itself. */
export function makeCgroupRoot(root: string): void {
  for (const mount of cgroupMounts()) {
    mkdirSync(path.join(mount, root), { recursive: true });
    // cgroup v1: a new cpuset allows nothing, and one without a processor or a memory takes no process.
    if (path.basename(mount) === 'cpuset')
      for (const file of ['cpuset.cpus', 'cpuset.mems'])
        copyFileSync(path.join(mount, file), path.join(mount, root, file));
  }
}
