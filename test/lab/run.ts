/**
 * Real OOM kills on real kernels, each scenario in a virtual machine of its own. Needs no rights and no KVM; takes 10 to
 * 20 s a scenario.
 *
 *   node test/lab/run.ts [--arch arm64] [--kernel 6.1]... [--scenario storm]... [--keep FOLDER]
 *
 * Prints a table and what was wrong; exits with 1 when anything was. --arch: x64 or arm64; default: this machine's.
 * --keep: the evidence and the consoles are left there.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ARCHITECTURES, type Kernel } from './architectures.ts';
import { concatenate } from './cpio.ts';
import { installNode, unpackGuest, unpackKernel, unpackTools } from './downloads.ts';
import { baseImage, testImage } from './image.ts';
import { judge, type Verdict } from './judge.ts';
import { runInGuest } from './machine.ts';
import { scenarios } from './scenarios.ts';

const { values } = parseArgs({
  options: {
    arch: { type: 'string', default: process.arch },
    kernel: { type: 'string', multiple: true },
    scenario: { type: 'string', multiple: true, default: Object.keys(scenarios) },
    keep: { type: 'string' },
  },
});
const architecture = ARCHITECTURES[values.arch] ?? refuse('architecture', values.arch, ARCHITECTURES);
const { kernel: kernels = Object.keys(architecture.kernels) } = values;
for (const name of kernels) architecture.kernels[name] ?? refuse('kernel', name, architecture.kernels);
for (const name of values.scenario) if (!(name in scenarios)) refuse('scenario', name, scenarios);

const folder = values.keep ?? mkdtempSync(join(tmpdir(), 'oom-witness-lab-'));
try {
  process.exitCode = (await runAll(folder)) ? 0 : 1;
} finally {
  if (values.keep === undefined) rmSync(folder, { recursive: true, force: true });
}

async function runAll(folder: string): Promise<boolean> {
  mkdirSync(folder, { recursive: true });
  const tools = await unpackTools(architecture);
  const base = baseImage(
    architecture,
    tools,
    await unpackGuest(architecture),
    await installNode(architecture),
  );
  const initrd = join(folder, 'initrd');
  await testImage(architecture, tools, `${initrd}.test`);
  concatenate([base, `${initrd}.test`], initrd);
  let passed = true;
  console.log(
    row(['kernel', 'scenario', 'told', 'exact', 'source', 'p50 ms', 'max ms', 'armed ms', 'events']),
  );
  for (const name of kernels) {
    const kernel = await unpackKernel(architecture, name);
    const { processors } = architecture.kernels[name] as Kernel;
    for (const scenario of values.scenario) {
      const own = join(folder, `${name}-${scenario}`);
      mkdirSync(own, { recursive: true });
      try {
        const machine = { architecture, tools, kernel, processors, initrd, scenario, folder: own };
        const verdict = judge(await runInGuest(machine), architecture.debian);
        print(name, verdict);
        passed &&= verdict.problems.length === 0;
      } catch (error) {
        passed = false;
        console.log(row([name, scenario]));
        console.log(`    ${(error as Error).message.replaceAll('\n', '\n    ')}`);
      }
    }
  }
  return passed;
}

function print(kernel: string, verdict: Verdict): void {
  const { latencies } = verdict;
  const ms = (value: number | undefined) => (value === undefined ? '' : value.toFixed(0));
  console.log(
    row([
      kernel,
      verdict.scenario,
      `${verdict.told}/${verdict.victims}`,
      `${verdict.exact}/${verdict.knowable}`,
      Object.entries(verdict.sources)
        .map(([source, count]) => `${source} ${count}`)
        .join(' '),
      ms(latencies[Math.floor(latencies.length / 2)]),
      ms(latencies.at(-1)),
      verdict.startMs.map(ms).join(' '),
      verdict.processEvents.join('; '),
    ]),
  );
  for (const problem of verdict.problems) console.log(`    WRONG ${problem}`);
  for (const warning of verdict.warnings) console.log(`    log   ${warning.slice(0, 300)}`);
  if (Object.keys(verdict.memory).length > 0) console.log(`    VmRSS ${JSON.stringify(verdict.memory)}`);
}

function row(cells: readonly string[]): string {
  const widths = [8, 18, 8, 8, 22, 7, 7, 9];
  return cells.map((cell, index) => cell.padEnd(widths[index] ?? 0)).join(' ');
}

function refuse(option: string, name: string, known: object): never {
  console.error(`test/lab: there is no ${option} ${name}. Known: ${Object.keys(known).join(', ')}.`);
  process.exit(2);
}
