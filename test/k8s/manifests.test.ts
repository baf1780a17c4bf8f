/** What can be said of the manifests without a cluster; what only the API server knows is in test/kubernetes. */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it, test } from 'node:test';
import { type Config, type Flag, loadConfig } from '../../src/config.ts';
import { loadSinks } from '../../src/sinks.ts';
import {
  type Container,
  kustomizations,
  type Labelled,
  MANIFESTS,
  type Manifest,
  manifests,
  type PodSpec,
} from './manifest-files.ts';

const NAME = 'app.kubernetes.io/name';
const COMPONENT = 'app.kubernetes.io/component';
const SECRETS = '/etc/oom-witness/secrets/';
/** What ending takes beside --drain-timeout: 3 s for the capture, 1 s for the server. */
const STOP_SECONDS = 4;

const all = manifests();
const isWhole = ({ kind, spec }: Manifest) =>
  (kind === 'DaemonSet' || kind === 'Deployment') && spec.selector !== undefined;
const workloads = all.filter(isWhole);
const patches = all.filter(({ kind, spec }) => kind === 'DaemonSet' && spec.selector === undefined);
const podSpec = (workload: Manifest): PodSpec => workload.spec.template.spec;
const container = (workload: Manifest): Container => podSpec(workload).containers[0] as Container;
const title = ({ file, kind, metadata }: Manifest) => `${file}: ${kind} ${metadata.name}`;
const only = (kind: string) => all.filter((each) => each.kind === kind);

describe('the files', () => {
  it('are all there: each reference has its file, each file its reference', () => {
    const used = new Set<string>();
    for (const { folder, resources, components, patches, ...generators } of kustomizations()) {
      const files = [...(generators.configMapGenerator ?? []), ...(generators.secretGenerator ?? [])]
        .flatMap(({ files }) => files ?? [])
        .map((file) => file.split('=').at(-1) as string);
      const references = [
        ...(resources ?? []),
        ...(components ?? []),
        ...(patches ?? []).map(({ path }) => path),
      ];
      for (const reference of [...references, ...files]) used.add(path.join(folder, reference));
    }
    const present = globSync('**/*', { cwd: MANIFESTS, withFileTypes: true })
      .filter((entry) => entry.isFile() && entry.name !== 'kustomization.yaml')
      .map((entry) => path.relative(MANIFESTS, path.join(entry.parentPath, entry.name)));
    const folders = kustomizations().map(({ folder }) => folder);
    assert.deepEqual([...used].filter((file) => !folders.includes(file)).sort(), present.sort());
  });

  it('what can be applied is in docs/kubernetes.md', () => {
    const text = readFileSync(path.join(MANIFESTS, '../docs/kubernetes.md'), 'utf8');
    const named = [...text.matchAll(/^\| `k8s\/([\w/-]*)`/gm)].map(([, folder = '']) => folder || '.');
    const applicable = kustomizations()
      .map(({ folder }) => folder)
      .filter((folder) => !/^(agent|watch|components)/.test(folder));
    assert.deepEqual(named.sort(), applicable.sort());
  });

  it('are in the one namespace and carry its labels', () => {
    const clusterWide = ['Namespace', 'ClusterRole', 'ClusterRoleBinding'];
    for (const manifest of all) {
      const { kind, metadata } = manifest;
      assert.equal(
        metadata.namespace,
        clusterWide.includes(kind) ? undefined : 'oom-witness',
        title(manifest),
      );
      if (!patches.includes(manifest)) assert.equal(metadata.labels?.[NAME], 'oom-witness', title(manifest));
    }
  });
});

