/** What kubelet, containerd and the network plugin are told on a node. */

export interface NodeConfiguration {
  readonly address: string;
  readonly podRange: string;
  /** Folder with ca.crt, kubelet-server.crt and kubelet-server.key. */
  readonly certificates: string;
  readonly staticPods: string;
  readonly networkConfiguration: string;
  readonly networkPlugins: string;
  readonly runc: string;
  readonly cgroupDriver: 'cgroupfs' | 'systemd';
  readonly cgroupRoot: string;
  /** Where even root lacks CAP_SYS_RESOURCE, runc cannot give a container an oom_score_adj below its own. */
  readonly restrictOomScoreAdj: boolean;
}

export function kubeletConfiguration(node: NodeConfiguration, dnsServer: string): string {
  return JSON.stringify({
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    address: node.address,
    readOnlyPort: 0,
    tlsCertFile: `${node.certificates}/kubelet-server.crt`,
    tlsPrivateKeyFile: `${node.certificates}/kubelet-server.key`,
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: `${node.certificates}/ca.crt` },
    },
    authorization: { mode: 'Webhook' },
    containerRuntimeEndpoint: 'unix:///run/containerd/containerd.sock',
    staticPodPath: node.staticPods,
    cgroupDriver: node.cgroupDriver,
    cgroupRoot: node.cgroupRoot,
    cgroupsPerQOS: true,
    enforceNodeAllocatable: ['pods'],
    clusterDNS: [dnsServer],
    failSwapOn: false,
    // The default is true since 1.35.
    failCgroupV1: false,
    makeIPTablesUtilChains: false,
    // The kernel is to kill, not kubelet; and the machine's disk is not the test's business.
    evictionHard: { 'memory.available': '1Mi', 'nodefs.available': '1%', 'imagefs.available': '1%' },
    imageGCHighThresholdPercent: 100,
    imageGCLowThresholdPercent: 99,
    nodeStatusUpdateFrequency: '5s',
    syncFrequency: '10s',
    // Default 20 s: how late a file with a static pod may be seen where inotify does not tell of it.
    fileCheckFrequency: '5s',
  });
}

export function containerdConfiguration(node: NodeConfiguration, sandboxImage: string): string {
  const cri = 'plugins."io.containerd.grpc.v1.cri"';
  return `version = 2
[${cri}]
  sandbox_image = "${sandboxImage}"
  restrict_oom_score_adj = ${node.restrictOomScoreAdj}
  stream_server_address = "127.0.0.1"
  [${cri}.cni]
    bin_dir = "${node.networkPlugins}"
    conf_dir = "${node.networkConfiguration}"
  [${cri}.containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [${cri}.containerd.runtimes.runc.options]
      BinaryName = "${node.runc}"
      SystemdCgroup = ${node.cgroupDriver === 'systemd'}
`;
}

export function networkConfiguration(node: NodeConfiguration): string {
  return JSON.stringify({
    cniVersion: '0.4.0',
    name: 'pods',
    plugins: [
      {
        type: 'ptp',
        ipam: {
          type: 'host-local',
          ranges: [[{ subnet: node.podRange }]],
          routes: [{ dst: '0.0.0.0/0' }],
          dataDir: '/var/lib/cni/networks',
        },
      },
    ],
  });
}
