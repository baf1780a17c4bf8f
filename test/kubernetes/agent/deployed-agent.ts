/** The agent as `kubectl apply -k k8s/` brings it onto a node, in the image that users build. */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Incident } from '../../../src/incident.ts';
import { MANIFESTS } from '../../k8s/manifest-files.ts';
import { PATIENCE_MS } from '../../patience.ts';
import { until } from '../../sinks/contract.ts';
import { assertValidIncident } from '../../validate-incident.ts';
import { NODE_A, NODE_B } from '../addresses.ts';
import type { Cluster } from '../cluster.ts';

export const AGENT_NAMESPACE = 'oom-witness';
const DAEMON_SET = 'daemonset/oom-witness';
const STATE = '/var/lib/oom-witness';
const INCIDENTS = `${STATE}/incidents.jsonl`;
const LOOK_MS = { 'node-a': PATIENCE_MS, 'node-b': 600_000 } as const;

const TOKEN = crypto.randomUUID();
const ASK_EVERY_MS = 500;
const EXEC_MS = 120_000;

export type NodeName = typeof NODE_A.name | typeof NODE_B.name;

export class DeployedAgent {
  readonly node: NodeName;
  readonly #cluster: Cluster;
  readonly #folder: string;

  private constructor(cluster: Cluster, node: NodeName) {
    this.#cluster = cluster;
    this.node = node;
    this.#folder = cluster.at(`agent-on-${node}`);
  }