describe('workloads', () => {
  for (const workload of workloads)
    it(`${title(workload)} selects its own pods and has its account`, () => {
      const { selector, template } = workload.spec as {
        selector: Labelled;
        template: { metadata: { labels: Record<string, string> } };
      };
      assert.deepEqual(selector.matchLabels, template.metadata.labels);
      assert.deepEqual(workload.metadata.labels, template.metadata.labels);
      const account = podSpec(workload).serviceAccountName;
      assert.ok(only('ServiceAccount').some(({ metadata }) => metadata.name === account));
    });

  it('no two select the same pods', () => {
    assert.equal(
      new Set(workloads.map(({ metadata }) => metadata.labels?.[COMPONENT])).size,
      workloads.length,
    );
  });

  for (const workload of workloads)
    it(`${title(workload)} is probed at its own port, with a read-only root`, () => {
      const { ports, securityContext, livenessProbe, readinessProbe, startupProbe } = container(workload);
      assert.equal(livenessProbe?.httpGet.path, '/healthz');
      assert.equal(readinessProbe?.httpGet.path, '/readyz');
      for (const probe of [livenessProbe, readinessProbe, startupProbe]) {
        assert.equal(probe?.httpGet.port, ports?.[0]?.name);
        // A node that is short of memory answers late, also while the agent starts.
        assert.equal(probe?.timeoutSeconds, 5);
      }
      assert.equal(securityContext?.readOnlyRootFilesystem, true);
      assert.equal(container(workload).image, 'oom-witness');
    });

  it('volumes and their mounts agree', () => {
    for (const workload of workloads) {
      const { volumes, containers } = podSpec(workload);
      assert.deepEqual(
        containers.flatMap(({ volumeMounts }) => volumeMounts ?? []).map(({ name }) => name),
        volumes?.map(({ name }) => name),
        title(workload),
      );
    }
  });

  it('everything that selects pods selects those of one workload, or of all', () => {
    const selectors = all.flatMap((manifest): [Manifest, Record<string, string>][] => {
      const { kind, spec } = manifest;
      if (kind === 'Service') return [[manifest, spec.selector]];
      if (kind === 'NetworkPolicy') return [[manifest, spec.podSelector.matchLabels]];
      if (kind === 'PodDisruptionBudget' || kind === 'PodMonitor')
        return [[manifest, spec.selector.matchLabels]];
      return [];
    });
    assert.ok(selectors.length >= 5);
    for (const [manifest, selector] of selectors) {
      const selected = workloads.filter(({ metadata }) =>
        Object.entries(selector).every(([label, value]) => metadata.labels?.[label] === value),
      );
      assert.equal(selected.length, COMPONENT in selector ? 1 : workloads.length, title(manifest));
      const { ports } = container(selected[0] as Manifest);
      const named = JSON.stringify(manifest.spec).matchAll(/"(?:targetPort|port)":"(\w+)"/g);
      for (const [, port] of named) assert.equal(port, ports?.[0]?.name, title(manifest));
    }
  });
});

describe('options', () => {
  /** What the container is started with, checked as the program itself does. */
  async function configOf(workload: Manifest, more: Readonly<Record<string, string>> = {}): Promise<Config> {
    const { args = [], env = [] } = container(workload);
    const flags = args.slice(1).map((arg): Flag => {
      const [, name = '', value] = /^--([a-z-]+)(?:=(.*))?$/.exec(arg) ?? [];
      return { name, value: value ?? true };
    });
    const environment = Object.fromEntries(env.map(({ name, value }) => [name, value ?? 'some-node']));
    return loadConfig(await loadSinks(), { flags, environment: { ...environment, ...more } });
  }

  for (const workload of workloads)
    it(`${title(workload)} is started with options that exist, and they fit the rest`, async () => {
      const { args, ports, volumeMounts } = container(workload);
      assert.equal(args?.[0], workload.kind === 'DaemonSet' ? 'run' : 'watch');
      const { listen, drainTimeout, stateDir, hostName, nodeName } = await configOf(workload);
      assert.deepEqual(listen, { host: '0.0.0.0', port: ports?.[0]?.containerPort });
      // What the watch knows stands in the status of the pods and in the Lease.
      const keepsState = workload.kind === 'DaemonSet';
      assert.equal(volumeMounts?.some(({ mountPath }) => mountPath === stateDir) ?? false, keepsState);
      const grace = podSpec(workload).terminationGracePeriodSeconds ?? 30;
      assert.ok(grace > STOP_SECONDS + drainTimeout / 1000, `${grace} s`);
      if (keepsState) assert.deepEqual([hostName, nodeName], ['some-node', 'some-node']);
    });

  for (const { folder, configMapGenerator = [] } of kustomizations())
    for (const { name, literals = [] } of configMapGenerator.filter(({ literals }) => literals))
      it(`${folder}: ConfigMap ${name}`, async () => {
        const variables = literals.map((literal): [string, string] => {
          const [variable = '', value = ''] = literal.split(/=(.*)/s);
          assert.match(variable, /^OOM_WITNESS_/);
          return [variable, value.replace(SECRETS, `${path.join(MANIFESTS, folder)}/`)];
        });
        const reads = workloads.find((workload) =>
          JSON.stringify(podSpec(workload)).includes(`{"configMapRef":{"name":"${name}"}}`),
        );
        assert.ok(reads, 'some workload reads it');
        await configOf(reads, Object.fromEntries(variables));
      });

  for (const patch of patches)
    it(`${title(patch)} sets variables of options that exist`, async () => {
      const agent = workloads.find(({ kind }) => kind === 'DaemonSet') as Manifest;
      const variables = (container(patch).env ?? []).map(({ name, value }) => [name, value ?? '']);
      await configOf(agent, Object.fromEntries(variables));
    });
});

