/** What a test of `*.cluster.ts` is given: the cluster that runs, and a namespace of its own. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { waitsForSigterm } from '../kills/kills.ts';
import { cgroupMounts, processesBelow } from '../servers/cgroups.ts';
import { until } from '../sinks/contract.ts';
import { Cluster } from './cluster.ts';

/** node-b is emulated. */
const PATIENCE_SECONDS = 300;

/** The one that test/kubernetes/run.ts has started. */
export function runningCluster(): Cluster {
  const folder = process.env.OOM_WITNESS_CLUSTER;
  if (!folder) throw new Error('no cluster runs: start the tests with `npm run test:kubernetes -- NAME`');
  return Cluster.attach(folder);
}

/** Why a test that needs node-b does not run, or false. */
export function withoutNodeB(cluster: Cluster): string | false {
  return cluster.hasNodeB ? false : 'needs node-b: npm run test:kubernetes -- --vm';
}

/** The fields of a Pod that tests look at. */
export interface PodObject {
  readonly metadata: {
    readonly name: string;
    readonly uid: string;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec: { readonly nodeName: string };
  readonly status: {
    readonly phase: string;
    readonly qosClass: string;
    readonly containerStatuses?: readonly ContainerStatus[];
    readonly initContainerStatuses?: readonly ContainerStatus[];
  };
}

export interface ContainerStatus {
  readonly name: string;
  readonly containerID: string;
  readonly restartCount: number;
  readonly state: ContainerState;
  readonly lastState: ContainerState;
}

interface ContainerState {
  readonly running?: object;
  readonly terminated?: { readonly reason: string; readonly exitCode: number; readonly containerID: string };
}

export interface EventObject {
  readonly type: string;
  readonly reason: string;
  readonly message: string;
  readonly count?: number;
  readonly firstTimestamp?: string;
  readonly involvedObject: { readonly kind: string; readonly name: string; readonly uid: string };
}

export class TestNamespace {
  readonly name: string;
  readonly cluster: Cluster;

  private constructor(cluster: Cluster, name: string) {
    this.cluster = cluster;
    this.name = name;
  }

  /** Deleted, with all that is in it, when the test has ended; another test need not wait for that. */
  static async create(t: TestContext, cluster: Cluster, labels: object = {}): Promise<TestNamespace> {
    const name = `test-${crypto.randomUUID().slice(0, 8)}`;
    await cluster.apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } });
    t.after(() => cluster.kubectl(['delete', 'namespace', name, '--wait=false']));
    // Without it no pod may be made.
    await cluster.kubectl([
      'wait',
      '--for=create',
      'serviceaccount/default',
      `--namespace=${name}`,
      '--timeout=300s',
    ]);
    return new TestNamespace(cluster, name);
  }

  kubectl(...args: readonly string[]): Promise<string> {
    return this.cluster.kubectl([`--namespace=${this.name}`, ...args]);
  }

  async apply(...objects: readonly object[]): Promise<void> {
    const input = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects });
    await this.cluster.kubectl([`--namespace=${this.name}`, 'apply', '-f', '-'], { input });
  }

  async get<T>(...args: readonly string[]): Promise<T> {
    return JSON.parse(await this.kubectl('get', ...args, '--output=json'));
  }

  pod(name: string): Promise<PodObject> {
    return this.get('pod', name);
  }

  /** A line on the standard input of a pod's container, as soon as it runs. */
  async tell(pod: string, line = ''): Promise<void> {
    await this.until(`pod/${pod}`, '.status.phase', 'Running');
    const attach = [`--namespace=${this.name}`, 'attach', '--stdin', pod];
    await this.cluster.kubectl(attach, { input: `${line}\n` });
  }

  /**
   * Lets a process on node-a be killed that waits for a SIGTERM, as soon as it does. Neither kubelet nor the API server is asked.
   *
   * @param word of its command line
   * @param before what is waited for last
   */
  async kill(word: string, before = async () => {}): Promise<void> {
    const waiting = () =>
      cgroupMounts()
        .flatMap((mount) => processesBelow(path.join(mount, this.cluster.cgroupRoot)))
        .find((pid) => waitsForSigterm(pid) && commandLine(pid).includes(word));
    await until(() => waiting() !== undefined, `${word}, which waits`);
    await before();
    process.kill(waiting()!, 'SIGTERM');
  }

  /** Of this object, the oldest first. */
  async events(kind: string, name: string): Promise<readonly EventObject[]> {
    const selector = `--field-selector=involvedObject.kind=${kind},involvedObject.name=${name}`;
    const list = await this.get<{ items: EventObject[] }>(
      'events',
      selector,
      '--sort-by=.metadata.creationTimestamp',
    );
    return list.items;
  }

  /**
   * Waits, by a watch, until a field of an object has a value.
   *
   * @param resource `pod/NAME`
   * @param field a JSONPath without braces: `.status.phase`
   * @throws with the object when it has not in time
   */
  async until(resource: string, field: string, value: string, seconds = PATIENCE_SECONDS): Promise<void> {
    const wait = ['wait', resource, `--for=jsonpath={${field}}=${value}`, `--timeout=${seconds}s`];
    try {
      await this.cluster.kubectl([`--namespace=${this.name}`, ...wait], { timeoutMs: (seconds + 10) * 1000 });
    } catch (error) {
      const now = await this.kubectl('get', resource, '--output=yaml').catch(String);
      throw new Error(`${resource}: ${field} is not ${value}\n${now}`, { cause: error });
    }
  }

  /**
   * Until a container of a pod that is not started again has ended, and the pod with it, however that is told: the runtime was
   * seen to miss its own container's OOM kill, which the status then calls `Error`.
   */
  async ended(pod: string): Promise<NonNullable<ContainerState['terminated']>> {
    await this.until(`pod/${pod}`, '.status.phase', 'Failed');
    const { initContainerStatuses = [], containerStatuses = [] } = (await this.pod(pod)).status;
    const [terminated] = [...initContainerStatuses, ...containerStatuses].flatMap(
      ({ state }) => state.terminated ?? [],
    );
    if (terminated === undefined) throw new Error(`${pod} has failed, and its container has not ended`);
    return terminated;
  }

  /** Until the container of this index has been ended by an OOM kill, as kubelet tells it. */
  untilOomKilled(pod: string, container = 0, seconds = PATIENCE_SECONDS): Promise<void> {
    const field = `.status.containerStatuses[${container}].state.terminated.reason`;
    return this.until(`pod/${pod}`, field, 'OOMKilled', seconds);
  }
}

/** Nothing when it is gone. */
function commandLine(pid: number): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  } catch {
    return [];
  }
}
