import { until } from '../sinks/contract.ts';
import { describeApiContract } from './api-contract.ts';
import { runningCluster, TestNamespace } from './cluster-test.ts';

const cluster = runningCluster();

describeApiContract('kube-apiserver', async (t) => {
  const namespace = await TestNamespace.create(t, cluster);
  // The controllers put it into each namespace, sooner or later.
  await namespace.kubectl('wait', '--for=create', 'configmap/kube-root-ca.crt', '--timeout=250s');
  const reader = ['--clusterrole=view', `--serviceaccount=${namespace.name}:default`];
  await namespace.kubectl('create', 'rolebinding', 'reader', ...reader);
  return {
    kubeconfig: cluster.kubeconfig,
    namespace: namespace.name,
    async token() {
      return (await namespace.kubectl('create', 'token', 'default')).trim();
    },
    async forget() {
      await cluster.daemons.stop('kube-apiserver', 'SIGKILL');
      cluster.startComponent('kube-apiserver');
      await until(async () => {
        const ready = cluster.kubectl(['get', '--raw', '/readyz']);
        return ready.then(
          () => true,
          () => false,
        );
      }, 'the API server to be ready again');
    },
  };
});
