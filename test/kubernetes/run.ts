/**
 * Starts a real Kubernetes, runs the tests of `*.cluster.ts` against it, and stops it.
 *
 *   npm run test:kubernetes -- [--vm] [--keep] [--cluster FOLDER] [NAME...]
 *
 * NAME: only files with that in their path. --vm: with node-b, a virtual machine with cgroup v2 and systemd. --keep: it
 * goes on when the tests have ended; --cluster FOLDER runs tests against such a one, --stop FOLDER stops it. --bench: the benches
 * that need a cluster, and no test.
 */
import { spawn } from 'node:child_process';
import { globSync, statSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { buildAgentImage } from '../docker/agent-image.ts';
import { whyNoKills } from '../kills/kills.ts';
import { dockerPackages } from '../servers/docker.ts';
import { prometheusPackages } from '../servers/prometheus.ts';
import { Cluster } from './cluster.ts';
import { operatorCrds } from './operator-crds.ts';

/** Those need the agent's image. */
const AGENT_TESTS = path.join('test', 'kubernetes', 'agent', path.sep);
const ROOT = path.join(import.meta.dirname, '../..');

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    vm: { type: 'boolean', default: false },
    keep: { type: 'boolean', default: false },
    cluster: { type: 'string' },
    stop: { type: 'string' },
    bench: { type: 'boolean', default: false },
  },
});

const say = (line: string) =>
  console.log(`[kubernetes ${performance.now().toFixed(0).padStart(6)} ms] ${line}`);

if (values.stop !== undefined) await Cluster.attach(values.stop).stop();
else process.exitCode = await main();

async function main(): Promise<number> {
  const missing = whyNoKills();
  if (missing !== undefined) {
    say(`not run: ${missing}`);
    return 1;
  }
  const files = globSync(values.bench ? 'bench/*.cluster.ts' : 'test/kubernetes/**/*.cluster.ts', {
    cwd: ROOT,
  })
    .filter((file) => positionals.every((name) => file.includes(name)))
    .sort();
  // Where the tests run there is no way out: what they download is in the caches by then.
  await Promise.all([operatorCrds(), prometheusPackages(), dockerPackages()]);
  const agentImage = files.some((file) => values.bench || file.startsWith(AGENT_TESTS))
    ? await buildImage()
    : '';
  const cluster = values.cluster === undefined ? await start() : Cluster.attach(values.cluster);
  try {
    return await runTests(cluster, files, { OOM_WITNESS_AGENT_IMAGE: agentImage });
  } finally {
    if (values.keep) {
      cluster.disown();
      say(`goes on: --cluster ${cluster.folder}, --stop ${cluster.folder}`);
    } else if (values.cluster === undefined) {
      await cluster.stop();
      say('stopped');
    }
  }
}

async function start(): Promise<Cluster> {
  const cluster = await Cluster.start('all', say);
  try {
    if (values.vm) await cluster.startNodeB(say);
  } catch (error) {
    await cluster.stop();
    throw error;
  }
  say(`started: ${JSON.stringify(cluster.timings)}`);
  return cluster;
}

async function buildImage(): Promise<string> {
  const archive = await buildAgentImage();
  say(`the agent's image: ${(statSync(archive).size / 1e6).toFixed(0)} MB`);
  return archive;
}

/** In the cluster's network namespace, so that a test can talk to the API server as any client on a node does. */
async function runTests(
  cluster: Cluster,
  files: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<number> {
  const [command = '', ...args] = cluster.namespace.command(
    [
      ...[process.execPath, '--disable-warning=ExperimentalWarning', '--test', '--test-concurrency=1'],
      ...files,
    ],
    'network',
  );
  const tests = spawn(command, args, {
    cwd: ROOT,
    stdio: 'inherit',
    env: {
      ...process.env,
      ...env,
      OOM_WITNESS_CLUSTER: cluster.folder,
    },
  });
  // They are told as well; the cluster is stopped when they have ended.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => tests.kill(signal));
  return new Promise((resolve) => tests.once('close', (code) => resolve(code ?? 1)));
}
