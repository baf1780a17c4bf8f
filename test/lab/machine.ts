/** A virtual machine that lives for one scenario. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { libraryPath } from '../servers/apt.ts';
import type { Architecture } from './architectures.ts';
import type { Evidence } from './evidence.ts';

/** For a guest that hangs: none of those that do not takes a quarter of it, unless others keep the processor busy. */
const LIMIT_SECONDS = 600;
const MEMORY_MIB = 1024;

export interface MachineOptions {
  readonly architecture: Architecture;
  readonly tools: string;
  readonly kernel: string;
  readonly processors: number;
  readonly initrd: string;
  readonly scenario: string;
  /** An empty folder of its own. */
  readonly folder: string;
}

/**
 * Boots, lets the guest run the scenario, and brings back what it saw.
 *
 * @throws when it does not come back in time or without evidence; the message ends with the guest's last words
 */
export async function runInGuest(options: MachineOptions): Promise<Evidence> {
  const { architecture, tools, kernel, processors, initrd, scenario, folder } = options;
  const console = join(folder, 'console.log');
  const results = join(folder, 'evidence.json.gz');
  // Software emulation: needs no rights. The guest's clock counts instructions, 2 ns each, and skips its sleep. By the
  // host's clock, a guest on a busy host failed to measure its own clock, which once ran 20 times too fast, and what it
  // waited for came too late.
  const child = spawn(
    'timeout',
    [
      // By a program of its own: the machine ends in time even when we have been killed.
      ...['-s', 'KILL', String(LIMIT_SECONDS), join(tools, `usr/bin/qemu-system-${architecture.gnu}`)],
      ...['-accel', 'tcg,thread=single', ...architecture.machine],
      ...['-smp', String(processors), '-icount', 'shift=1,sleep=off'],
      ...['-m', String(MEMORY_MIB), '-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
      ...['-L', join(tools, 'usr/share/qemu'), '-L', join(tools, 'usr/share/seabios')],
      ...['-serial', `file:${console}`, '-chardev', `file,id=results,path=${results}`],
      ...['-kernel', kernel, '-initrd', initrd],
      '-append',
      // What the kernel does not know is in the environment of its first process.
      `console=${architecture.console} quiet loglevel=1 panic=-1 log_buf_len=4M SCENARIO=${scenario} RESULTS=${architecture.results}`,
    ],
    {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { PATH: process.env.PATH, LD_LIBRARY_PATH: libraryPath(tools) },
    },
  );
  let complaint = '';
  child.stderr.on('data', (text) => {
    complaint += text;
  });
  const inTime = await ended(child);
  const lastWords = () => `${complaint}${readFileSync(console, 'latin1').slice(-1500)}`;
  if (!inTime) throw new Error(`the guest did not end within ${LIMIT_SECONDS} s:\n${lastWords()}`);
  try {
    const json = gunzipSync(readFileSync(results)).toString('utf8');
    writeFileSync(join(folder, 'evidence.json'), json);
    return JSON.parse(json);
  } catch (error) {
    throw new Error(`no evidence (${(error as Error).message}):\n${lastWords()}`);
  }
}

/** @returns false when it was not ended in time */
function ended(child: ChildProcess): Promise<boolean> {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    // timeout(1) ends by the signal that it sends.
    child.once('close', (_, signal) => resolve(signal !== 'SIGKILL'));
  });
}