  /**
   * On one node only, whose incidents a test then reads where the sink `--file` has put them.
   *
   * @param options as environment variables, without `OOM_WITNESS_`
   * @param manifests a folder of `k8s/`
   * @throws with what kubectl and the agent itself say, when it does not become ready
   */
  static async deploy(
    cluster: Cluster,
    node: NodeName = NODE_A.name,
    options: Readonly<Record<string, string>> = {},
    manifests = '.',
  ): Promise<DeployedAgent> {
    const archive = process.env.OOM_WITNESS_AGENT_IMAGE;
    if (!archive) throw new Error('no image has been built: start the tests with `npm run test:kubernetes`');
    await (node === NODE_A.name ? cluster.importImage(archive) : cluster.guest.importImage(archive));
    const agent = new DeployedAgent(cluster, node);
    // One that another test has removed may still be going.
    await cluster.kubectl(['delete', 'namespace', AGENT_NAMESPACE, '--ignore-not-found', '--timeout=250s']);
    agent.#writeKustomization(
      { FILE: INCIDENTS, API_TOKEN_FILE: '/etc/oom-witness/secrets/api-token', ...options },
      path.join(MANIFESTS, manifests),
    );
    await cluster.kubectl(['apply', '-k', agent.#folder]);
    await agent.#untilReady();
    return agent;
  }

  /** Another pod takes its place, as for an upgrade. */
  async restart(): Promise<void> {
    await this.#cluster.kubectl(['rollout', 'restart', DAEMON_SET, `--namespace=${AGENT_NAMESPACE}`]);
    await this.#untilReady();
  }

  /** With all that it has kept. */
  async remove(): Promise<void> {
    await this.#cluster.kubectl(['delete', '-k', this.#folder, '--timeout=250s', '--ignore-not-found']);
    if (this.node === NODE_A.name) rmSync(this.#cluster.at(STATE), { recursive: true, force: true });
    else await this.#cluster.guest.shell(`rm -rf ${STATE}`);
  }

  /** What it has written about itself. */
  log(): Promise<string> {
    return this.#cluster.kubectl(['logs', DAEMON_SET, `--namespace=${AGENT_NAMESPACE}`]);
  }

  /** What it has written about the processes that it sees, on node-a. */
  journal(): string {
    return readIfThere(this.#cluster.at(`${STATE}/processes.jsonl`));
  }

  /** What `--file` has got until now. */
  async incidents(): Promise<readonly Incident[]> {
    const text =
      this.node === NODE_A.name
        ? readIfThere(this.#cluster.at(INCIDENTS))
        : await this.#cluster.guest.shell(`cat ${INCIDENTS} 2>/dev/null`);
    // The last line may not be whole yet.
    const lines = text.slice(0, text.lastIndexOf('\n') + 1).split('\n');
    const incidents: unknown[] = lines.filter(Boolean).map((line) => JSON.parse(line));
    return incidents.map((incident) => {
      assertValidIncident(incident);
      return incident;
    });
  }

  /** Of those, the ones whose victim's command line has this word: other kills are none of a test's business. */
  async incidentsOf(word: string): Promise<readonly Incident[]> {
    return (await this.incidents()).filter(({ victims }) =>
      victims.some(({ process }) => process.command_args?.includes(word)),
    );
  }

  /** Waits for it. */
  async told(word: string): Promise<Incident> {
    let found: readonly Incident[] = [];
    // It waits in the guest: each question costs a second there.
    if (this.node === NODE_B.name) {
      const loop = `until grep -qF -- ${word} ${INCIDENTS}; do sleep 1; done`;
      await this.#cluster.guest.shell(`timeout ${LOOK_MS[this.node] / 1000} sh -c '${loop}' 2>/dev/null`);
    }
    await until(
      async () => {
        found = await this.incidentsOf(word);
        return found.length > 0;
      },
      `the kill of ${word}`,
      LOOK_MS[this.node],
    );
    return found[0] as Incident;
  }

  /**
   * As it is stored, once the cluster's own word on the kill is in it, which comes after the sinks have got it: kubelet tells
   * an end within seconds; that nothing was said is known after a minute.
   */
  async stated(id: string): Promise<Incident> {
    const path = `/api/incidents/${encodeURIComponent(id)}`;
    const limit = LOOK_MS[this.node];
    const incident: unknown = JSON.parse(await this.#get(path, limit, 'JSON.parse(text).statements'));
    assertValidIncident(incident);
    assert.ok(incident.statements, `nothing is said of ${id} within ${limit} ms`);
    return incident;
  }

  /** The page that Prometheus reads. */
  metrics(): Promise<string> {
    return this.#get('/metrics');
  }

  /**
   * From inside the pod: there is no way to a pod of node-b.
   *
   * @param isIt an expression: whether `text` is what is waited for. It is asked there: each start of Node.js takes seconds on node-b
   */
  #get(path: string, limitMs = 0, isIt = 'true'): Promise<string> {
    const headers = { authorization: `Bearer ${TOKEN}` };
    const client = `const deadline = Date.now() + ${limitMs};
      for (;;) {
        const answer = await fetch('http://127.0.0.1:9110${path}', ${JSON.stringify({ headers })});
        const text = await answer.text();
        if (!answer.ok) throw new Error(text);
        if (${isIt} || Date.now() >= deadline) {
          console.log(text);
          break;
        }
        await new Promise((resolve) => setTimeout(resolve, ${ASK_EVERY_MS}));
      }`;
    const node = ['/usr/bin/node', '--input-type=module', '-e', client];
    const exec = ['exec', DAEMON_SET, `--namespace=${AGENT_NAMESPACE}`, '--', ...node];
    return this.#cluster.kubectl(exec, { timeoutMs: limitMs + EXEC_MS });
  }

  /** What docs/kubernetes.md tells users to write for options of their own. */
  #writeKustomization(options: Readonly<Record<string, string>>, manifests: string): void {
    const nodeSelector = {
      op: 'add',
      path: '/spec/template/spec/nodeSelector/kubernetes.io~1hostname',
      value: this.node,
    };
    // On one node nothing is gained by waiting whether it stays ready.
    const atOnce = { op: 'replace', path: '/spec/minReadySeconds', value: 0 };
    const kustomization = {
      apiVersion: 'kustomize.config.k8s.io/v1beta1',
      kind: 'Kustomization',
      resources: [path.relative(this.#folder, manifests)],
      configMapGenerator: [
        {
          name: 'oom-witness',
          namespace: AGENT_NAMESPACE,
          behavior: 'merge',
          literals: Object.entries(options).map(([name, value]) => `OOM_WITNESS_${name}=${value}`),
        },
      ],
      secretGenerator: [
        {
          name: 'oom-witness',
          namespace: AGENT_NAMESPACE,
          literals: [`api-token=${TOKEN}`],
          options: { disableNameSuffixHash: true },
        },
      ],
      patches: [{ target: { kind: 'DaemonSet' }, patch: JSON.stringify([nodeSelector, atOnce]) }],
    };
    mkdirSync(this.#folder, { recursive: true });
    writeFileSync(path.join(this.#folder, 'kustomization.yaml'), JSON.stringify(kustomization));
  }

  async #untilReady(): Promise<void> {
    const limit = LOOK_MS[this.node];
    const namespace = `--namespace=${AGENT_NAMESPACE}`;
    const rollout = ['rollout', 'status', DAEMON_SET, namespace, `--timeout=${limit}ms`];
    try {
      await this.#cluster.kubectl(rollout, { timeoutMs: limit + 5000 });
    } catch (error) {
      const pods = await this.#cluster.kubectl(['describe', 'pods', namespace]).catch(String);
      throw new Error(`the agent is not ready:\n${pods}\n${await this.log().catch(String)}`, {
        cause: error,
      });
    }
  }
}

function readIfThere(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
