/** The node that is a virtual machine: a kernel of its own, cgroup v2, systemd and its cgroup driver, group kills. */
import { spawn } from 'node:child_process';
import { createReadStream, readFileSync } from 'node:fs';
import path from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { X64 } from '../lab/architectures.ts';
import { CpioWriter, concatenate } from '../lab/cpio.ts';
import { unpackTools } from '../lab/downloads.ts';
import { libraryPath } from '../servers/apt.ts';
import { API_URL, DNS_SERVER, NODE_B } from './addresses.ts';
import type { CertificateAuthority } from './certificates.ts';
import { guestDisk } from './guest-disk.ts';
import type { Namespace } from './namespace.ts';
import {
  containerdConfiguration,
  kubeletConfiguration,
  type NodeConfiguration,
  networkConfiguration,
} from './node-configuration.ts';
import { PAUSE_IMAGE, type Parts } from './parts.ts';

/** Less than one victim takes when nobody stops it (test/kills/victim.c). */
const MEMORY_MIB = 1024;
/** Of emulated code; the default is a quarter of the host's memory. */
const TRANSLATED_MIB = 256;
const KUBELET_PORT = 10250;
/** A shell for each connection, and what takes an image; inside the cluster's network namespace only. */
const SHELL_PORT = 9001;
const IMAGE_PORT = 9002;

/** What it finds there goes over its own configuration. */
const KUBELET_DROP_INS = '/etc/kubernetes/kubelet.conf.d';
const TEST_DROP_IN = `${KUBELET_DROP_INS}/test.conf`;

const NODE: NodeConfiguration = {
  address: '0.0.0.0',
  podRange: NODE_B.pods,
  certificates: '/etc/kubernetes',
  staticPods: '/etc/kubernetes/manifests',
  networkConfiguration: '/etc/cni/net.d',
  networkPlugins: '/usr/lib/cni',
  runc: '/usr/sbin/runc',
  cgroupDriver: 'systemd',
  cgroupRoot: '/',
  restrictOomScoreAdj: false,
};

const UNITS = {
  // QEMU's user network, which asks by ARP for whoever it has an answer for: the node answers for its pods. The address by
  // which the cluster knows the node is on the loopback, as kubelet wants to find it.
  'node-network.service': `[Unit]
DefaultDependencies=no
Before=containerd.service kubelet.service
After=systemd-modules-load.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -ec '\\
  for module in virtio_net overlay veth bridge; do modprobe $module; done; \\
  until [ -e /sys/class/net/eth0 ]; do sleep 0.2; done; \\
  ip link set lo up; ip addr add ${NODE_B.address}/32 dev lo; \\
  ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0; ip route add default via 10.0.2.2; \\
  echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv4/conf/eth0/proxy_arp'
`,
  'node-images.service': `[Unit]
After=containerd.service
Requires=containerd.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -ec 'for image in /images/*.tar; do ctr --namespace=k8s.io images import $image; done'
TimeoutStartSec=300
`,
  'kubelet.service': `[Unit]
After=node-images.service node-network.service
Requires=node-images.service
[Service]
ExecStart=/usr/local/bin/kube1 kubelet --config=/etc/kubernetes/kubelet.yaml --config-dir=${KUBELET_DROP_INS} \\
  --kubeconfig=/etc/kubernetes/kubeconfig \\
  --hostname-override=${NODE_B.name} --node-ip=${NODE_B.address} --housekeeping-interval=30s
Restart=always
RestartSec=2
StandardOutput=journal+console
StandardError=journal+console
`,
  ...socket('shell', SHELL_PORT, '/bin/sh'),
  ...socket('image', IMAGE_PORT, '/usr/bin/ctr --namespace=k8s.io images import -'),
};
/**
 * A node that has no memory left may thrash for minutes before the kernel kills, and an emulated one does. This lets it
 * kill when what was used in the last second cannot be kept (Documentation/admin-guide/mm/multigen_lru.rst).
 */
const MEMORY_SETTINGS = `w /sys/kernel/mm/lru_gen/enabled - - - - y
w /sys/kernel/mm/lru_gen/min_ttl_ms - - - - 1000
`;
/** What the node can do without, and what emulation makes dear. */
const UNWANTED = [
  ...['systemd-udevd.service', 'systemd-udev-trigger.service', 'systemd-logind.service'],
  ...['serial-getty@ttyS0.service', 'getty@tty1.service'],
];
const WANTED = [
  'node-network.service',
  'containerd.service',
  'kubelet.service',
  'shell.socket',
  'image.socket',
];

/** What runs for each connection, with it as standard input and output. */
function socket(name: string, port: number, command: string): Record<string, string> {
  return {
    [`${name}.socket`]: `[Socket]\nListenStream=${port}\nAccept=yes\n`,
    [`${name}@.service`]: `[Service]\nExecStart=${command}\nStandardInput=socket\nStandardOutput=socket\nStandardError=socket\n`,
  };
}

