import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import type { Incident } from '../../src/incident.ts';
import { ContainerTable } from '../../src/inventory/container-table.ts';
import { PodTable } from '../../src/inventory/pod-table.ts';
import type { KnownPod } from '../../src/kubernetes/pod.ts';
import type { MetricFamily } from '../../src/metrics/family.ts';
import { openFamily } from '../../src/metrics/oom-messages-exporter.ts';

const KILLED = Date.parse('2026-11-21T03:14:15.926Z');
const POD: KnownPod = {
  uid: 'u-1',
  namespace: 'web',
  name: 'shop-1',
  labels: {},
  annotations: {},
  owners: [],
  containers: [],
} as unknown as KnownPod;

let ids = 0;

function kill(
  pid: number,
  name: string,
  rest: Partial<Incident> = {},
  more: readonly number[] = [],
): Incident {
  const victims = [pid, ...more].map((each) => ({
    process: { pid: each, name },
    capture: { source: 'kernel-comm', truncated: false, redacted: 0 } as const,
  }));
  return {
    schema: 'oom-witness.incident/1',
    id: `boot:${ids++}`,
    kind: 'oom_kill',
    time: new Date(KILLED).toISOString(),
    witness: ['log'],
    host: { name: 'node-7' },
    oom: { scope: 'cgroup', group_kill: false, header_seen: false },
    process: victims[0]!.process,
    victims,
    raw: [],
    ...rest,
  };
}

describe('the metrics of oom_messages_exporter', () => {
  let now: number;
  let pods: PodTable;
  let family: MetricFamily;

  beforeEach(() => {
    now = KILLED;
    pods = new PodTable(() => now);
    const containers = new ContainerTable({ now: () => now, kernelSees: () => true });
    const containerUpdates = new Map();
    family = openFamily({ containers, pods, containerUpdates, isReplacement: true, now: () => now });
  });

  const series = async () =>
    (await family.scrape())
      .split('\n')
      .filter((line) => line.startsWith('oom_messages_exporter_last_killed_pid{'))
      .map((line) => line.replace('oom_messages_exporter_last_killed_pid', ''));

  it('has its help texts before the first kill', async () => {
    assert.equal(
      (await family.scrape()).trim(),
      `# HELP oom_messages_exporter_last_killed_pid The last pid killed by OOM killer
# TYPE oom_messages_exporter_last_killed_pid gauge

# HELP oom_messages_exporter_last_killed_time The last time when a pid is killed by OOM killer
# TYPE oom_messages_exporter_last_killed_time gauge`,
    );
  });

  it('writes a process of the machine as that program does, at the time of its kill', async () => {
    family.witnessed?.([kill(139, 'a b (c) d')]);
    now += 60_000;
    assert.equal(
      await family.scrape(),
      `# HELP oom_messages_exporter_last_killed_pid The last pid killed by OOM killer
# TYPE oom_messages_exporter_last_killed_pid gauge
oom_messages_exporter_last_killed_pid{command="a b (c) d",container="None",namespace="None",pod="None"} 139

# HELP oom_messages_exporter_last_killed_time The last time when a pid is killed by OOM killer
# TYPE oom_messages_exporter_last_killed_time gauge
oom_messages_exporter_last_killed_time{command="a b (c) d",container="None",namespace="None",pod="None"} 1795230855.926
`,
    );
  });

  it('keeps the last of each name, every member of a group, and the fixed text for no name', async () => {
    family.witnessed?.([kill(1, 'java'), kill(2, 'java'), kill(3, 'group', {}, [4]), kill(5, '')]);
    assert.deepEqual(await series(), [
      '{command="java",container="None",namespace="None",pod="None"} 2',
      '{command="group",container="None",namespace="None",pod="None"} 4',
      '{command="Could not get a proc name from a line.",container="None",namespace="None",pod="None"} 5',
    ]);
  });

  it('waits for the names of a container', async () => {
    const early = kill(7, 'java', { container: { id: 'c' }, k8s: { pod: { uid: 'u-1' } } });
    family.witnessed?.([early]);
    assert.deepEqual(await series(), []);
    family.enriched?.({
      ...early,
      k8s: {
        namespace: { name: 'web' },
        pod: { uid: 'u-1', name: 'shop-1' },
        container: { name: 'shop' },
      },
    });
    assert.deepEqual(await series(), ['{command="java",container="shop",namespace="web",pod="shop-1"} 7']);
  });

  it('what is not found is NotFound', async () => {
    const unknown = kill(7, 'java', { container: { id: 'c' } });
    family.witnessed?.([unknown]);
    family.enriched?.(unknown);
    assert.deepEqual(await series(), ['{command="java",container="NotFound",namespace="None",pod="None"} 7']);
  });

  it('and so is what is not answered in a storm', async () => {
    for (let pid = 1; pid <= 1_001; pid++)
      family.witnessed?.([kill(pid, 'java', { container: { id: 'c' } })]);
    assert.deepEqual(await series(), ['{command="java",container="NotFound",namespace="None",pod="None"} 1']);
  });

  it('keeps the newest 500, whatever processes call themselves', async () => {
    family.witnessed?.([kill(1, 'first'), kill(2, 'second')]);
    for (let pid = 10; pid < 508; pid++) family.witnessed?.([kill(pid, `name-${pid}"\n\\`)]);
    family.witnessed?.([kill(3, 'first'), kill(4, 'third')]);
    const all = await series();
    assert.equal(all.length, 500);
    assert.ok(all.some((line) => line.startsWith('{command="first"') && line.endsWith(' 3')));
    assert.ok(!all.some((line) => line.startsWith('{command="second"')));
    assert.ok(all.some((line) => line.includes('command="name-507\\"\\n\\\\"')));
  });

  it('lets go of a pod that is gone, when somebody has read it once more', async () => {
    pods.apply(POD);
    const k8s = { namespace: { name: 'web' }, pod: { name: 'shop-1' }, container: { name: 'shop' } };
    family.witnessed?.([kill(7, 'java', { k8s }), kill(8, 'host')]);
    pods.remove('u-1');
    now += 11 * 60_000;
    pods.apply({ ...POD, uid: 'u-2', name: 'other' });
    assert.equal((await series()).length, 2, 'once more');
    assert.deepEqual(await series(), ['{command="host",container="None",namespace="None",pod="None"} 8']);
  });

  it('says nothing of what is no kill of a known process', async () => {
    family.witnessed?.([kill(0, 'shop'), kill(9, 'x', { kind: 'oom_unseen' })]);
    assert.deepEqual(await series(), []);
  });
});
