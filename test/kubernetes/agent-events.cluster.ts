import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { AgentProcess } from '../agent-process.ts';
import { until } from '../sinks/contract.ts';
import { runningCluster, TestNamespace } from './cluster-test.ts';
import { hog, idle, once, pod } from './pods.ts';

const cluster = runningCluster();
const METRICS = 'http://127.0.0.1:10254/metrics';
const AGENT = ['--kubeconfig', cluster.kubeconfig, '--node-name', 'node-a'];
const FAMILY = 'kubernetes_oom_event_generator_container_updates_processed_total';

describe('Events of the agent', () => {
  it('of a kill while the API server was down come when it is back, with the time of the kill', async (t) => {
    const namespace = await TestNamespace.create(t, cluster);
    const agent = await AgentProcess.start(t, { args: AGENT });
    await agent.until(() => agent.log.some(({ msg }) => msg === 'listed'), 'following the pods');
    const text = `of-${namespace.name}`;
    await namespace.apply(pod('shop', once([hog('hog', { waitsFor: 'SIGTERM', text: [text] })])));
    await namespace.until('pod/shop', '.status.phase', 'Running');

    t.after(() => cluster.startComponent('kube-apiserver'));
    await cluster.daemons.stop('kube-apiserver', 'SIGKILL');
    await namespace.kill(text);
    const ours = () => agent.incidents.find(({ process }) => process.command_line?.includes(text));
    await agent.until(() => ours() !== undefined, 'telling the kill');
    await agent.until(
      () => agent.log.some(({ msg, sink }) => msg === 'not delivered, trying again' && sink === 'kubernetes'),
      'trying',
    );
    cluster.startComponent('kube-apiserver');
    const events = async () =>
      (await namespace.events('Pod', 'shop').catch(() => [])).filter(({ reason }) => reason === 'OOMKilled');
    await until(async () => (await events()).length > 0, 'the Event');
    const [event, ...more] = await events();
    assert.deepEqual(more, []);
    assert.match(
      event!.message,
      new RegExp(`in container hog was killed: .*Command: /victim hog SIGTERM ${text}$`),
    );
    assert.equal(event!.firstTimestamp, ours()!.time.replace(/\.\d+/, ''));
    assert.equal(await agent.terminate(), 0);
  });
});

describe('the agent in the place of kubernetes-oom-event-generator', () => {
  it('tells a kill and the restart after it, each once, and counts starts', async (t) => {
    const namespace = await TestNamespace.create(t, cluster);
    const agent = await AgentProcess.start(t, {
      args: ['--replace', 'kubernetes-oom-event-generator', ...AGENT],
    });
    await agent.until(() => agent.log.some(({ msg }) => msg === 'listed'), 'following the pods');
    const before = await counts();

    // The second instance waits in vain.
    const text = `of-${namespace.name}`;
    const containers = [hog('hog', { waitsFor: 'SIGTERM', text: [text] }), idle('beside')];
    await namespace.apply(pod('shop', { ...once(containers), restartPolicy: 'OnFailure' }));
    // So that the first starts of both show in a status of their own.
    for (const name of ['hog', 'beside'])
      await namespace.until('pod/shop', `.status.containerStatuses[?(@.name=="${name}")].ready`, 'true');
    await namespace.kill(text);
    await namespace.until('pod/shop', '.status.containerStatuses[?(@.name=="hog")].restartCount', '1');
    const events = async (reason: string) =>
      (await namespace.events('Pod', 'shop')).filter((event) => event.reason === reason);
    await until(async () => (await events('PreviousContainerWasOOMKilled')).length > 0, 'the restart');
    const { containerStatuses = [] } = (await namespace.pod('shop')).status;
    const { containerID } = containerStatuses.find(({ name }) => name === 'hog')!.lastState.terminated!;

    const [restart, ...more] = await events('PreviousContainerWasOOMKilled');
    assert.deepEqual(more, []);
    assert.equal(
      restart?.message,
      `The previous instance of the container 'hog' (${containerID}) was OOMKilled`,
    );
    await until(async () => (await events('OOMKilled')).length > 0, 'the kill');
    const [kill] = await events('OOMKilled');
    // The limit is known unless the kernel's rate limit, ten reports in 5 s for the whole machine, swallowed the header.
    assert.match(
      kill?.message ?? '',
      new RegExp(
        `^victim \\(pid \\d+\\) in container hog was killed: .+ Command: /victim hog SIGTERM ${text}$`,
      ),
    );
    assert.equal(kill?.count, 1);

    const after = await counts();
    const grown = Object.fromEntries(Object.keys(after).map((type) => [type, after[type]! - before[type]!]));
    assert.deepEqual(grown, {
      // The first starts of both containers.
      not_oomkilled: 2,
      oomkilled_termination_too_old: 0,
      oomkilled_restart_count_unchanged: 0,
      oomkilled_event_sent: 1,
    });
    const described = await namespace.kubectl('describe', 'pod', 'shop');
    t.diagnostic(described.slice(described.indexOf('Events:')));
    t.diagnostic(await namespace.kubectl('get', 'events'));
    assert.equal(await agent.terminate(), 0);

    // One that starts after the kill leaves it alone.
    const later = await AgentProcess.start(t, {
      args: ['--replace', 'kubernetes-oom-event-generator', ...AGENT],
    });
    await later.until(() => later.log.some(({ msg }) => msg === 'listed'), 'following the pods');
    await until(async () => (await counts()).oomkilled_termination_too_old! > 0, 'the old termination');
  });
});

/** The program's own page. */
async function counts(): Promise<Record<string, number>> {
  const response = await fetch(METRICS);
  assert.equal(response.status, 200);
  const text = await response.text();
  assert.match(text, new RegExp(`^# TYPE ${FAMILY} counter$`, 'm'));
  const series = text.matchAll(new RegExp(`^${FAMILY}\\{update_type="(\\w+)"\\} (\\d+)$`, 'gm'));
  return Object.fromEntries([...series].map(([, type, count]) => [type, Number(count)]));
}
