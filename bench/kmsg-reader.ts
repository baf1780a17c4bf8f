/** The C reader of the kernel's log beside the agent, in the same run: how late it is, and what it finds in /proc. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { compile } from './compile.ts';

export interface Read {
  readonly pid: number;
  /** CLOCK_MONOTONIC, ns: when the kernel stamped the record, and when the reader had it. */
  readonly killedAt: bigint;
  readonly readAt: bigint;
  /** What /proc/PID/cmdline still said. */
  readonly commandLine: Buffer;
}

export class KmsgReaderInC {
  readonly read = new Map<number, Read>();
  readonly #stop: () => Promise<void>;

  private constructor(stop: () => Promise<void>) {
    this.#stop = stop;
  }

  static async start(): Promise<KmsgReaderInC> {
    const child = spawn(compile('kmsg-reader.c'), { stdio: ['pipe', 'pipe', 'inherit'] });
    const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    const reader = new KmsgReaderInC(() => {
      child.stdin.end();
      return ended;
    });
    const ready = Promise.withResolvers<void>();
    void ended.then(() => ready.reject(new Error('the C reader of /dev/kmsg ended')));
    let offset: bigint | undefined;
    createInterface({ input: child.stdout }).on('line', (line) => {
      const [first, us = '', ns = '', hex = ''] = line.split(' ');
      if (first === 'mark') offset = BigInt(us) - BigInt(ns) * 1000n;
      else if (first === 'ready') ready.resolve();
      else
        reader.read.set(Number(first), {
          pid: Number(first),
          killedAt: BigInt(us) * 1000n + (offset ?? 0n),
          readAt: BigInt(ns),
          commandLine: Buffer.from(hex, 'hex'),
        });
    });
    await ready.promise;
    if (offset === undefined)
      throw new Error('the two clocks could not be compared: /dev/kmsg takes no marker');
    return reader;
  }

  stop(): Promise<void> {
    return this.#stop();
  }
}
