/**
 * Where the cluster lives: a mount and a network namespace of its own. Processes, the kernel log and the cgroups stay the
 * machine's, so that what the kernel prints of a pod is what it prints on a real node.
 *
 * In it /run, /var/lib and /var/log are the cluster's own, so that every file of a node is where it is on a real one.
 */
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { API_SERVER, NODE_A, NODE_B } from './addresses.ts';
import type { Daemons } from './daemons.ts';

const NAME = 'namespace';
const OWN = ['run', 'var/lib', 'var/log'];

// Propagation: nothing reaches the machine, and volumes that are mounted into a pod later (mountPropagation) reach it.
// node-b's address is forwarded to its virtual machine by QEMU, which listens on it here; what node-a itself sends there
// comes from node-a's address.
const SET_UP = `
set -e
mount --make-rshared /
for folder in ${OWN.join(' ')}; do mount --bind "$1/$folder" "/$folder"; done
ip link set lo up
for address in ${NODE_A.address} ${NODE_B.address} ${API_SERVER}; do ip addr add $address/32 dev lo; done
ip route replace local ${NODE_B.address} dev lo table local proto kernel scope host src ${NODE_A.address}
echo 1 >/proc/sys/net/ipv4/ip_forward
echo ready
exec sleep infinity`;

export class Namespace {
  readonly #daemons: Daemons;

  constructor(daemons: Daemons) {
    this.#daemons = daemons;
  }

  static start(daemons: Daemons, folder: string): Namespace {
    for (const own of OWN) mkdirSync(path.join(folder, own), { recursive: true });
    const command = [
      'unshare',
      '--mount',
      '--net',
      '--propagation',
      'private',
      'sh',
      '-c',
      SET_UP,
      'sh',
      folder,
    ];
    daemons.start(NAME, command);
    return new Namespace(daemons);
  }

  get isReady(): boolean {
    return this.#daemons.pid(NAME) !== undefined && this.#daemons.lastWords(NAME) === 'ready';
  }

  /** The command line that runs a command in it. */
  command(args: readonly string[], kinds: 'network' | 'network and mounts'): readonly string[] {
    const pid = this.#daemons.pid(NAME);
    if (pid === undefined) throw new Error('this cluster does not run');
    // `nsenter --mount` would leave the working directory for the root.
    const mounts = kinds === 'network' ? [] : ['--mount', `--wdns=${process.cwd()}`];
    return ['nsenter', `--target=${pid}`, '--net', ...mounts, '--', ...args];
  }

  stop(): Promise<void> {
    return this.#daemons.stop(NAME, 'SIGKILL');
  }
}
