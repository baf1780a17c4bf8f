/** Beside kubernetes-oom-event-generator itself: the same restarts of the same containers. */
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { AgentProcess } from '../agent-process.ts';
import { headings, shownFamilies } from '../metrics/exposition.ts';
import { peerProgram } from '../servers/peer.ts';
import { startServer } from '../servers/process.ts';
import { until } from '../sinks/contract.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import { type EventObject, runningCluster, TestNamespace } from './cluster-test.ts';
import { hog, idle, once, pod } from './pods.ts';

const NAME = 'kubernetes-oom-event-generator';
const FAMILY = 'kubernetes_oom_event_generator_container_updates_processed_total';
const REASON = 'PreviousContainerWasOOMKilled';
/** Its port is fixed. */
const THEIR_URL = 'http://127.0.0.1:10254/metrics';
/** Who has written an Event, as the API server notes it from the client's name: both say the same of themselves in it. */
const WE = 'oom-witness';

const peer = peerProgram(NAME);
const skip = 'missing' in peer && peer.missing;

type WrittenEvent = EventObject & {
  readonly metadata: { readonly managedFields: readonly { readonly manager: string }[] };
};

describe(`beside ${NAME}`, { skip }, () => {
  const cluster = runningCluster();

  /** Both, following the pods, and what their ports say. */
  async function both(t: TestContext) {
    assert.ok('executable' in peer);
    const home = temporaryFolder(t, 'oom-witness-peer');
    mkdirSync(path.join(home, '.kube'));
    copyFileSync(cluster.kubeconfig, path.join(home, '.kube', 'config'));
    const program = await startServer({
      command: peer.executable,
      env: { HOME: home },
      probe: async () => (await fetch(THEIR_URL)).ok,
    });
    t.after(() => program.stop());
    const address = ['--oom-event-generator-address', '127.0.0.1:0'];
    const agent = await AgentProcess.start(t, {
      args: ['--replace', NAME, ...address, '--kubeconfig', cluster.kubeconfig, '--node-name', 'node-a'],
    });
    const url = () => agent.log.find((line) => line.program === NAME)?.url;
    await agent.until(() => url() !== undefined, 'its port');
    await agent.until(() => agent.log.some(({ msg }) => msg === 'listed'), 'following the pods');
    const page = async (of: string) =>
      shownFamilies(await (await fetch(new URL('/metrics', of))).text(), FAMILY);
    const ours = () => page(String(url()));
    const theirs = () => page(THEIR_URL);
    return {
      ours,
      theirs,
      updates: async () => ({ ours: updatesOf(await ours()), theirs: updatesOf(await theirs()) }),
      async stop() {
        await program.stop();
        assert.equal(await agent.terminate(), 0);
      },
    };
  }

  /** The Events that one of the two has written, when there are so many. */
  async function written(
    namespace: TestNamespace,
    by: 'us' | 'them',
    atLeast = 0,
  ): Promise<readonly WrittenEvent[]> {
    assert.ok('executable' in peer);
    const manager = by === 'us' ? WE : path.basename(peer.executable);
    let found: readonly WrittenEvent[] = [];
    await until(
      async () => {
        const { items } = await namespace.get<{ items: WrittenEvent[] }>('events', '--show-managed-fields');
        found = items.filter(
          ({ reason, metadata }) => reason === REASON && metadata.managedFields[0]?.manager === manager,
        );
        return found.length >= atLeast;
      },
      () => `${atLeast} Events by ${manager}: ${found.length}`,
      15_000,
    );
    return found;
  }

  it('restarts of a container: what it tells, the agent tells in the same words; the first one it misses', {
    timeout: 240_000,
  }, async (t) => {
    const namespace = await TestNamespace.create(t, cluster);
    const programs = await both(t);
    const before = await programs.updates();
    assert.deepEqual(headings(await programs.ours()), headings(await programs.theirs()));
    assert.deepEqual(Object.keys(before.ours), Object.keys(before.theirs));
    // Killed again before the third restart, which kubelet delays by 20 s.
    await namespace.apply(pod('shop', { ...once([hog('hog', { liveMs: 3_000 })]), restartPolicy: 'Always' }));
    await namespace.until('pod/shop', '.status.containerStatuses[0].restartCount', '2');
    const grown = async () => {
      const now = await programs.updates();
      return { ours: since(before.ours, now.ours), theirs: since(before.theirs, now.theirs) };
    };
    await until(
      async () => Object.values(await grown()).every((updates) => sum(updates) === 3),
      'three starts, counted by both',
      15_000,
    );
    const updates = await grown();
    const ours = await written(namespace, 'us', 2);
    const told = updates.theirs.oomkilled_event_sent!;
    const theirs = await written(namespace, 'them', told);
    t.diagnostic(`updates: ${JSON.stringify(updates)}`);
    tell(t, { ours, theirs });

    assert.deepEqual(updates.ours, {
      not_oomkilled: 1,
      oomkilled_event_sent: 2,
      oomkilled_restart_count_unchanged: 0,
      oomkilled_termination_too_old: 0,
    });
    // The Event `Started` of the first restart, to which kubelet gives no delay, comes before the status that shows the kill.
    assert.ok(told >= 1 && told <= 2, `it told ${told} of 2`);
    assert.deepEqual(updates.theirs, {
      ...updates.ours,
      not_oomkilled: 3 - told,
      oomkilled_event_sent: told,
    });
    assert.deepEqual(
      ours.map(({ count }) => count),
      [1, 1],
    );
    const words = ours.map(comparable);
    for (const event of theirs) {
      const same = words.find(({ message }) => message === event.message);
      assert.deepEqual(comparable(event), same, `of ours: ${JSON.stringify(words)}`);
    }
    await programs.stop();

    // A kill before their start: it counts that at once, the agent when the container runs again.
    const later = await both(t);
    await until(
      async () =>
        Object.values(await later.updates()).every((each) => each.oomkilled_termination_too_old! > 0),
      'the old kill, counted by both',
      60_000,
    );
    await later.stop();
  });

  it('a start of another container in the pod: it tells the kill again, the agent does not', {
    timeout: 240_000,
  }, async (t) => {
    const namespace = await TestNamespace.create(t, cluster);
    const programs = await both(t);
    // The others end in order, and are started again and again. Then it names the instance that runs.
    const others = [6, 9].map((seconds) => endsAfter(`ends-after-${seconds}`, seconds));
    await namespace.apply(
      pod('shop', { ...once([hog('hog', { liveMs: 4_000 }), ...others]), restartPolicy: 'Always' }),
    );
    await until(
      async () => (await written(namespace, 'them')).some(({ count = 0 }) => count > 1),
      'a second Event of one restart',
      120_000,
    );
    const restarts = async () => {
      const { containerStatuses = [] } = (await namespace.pod('shop')).status;
      return containerStatuses.find(({ name }) => name === 'hog')!.restartCount;
    };
    const atLeast = await restarts();
    const ours = await written(namespace, 'us', atLeast);
    const theirs = await written(namespace, 'them');
    const atMost = await restarts();
    t.diagnostic(`${atLeast} restarts, updates: ${JSON.stringify(await programs.updates())}`);
    tell(t, { ours, theirs });
    assert.ok(ours.length <= atMost, `${ours.length} of ${atMost}`);
    for (const { message, count } of ours) assert.equal(count, 1, message);
    await programs.stop();
  });
});

