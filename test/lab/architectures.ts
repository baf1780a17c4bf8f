/** All that differs between the laboratory's machines by the architecture of their processor. */

export interface Kernel {
  /** Debian's release that it is from. */
  readonly suite: string;
  /** The metapackage that names the newest one of the release. */
  readonly metapackage: string;
  /** 5.10 and 6.1 hang while they start a second one in a guest whose clock counts instructions (QEMU 7.2). */
  readonly processors: number;
}

export interface Architecture {
  /** As Node.js calls it. */
  readonly node: string;
  /** As Debian calls it. */
  readonly debian: string;
  /** As compilers and QEMU call it. */
  readonly gnu: string;
  readonly kernels: Readonly<Record<string, Kernel>>;
  /** Debian's packages that emulate it. */
  readonly emulator: readonly string[];
  /** For QEMU; with the second serial port, which is for the evidence. */
  readonly machine: readonly string[];
  /** The guest's names of the serial ports. */
  readonly console: string;
  readonly results: string;
}

export const X64: Architecture = {
  node: 'x64',
  debian: 'amd64',
  gnu: 'x86_64',
  kernels: {
    '5.10': { suite: 'bullseye', metapackage: 'linux-image-cloud-amd64', processors: 1 },
    '6.1': { suite: 'bookworm', metapackage: 'linux-image-cloud-amd64', processors: 1 },
    '6.12': { suite: 'trixie', metapackage: 'linux-image-cloud-amd64', processors: 2 },
    '7.2': { suite: 'sid', metapackage: 'linux-image-cloud-amd64', processors: 2 },
  },
  emulator: ['qemu-system-x86', 'seabios'],
  // With cmpxchg16b, as with more than one emulating thread, kernels from 6.12 on crashed in one boot of ten (measured
  // with QEMU 7.2); with neither in 0 of 40.
  machine: ['-machine', 'pc', '-cpu', 'max,cx16=off', '-device', 'isa-serial,chardev=results'],
  console: 'ttyS0',
  results: 'ttyS1',
};

/** `-16k`: with pages of 16 KiB; the others have 4 KiB. */
const ARM64: Architecture = {
  node: 'arm64',
  debian: 'arm64',
  gnu: 'aarch64',
  kernels: {
    '5.10': { suite: 'bullseye', metapackage: 'linux-image-cloud-arm64', processors: 1 },
    '6.1': { suite: 'bookworm', metapackage: 'linux-image-cloud-arm64', processors: 1 },
    '6.12': { suite: 'trixie', metapackage: 'linux-image-cloud-arm64', processors: 2 },
    '6.12-16k': { suite: 'trixie', metapackage: 'linux-image-arm64-16k', processors: 2 },
    '7.2-16k': { suite: 'sid', metapackage: 'linux-image-arm64-16k', processors: 2 },
  },
  emulator: ['qemu-system-arm'],
  machine: ['-machine', 'virt', '-cpu', 'neoverse-n1', '-device', 'pci-serial,chardev=results'],
  console: 'ttyAMA0',
  results: 'ttyS0',
};

/** By the name that Node.js has for it. */
export const ARCHITECTURES: Readonly<Record<string, Architecture>> = { x64: X64, arm64: ARM64 };
