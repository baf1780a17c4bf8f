/** The manifests against the API server's own schema, admission and authorizer. That the agent works with them is another test's business. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { kustomizations, MANIFESTS } from '../k8s/manifest-files.ts';
import { until } from '../sinks/contract.ts';
import { runningCluster } from './cluster-test.ts';
import { operatorCrds } from './operator-crds.ts';

const NAMESPACE = 'oom-witness';

const cluster = runningCluster();
const crds = await operatorCrds('podmonitors', 'prometheusrules');
const withoutCrds = 'missing' in crds ? crds.missing : false;

const folders = kustomizations()
  .map(({ folder }) => folder)
  .filter((folder) => !folder.startsWith('components/'));
/** Of those, the folders whose objects the Prometheus operator defines. */
const ofOperator = kustomizations()
  .filter(({ components }) => components?.some((each) => each.endsWith('/prometheus-operator')))
  .map(({ folder }) => folder);

const rendered = (folder: string) => cluster.kubectl(['kustomize', path.join(MANIFESTS, folder)]);

/** What the server says of each object, in the order of the manifests. */
async function dryRun(input: string): Promise<string[]> {
  const flags = ['--dry-run=server', '--validate=strict', '--warnings-as-errors'];
  const output = await cluster.kubectl(['apply', '-f', '-', ...flags], { input });
  return output.trimEnd().split('\n');
}

describe('the API server takes every manifest as it is', () => {
  before(async () => {
    for (const file of 'files' in crds ? crds.files : [])
      await cluster.kubectl(['apply', '--server-side', '-f', file]);
    for (const kind of ['podmonitors', 'prometheusrules'])
      if (!withoutCrds)
        await cluster.kubectl([
          ...['wait', '--for=condition=Established', `crd/${kind}.monitoring.coreos.com`, '--timeout=250s'],
        ]);
  });
  after(() => cluster.kubectl(['delete', 'namespace', NAMESPACE, '--ignore-not-found', '--timeout=250s']));

  for (const folder of folders)
    it(`${path.join('k8s', folder)}`, { skip: ofOperator.includes(folder) && withoutCrds }, async () => {
      const text = await rendered(folder);
      // A dry run makes no namespace for what is in it, and admission looks at its labels.
      const own = text.split(/^---$/m).find((document) => /^kind: Namespace$/m.test(document));
      const bare = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE } };
      await cluster.kubectl(['apply', '-f', '-'], { input: own ?? JSON.stringify(bare) });
      const answers = await dryRun(text);
      assert.equal(answers.length, text.split(/^---$/m).length);
      for (const answer of answers)
        assert.match(answer, /(created|configured|unchanged) \(server dry run\)$/);
    });

  it('it is strict: a field that does not exist, and a value that it does not take, are refused', async () => {
    const text = await rendered('.');
    for (const [from, to, said] of [
      ['hostPID: true', 'hostPid: true', /unknown field "spec\.template\.spec\.hostPid"/],
      ['path: /healthz', 'pathname: /healthz', /unknown field .*livenessProbe\.httpGet\.pathname/],
      ['type: CharDevice', 'type: Chardevice', /Unsupported value: "Chardevice"/],
    ] as const) {
      assert.ok(text.includes(from));
      await assert.rejects(dryRun(text.replace(from, to)), said);
    }
  });

  it('the operator is strict, too', { skip: withoutCrds }, async () => {
    const text = await rendered('overlays/prometheus-operator');
    await assert.rejects(dryRun(text.replace('honorLabels: true', 'honourLabels: true')), /honourLabels/);
    await assert.rejects(dryRun(text.replace('interval: 30s', 'interval: 30 seconds')), /interval/);
  });

  it('API-only mode would be refused in a restricted namespace if it asked for more', async () => {
    const text = await rendered('overlays/api-only');
    await cluster.kubectl(['apply', '-f', '-'], {
      input: text.split(/^---$/m).find((document) => /^kind: Namespace$/m.test(document)) as string,
    });
    const more = text.replace('allowPrivilegeEscalation: false', 'allowPrivilegeEscalation: true');
    await assert.rejects(dryRun(more), /would violate PodSecurity "restricted/);
  });
});