/** Without what differs by its nature: who, when, which object. */
function comparable(event: WrittenEvent): Record<string, unknown> & { readonly message: string } {
  const {
    metadata,
    involvedObject,
    firstTimestamp: _,
    lastTimestamp: __,
    ...rest
  } = event as WrittenEvent & {
    readonly lastTimestamp: string;
    readonly involvedObject: { readonly resourceVersion: string };
    readonly metadata: { readonly namespace: string };
  };
  const { resourceVersion, ...involved } = involvedObject;
  assert.match(resourceVersion, /^\d+$/);
  return { ...rest, metadata: { namespace: metadata.namespace }, involvedObject: involved };
}

function tell(t: TestContext, by: Readonly<Record<'ours' | 'theirs', readonly WrittenEvent[]>>): void {
  for (const [whose, events] of Object.entries(by))
    for (const { message, count } of events) t.diagnostic(`${whose}, ${count} times: ${message}`);
}

/** Its first process ends with 0. */
function endsAfter(name: string, seconds: number) {
  return { ...idle(name), command: ['/victim', 'execs', '1', String(seconds)] };
}

/** `update_type` -> how many. */
function updatesOf(page: ReturnType<typeof shownFamilies>): Record<string, number> {
  return Object.fromEntries(
    [...page[FAMILY]!.series]
      .sort()
      .map(([labels, count]) => [/update_type="(\w+)"/.exec(labels)![1], count]),
  );
}

function since(before: Record<string, number>, now: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.keys(now).map((type) => [type, now[type]! - before[type]!]));
}

function sum(counts: Record<string, number>): number {
  return Object.values(counts).reduce((total, count) => total + count, 0);
}