/** Writes what it boots with. @returns the command line of the machine and its environment */
export async function guestCommand(
  parts: Parts,
  authority: CertificateAuthority,
  folder: string,
  images: readonly string[],
  say: (line: string) => void,
): Promise<{ readonly command: readonly string[]; readonly env: Readonly<Record<string, string>> }> {
  const at = (name: string) => path.join(folder, name);
  const tools = await unpackTools(X64);
  const disk = await guestDisk(parts, say);
  await disk.writeInitramfs(at('node-b.base'));
  writeNodeFiles(at('node-b.files'), authority, images);
  concatenate([at('node-b.base'), at('node-b.files')], at('node-b.initramfs'));
  const forwarded = [KUBELET_PORT, SHELL_PORT, IMAGE_PORT].map(
    (port) => `hostfwd=tcp:${NODE_B.address}:${port}-:${port}`,
  );
  return {
    command: [
      path.join(tools, 'usr/bin/qemu-system-x86_64'),
      // As in test/lab/architectures.ts, which says why.
      ...[
        '-accel',
        `tcg,thread=single,tb-size=${TRANSLATED_MIB}`,
        '-machine',
        'pc',
        '-cpu',
        'max,cx16=off',
        '-smp',
        '2',
      ],
      ...['-m', String(MEMORY_MIB), '-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
      ...['-L', path.join(tools, 'usr/share/qemu'), '-L', path.join(tools, 'usr/share/seabios')],
      ...['-serial', 'stdio', '-kernel', disk.kernel, '-initrd', at('node-b.initramfs')],
      '-append',
      [
        'console=ttyS0 root=/dev/vda rw panic=-1 loglevel=5 mitigations=off net.ifnames=0 systemd.show_status=no',
        `systemd.hostname=${NODE_B.name}`,
        ...WANTED.map((unit) => `systemd.wants=${unit}`),
        ...UNWANTED.map((unit) => `systemd.mask=${unit}`),
      ].join(' '),
      // What it writes goes to a file without a name, and is gone with it.
      ...['-drive', `file=${disk.disk},format=raw,if=virtio,snapshot=on,cache=unsafe`],
      ...['-netdev', `user,id=net,${forwarded.join(',')}`, '-device', 'virtio-net-pci,netdev=net,romfile='],
      ...['-device', 'virtio-rng-pci'],
    ],
    env: { LD_LIBRARY_PATH: libraryPath(tools), TMPDIR: folder },
  };
}

function writeNodeFiles(file: string, authority: CertificateAuthority, images: readonly string[]): void {
  const cpio = new CpioWriter(file);
  const add = (name: string, contents: string | Buffer) => cpio.file(`/node${name}`, contents, 0o600);
  const subject = `/O=system:nodes/CN=system:node:${NODE_B.name}`;
  const serving = authority.issue('node-b-kubelet-server', {
    subject,
    usage: 'serverAuth',
    names: `DNS:${NODE_B.name},IP:${NODE_B.address}`,
  });
  add('/etc/kubernetes/ca.crt', readFileSync(authority.pair.cert));
  add('/etc/kubernetes/kubelet-server.crt', readFileSync(serving.cert));
  add('/etc/kubernetes/kubelet-server.key', readFileSync(serving.key));
  add('/etc/kubernetes/kubeconfig', authority.kubeconfig('node-b-kubelet', API_URL, subject));
  add('/etc/kubernetes/kubelet.yaml', kubeletConfiguration(NODE, DNS_SERVER));
  add('/etc/containerd/config.toml', containerdConfiguration(NODE, PAUSE_IMAGE));
  add('/etc/cni/net.d/10-pods.conflist', networkConfiguration(NODE));
  for (const [name, unit] of Object.entries(UNITS)) add(`/etc/systemd/system/${name}`, unit);
  for (const image of images) add(`/images/${path.basename(image)}`, readFileSync(image));
  add('/etc/tmpfiles.d/memory.conf', MEMORY_SETTINGS);
  for (const folder of [NODE.staticPods, KUBELET_DROP_INS]) cpio.folder(`/node${folder}`);
  cpio.close();
}

/** The running guest. */
export class Guest {
  readonly #namespace: Namespace;

  constructor(namespace: Namespace) {
    this.#namespace = namespace;
  }

  /** Runs a shell script as root. @returns what it printed on stdout and stderr */
  shell(script: string): Promise<string> {
    // What ends the script ends the connection, too.
    return this.#talk(SHELL_PORT, Readable.from([`${script}\nexit\n`]));
  }

  /** kubelet runs the pods that are described in this folder of the guest's. */
  readonly staticPods = NODE.staticPods;

  /** One that its programs never see half of. */
  async writeFile(file: string, text: string): Promise<void> {
    // In a folder of its own file system, and not in that of the file: kubelet reads whatever is there.
    const said = await this.shell(`cat >/var/tmp/part <<'END' && mv /var/tmp/part '${file}'\n${text}\nEND`);
    if (said !== '') throw new Error(`node-b does not take ${file}: ${said}`);
  }

  /** Starts kubelet again, with these fields over its own. Containers go on. */
  async configureKubelet(fields: object): Promise<void> {
    const kind = { apiVersion: 'kubelet.config.k8s.io/v1beta1', kind: 'KubeletConfiguration' };
    await this.writeFile(TEST_DROP_IN, JSON.stringify({ ...kind, ...fields }));
    await this.shell('systemctl restart kubelet');
  }

  /** @param archive as `docker save` writes it */
  async importImage(archive: string): Promise<void> {
    const said = await this.#talk(IMAGE_PORT, createReadStream(archive));
    if (!/^unpacking .*done$/m.test(said)) throw new Error(`node-b does not take ${archive}: ${said}`);
  }

  async #talk(port: number, input: Readable): Promise<string> {
    const client = `const socket = require('node:net').connect(${port}, '${NODE_B.address}');
      process.stdin.pipe(socket).pipe(process.stdout);`;
    const [command = '', ...args] = this.#namespace.command([process.execPath, '-e', client], 'network');
    const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    const sent = pipeline(input, child.stdin);
    let said = '';
    for await (const text of child.stdout.setEncoding('utf8')) said += text;
    await sent;
    return said;
  }
}
