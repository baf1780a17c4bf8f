/** Beside oom_messages_exporter itself, on a node: kills in pods, whose names it asks the real crictl for. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { AgentProcess } from '../agent-process.ts';
import { untilHeaderIsAllowed } from '../docker/kernel-header.ts';
import { Syslogd } from '../kills/syslogd.ts';
import { headings, shownFamilies } from '../metrics/exposition.ts';
import { freePort } from '../servers/free-ports.ts';
import { peerProgram } from '../servers/peer.ts';
import { startServer } from '../servers/process.ts';
import { until } from '../sinks/contract.ts';
import { runningCluster, TestNamespace } from './cluster-test.ts';
import { hogPod } from './pods.ts';

const NAME = 'oom-messages-exporter';
const PREFIX = 'oom_messages_exporter_';
const peer = peerProgram(NAME);
const skip = 'missing' in peer ? peer.missing : !hasCrictl() && 'needs crictl in PATH';

describe('beside oom_messages_exporter on a node', { skip }, () => {
  const cluster = runningCluster();

  it('kills of a first process and of a child: the same labels, the same pids', {
    timeout: 180_000,
  }, async (t) => {
    assert.ok('executable' in peer);
    const namespace = await TestNamespace.create(t, cluster);
    const syslogd = new Syslogd(t);
    const port = await freePort();
    const env = { [`${PREFIX}MESSAGES_LOG`]: syslogd.file };
    // Where containerd's socket has its usual path.
    const [command = '', ...args] = cluster.namespace.command([peer.executable], 'network and mounts');
    // Without a configuration crictl warns on stderr, which the program takes for a container that is not found.
    const configuration = path.join(path.dirname(syslogd.file), 'crictl.yaml');
    writeFileSync(configuration, 'runtime-endpoint: unix:///run/containerd/containerd.sock\n');
    const program = await startServer({
      command,
      args,
      env: { ...env, [`${PREFIX}PORT`]: String(port), CRI_CONFIG_FILE: configuration },
      ready: (line) => line.includes('oom_messages_exporter started!'),
    });
    t.after(() => program.stop());
    const agent = await AgentProcess.start(t, {
      args: ['--replace', NAME, '--kubeconfig', cluster.kubeconfig, '--node-name', 'node-a'],
      env: { ...env, [`${PREFIX}PORT`]: '0' },
    });
    const url = () => agent.log.find((line) => line.program === NAME)?.url;
    await agent.until(() => url() !== undefined, 'its port');
    await agent.until(() => agent.log.some(({ msg }) => msg === 'listed'), 'following the pods');

    await untilHeaderIsAllowed();
    await namespace.apply(hogPod('first'), hogPod('child', { who: 'child' }));
    await namespace.untilOomKilled('first');
    await namespace.until('pod/child', '.status.phase', 'Running');
    const names = ['first', 'child'];
    const uids = await Promise.all(names.map(async (name) => (await namespace.pod(name)).metadata.uid));
    const pids = new Map<string, number>();
    const written = new Set<number>();
    const isOfThem = (text: string) => {
      const of = uids.findIndex((uid) => text.includes(uid));
      const victim = /,pid=(\d+)/.exec(text)?.[1];
      if (of >= 0 && victim !== undefined) pids.set(names[of]!, Number(victim));
      const killed = Number(/Killed process (\d+) /.exec(text)?.[1]);
      const isTheirs = [...pids.values()].includes(killed);
      if (isTheirs) written.add(killed);
      return of >= 0 || isTheirs;
    };
    await until(() => {
      syslogd.write(isOfThem);
      return written.size === names.length;
    }, 'the kernel telling both');
    const wanted = [...pids].map(([name, pid]) => [
      `${PREFIX}last_killed_pid{command="victim",container="hog",namespace="${namespace.name}",pod="${name}"}`,
      pid,
    ]);
    const page = async (of: number | string) =>
      shownFamilies(await (await fetch(`http://127.0.0.1:${of}/metrics`)).text(), PREFIX);
    const ours = () => page(new URL(String(url())).port);
    const theirs = () => page(port!);
    for (const [whose, families] of Object.entries({ ours, theirs })) {
      let shown: readonly unknown[] = [];
      await until(
        async () => {
          shown = [...(await families())[`${PREFIX}last_killed_pid`]!.series];
          return JSON.stringify(shown.toSorted()) === JSON.stringify(wanted.toSorted());
        },
        () => `${whose}: ${JSON.stringify(wanted)}, but it is ${JSON.stringify(shown)}`,
        15_000,
      );
      t.diagnostic(`${whose}: ${JSON.stringify(shown)}`);
    }
    assert.deepEqual(headings(await ours()), headings(await theirs()));
    assert.equal(await agent.terminate(), 0);
  });
});

function hasCrictl(): boolean {
  try {
    execFileSync('crictl', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