describe('rights', () => {
  const AGENT = [
    ' pods: list watch',
    ' nodes: get',
    ' events: create patch',
    'apps replicasets: get',
    'batch jobs: get',
  ];
  const RIGHTS: Readonly<Record<string, readonly string[]>> = {
    'ClusterRole oom-witness': AGENT,
    'ClusterRole oom-witness-watch': AGENT.filter((right) => !right.includes('nodes')),
    'Role oom-witness-watch': [
      'coordination.k8s.io leases oom-witness-watch: get update',
      'coordination.k8s.io leases: create',
    ],
  };

  it('are these and no others: a new one is a decision', () => {
    const roles = [...only('ClusterRole'), ...only('Role')].map(({ kind, metadata, rules }) => [
      `${kind} ${metadata.name}`,
      (rules as Record<string, string[]>[]).flatMap(({ apiGroups, resources, resourceNames = [], verbs }) =>
        apiGroups!.flatMap((group) =>
          resources!.map(
            (resource) => `${[group, resource, ...resourceNames].join(' ')}: ${verbs!.join(' ')}`,
          ),
        ),
      ),
    ]);
    assert.deepEqual(Object.fromEntries(roles), RIGHTS);
    assert.ok(!JSON.stringify(roles).includes('*'));
    assert.ok(!JSON.stringify(roles).includes('secrets'));
  });

  it('no generated name is one that a rule names: kustomize would put its hash there, too', () => {
    const named = [...only('ClusterRole'), ...only('Role')].flatMap(({ rules }) =>
      (rules as { resourceNames?: string[] }[]).flatMap(({ resourceNames = [] }) => resourceNames),
    );
    assert.ok(named.length > 0);
    for (const { configMapGenerator = [], secretGenerator = [] } of kustomizations())
      for (const { name } of [...configMapGenerator, ...secretGenerator])
        assert.ok(!named.includes(name), name);
  });

  it('are bound to the accounts of the same name', () => {
    for (const { metadata, roleRef, subjects } of [...only('ClusterRoleBinding'), ...only('RoleBinding')]) {
      assert.equal(roleRef.name, metadata.name);
      assert.deepEqual(subjects, [{ kind: 'ServiceAccount', name: metadata.name, namespace: 'oom-witness' }]);
    }
  });
});

test('the namespace may hold as many critical pods as Kubernetes has nodes', () => {
  const agent = workloads.find(({ kind }) => kind === 'DaemonSet') as Manifest;
  const [quota] = only('ResourceQuota');
  assert.deepEqual(quota?.spec.scopeSelector.matchExpressions[0].values, [
    agent.spec.template.spec.priorityClassName,
  ]);
  assert.ok(Number(quota?.spec.hard.pods) >= 5_000);
});

test('a version whose agents die soon after they are ready does not get to all nodes', () => {
  const agent = workloads.find(({ kind }) => kind === 'DaemonSet') as Manifest;
  const { maxUnavailable } = agent.spec.updateStrategy.rollingUpdate;
  const steps = 100 / Number.parseInt(maxUnavailable, 10);
  assert.ok(steps * agent.spec.minReadySeconds >= 300, 'time to see it and to stop it');
});

test('the watch may hold as many pods as Kubernetes supports', () => {
  /** Measured with two containers in each. */
  const HEAP_BYTES = 2_900;
  const MOST_PODS = 150_000;
  const watch = workloads.find(({ kind }) => kind === 'Deployment') as Manifest;
  const { limits } = watch.spec.template.spec.containers[0].resources;
  const [, number = '', unit = ''] = /^(\d+)([MG])i$/.exec(limits.memory) ?? [];
  const limit = Number(number) * (unit === 'G' ? 1 << 30 : 1 << 20);
  // V8 lets its heap grow to half of what the cgroup may hold.
  assert.ok(limit / 2 > MOST_PODS * HEAP_BYTES, `${limits.memory} for ${MOST_PODS} pods`);
});