describe('once applied, kubectl diff has nothing to say', () => {
  const applied: string[] = [];
  after(async () => {
    for (const input of applied)
      await cluster.kubectl(['delete', '-f', '-', '--ignore-not-found', '--timeout=250s'], { input });
  });

  for (const folder of folders.filter((each) => !['agent', 'watch'].includes(each)))
    it(`${path.join('k8s', folder)}`, { skip: ofOperator.includes(folder) && withoutCrds }, async () => {
      // On no node: what its pods do is another test's business.
      const input = (await rendered(folder)).replaceAll('kubernetes.io/os: linux', 'kubernetes.io/os: none');
      applied.push(input);
      await cluster.kubectl(['apply', '-f', '-'], { input });
      const diff = (text: string) => cluster.kubectl(['diff', '-f', '-'], { input: text });
      // The controllers write into what was applied, too, a moment later.
      let said = '';
      const isSilent = async () => {
        said = await diff(input).catch(String);
        return said === '';
      };
      await until(isSilent, () => `an end of: ${said}`);
      await assert.rejects(diff(input.replace('cpu: 20m', 'cpu: 21m')), /\+ +cpu: 21m/);
    });
});

describe("the authorizer's word on the rights", () => {
  let roles = '';
  before(async () => {
    // As they are applied: kustomize changes names in rules, too.
    const all = await Promise.all(['agent', 'watch'].map(rendered));
    const isRole = (document: string) => /^kind: (ServiceAccount|(Cluster)?Role(Binding)?)$/m.test(document);
    roles = all.flatMap((text) => text.split(/^---$/m).filter(isRole)).join('---\n');
    await cluster.apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE } });
    await cluster.kubectl(['apply', '-f', '-'], { input: roles });
  });
  after(async () => {
    await cluster.kubectl(['delete', '-f', '-', '--ignore-not-found'], { input: roles });
    await cluster.kubectl(['delete', 'namespace', NAMESPACE, '--timeout=250s']);
  });

  async function may(account: string, verb: string, resource: string, namespace: string): Promise<boolean> {
    const who = `--as=system:serviceaccount:${NAMESPACE}:${account}`;
    const answer = cluster.kubectl(['auth', 'can-i', verb, resource, `--namespace=${namespace}`, who]);
    // kubectl says no with its exit code.
    return (await answer.catch((error: Error) => error.message)).trim().endsWith('yes');
  }

  /** account -> what it may and what it may not: verb, resource, namespace */
  const CASES = {
    'oom-witness': {
      may: [
        ['list', 'pods', 'kube-system'],
        ['watch', 'pods', 'default'],
        ['get', 'nodes', 'default'],
        ['create', 'events', 'default'],
        ['patch', 'events', 'kube-system'],
        ['get', 'replicasets.apps', 'default'],
        ['get', 'jobs.batch', 'default'],
      ],
      mayNot: [
        ['get', 'secrets', NAMESPACE],
        ['list', 'secrets', 'kube-system'],
        ['delete', 'pods', 'default'],
        ['create', 'pods', NAMESPACE],
        ['create', 'pods/exec', 'default'],
        ['patch', 'nodes', 'default'],
        ['list', 'nodes', 'default'],
        ['list', 'configmaps', NAMESPACE],
        ['delete', 'events', 'default'],
        ['get', 'leases.coordination.k8s.io', NAMESPACE],
      ],
    },
    'oom-witness-watch': {
      may: [
        ['list', 'pods', 'kube-system'],
        ['create', 'events', 'default'],
        ['get', 'leases.coordination.k8s.io/oom-witness-watch', NAMESPACE],
        ['update', 'leases.coordination.k8s.io/oom-witness-watch', NAMESPACE],
        ['create', 'leases.coordination.k8s.io', NAMESPACE],
      ],
      mayNot: [
        ['update', 'leases.coordination.k8s.io/another', NAMESPACE],
        ['update', 'leases.coordination.k8s.io/oom-witness-watch', 'kube-system'],
        ['create', 'leases.coordination.k8s.io', 'kube-node-lease'],
        ['get', 'secrets', NAMESPACE],
        ['get', 'nodes', 'default'],
      ],
    },
  } as const;

  for (const [account, cases] of Object.entries(CASES))
    it(`${account} may do what it does, and no more`, async () => {
      // Rules reach the API server's own cache a moment after they were written.
      for (const [verb, resource, namespace] of cases.may)
        await until(() => may(account, verb, resource, namespace), `${verb} ${resource} in ${namespace}`);
      for (const [verb, resource, namespace] of cases.mayNot)
        assert.equal(
          await may(account, verb, resource, namespace),
          false,
          `${verb} ${resource} in ${namespace}`,
        );
    });
});
