/** Beside missing-container-metrics itself, on a node: the containers of pods, as containerd tells of them. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { AgentProcess } from '../agent-process.ts';
import { headings, seriesWith, shownFamilies } from '../metrics/exposition.ts';
import { freePort } from '../servers/free-ports.ts';
import { peerProgram } from '../servers/peer.ts';
import { startServer } from '../servers/process.ts';
import { until } from '../sinks/contract.ts';
import { runningCluster, TestNamespace } from './cluster-test.ts';
import { hog, hogPod, once, pod } from './pods.ts';

const NAME = 'missing-container-metrics';
const peer = peerProgram(NAME);
const skip = 'missing' in peer && peer.missing;

describe(`beside ${NAME} on a node`, { skip }, () => {
  const cluster = runningCluster();

  it('kills of a first process, again after its restart, and of a child: the same labels, kills and exit codes', {
    timeout: 180_000,
  }, async (t) => {
    assert.ok('executable' in peer);
    const namespace = await TestNamespace.create(t, cluster);
    const port = await freePort();
    // Its path of containerd's socket is fixed.
    const [command = '', ...args] = cluster.namespace.command(
      [peer.executable, '--docker=false', `--bind-address=127.0.0.1:${port}`],
      'network and mounts',
    );
    const theirUrl = `http://127.0.0.1:${port}/metrics`;
    const program = await startServer({ command, args, probe: async () => (await fetch(theirUrl)).ok });
    t.after(() => program.stop());
    const socket = `/proc/${cluster.daemons.pid('containerd')}/root/run/containerd/containerd.sock`;
    const agent = await AgentProcess.start(t, {
      args: [
        ...['--replace', NAME, '--bind-address', '127.0.0.1:0', '--docker', 'false'],
        ...['--containerd-socket', socket, '--kubeconfig', cluster.kubeconfig, '--node-name', 'node-a'],
      ],
    });
    const url = () => agent.log.find((line) => line.program === NAME)?.url;
    await agent.until(() => url() !== undefined, 'its port');
    await agent.until(
      () => agent.log.some(({ runtime }) => runtime === 'containerd'),
      'following containerd',
    );

    await namespace.apply(
      pod('shop', { ...once([hog('hog', { liveMs: 10_000 })]), restartPolicy: 'OnFailure' }),
      hogPod('child', { who: 'child' }),
    );
    const page = async (of: string) =>
      shownFamilies(await (await fetch(new URL('/metrics', of))).text(), 'container_');
    /** But for kills of sandboxes: it counts one for each of the pod's, because containerd tells of those cgroups, too. */
    const shown = async (of: string) => {
      const all = Object.entries(seriesWith(await page(of), `namespace="${namespace.name}"`));
      return all.filter(([labels]) => !(labels.startsWith('container_ooms') && labels.includes('/pause')));
    };
    await namespace.until('pod/shop', '.status.containerStatuses[0].restartCount', '1');
    const pages = async () => ({ ours: await shown(String(url())), theirs: await shown(theirUrl) });
    let now = await pages();
    await until(
      async () => {
        now = await pages();
        const others = now.ours.map(([, value]) => value).filter((value) => value !== 0);
        const isDone = JSON.stringify(others.toSorted()) === JSON.stringify([1, 1, 137]);
        return isDone && JSON.stringify(now.ours) === JSON.stringify(now.theirs);
      },
      () => `the same with two kills and one end: ${JSON.stringify(now, undefined, 1)}`,
      60_000,
    );
    t.diagnostic(`both: ${JSON.stringify(now.ours, undefined, 1)}`);
    // Three containers and two sandboxes. Each start of a container in Kubernetes has an id of its own: none is a restart.
    assert.equal(now.ours.length, 3 * 3 + 2 * 2);
    assert.deepEqual(
      now.ours.filter(([labels, value]) => labels.startsWith('container_restarts') && value !== 0),
      [],
    );
    assert.deepEqual(headings(await page(String(url()))), headings(await page(theirUrl)));
    assert.equal(await agent.terminate(), 0);
  });
});
