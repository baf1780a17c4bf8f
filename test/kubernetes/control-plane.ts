/** Command lines of the parts that make an API server with its controllers. */
import { API_SERVER, SERVICE_RANGE } from './addresses.ts';
import type { CertificateAuthority } from './certificates.ts';

const ETCD = 'http://127.0.0.1:2379';
const ETCD_PEERS = 'http://127.0.0.1:2380';

export function etcd(folder: string): readonly string[] {
  return [
    ...['etcd', '--name=etcd', `--data-dir=${folder}`, '--logger=zap', '--log-level=warn'],
    ...[`--listen-client-urls=${ETCD}`, `--advertise-client-urls=${ETCD}`],
    ...[`--listen-peer-urls=${ETCD_PEERS}`, `--initial-advertise-peer-urls=${ETCD_PEERS}`],
    `--initial-cluster=etcd=${ETCD_PEERS}`,
    // A test's cluster does not outlive the machine.
    '--unsafe-no-fsync',
  ];
}

/** @param folder for what it makes itself */
export function apiServer(authority: CertificateAuthority, folder: string): readonly string[] {
  const serving = authority.issue('api-server', {
    subject: '/CN=kube-apiserver',
    usage: 'serverAuth',
    names: `DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,IP:127.0.0.1,IP:${API_SERVER}`,
  });
  const kubelets = authority.issue('api-server-kubelet', {
    subject: '/O=system:masters/CN=api-server-kubelet',
    usage: 'clientAuth',
  });
  const ca = authority.pair.cert;
  return [
    ...['kube-apiserver', `--etcd-servers=${ETCD}`, `--cert-dir=${folder}`, '--profiling=false', '--v=1'],
    ...['--bind-address=0.0.0.0', '--secure-port=443', `--advertise-address=${API_SERVER}`],
    // It would put an address that it may not have: the service's own.
    '--endpoint-reconciler-type=none',
    ...[`--tls-cert-file=${serving.cert}`, `--tls-private-key-file=${serving.key}`, `--client-ca-file=${ca}`],
    ...[`--kubelet-client-certificate=${kubelets.cert}`, `--kubelet-client-key=${kubelets.key}`],
    ...[`--kubelet-certificate-authority=${ca}`, '--kubelet-preferred-address-types=InternalIP'],
    '--service-account-issuer=https://kubernetes.default.svc',
    `--service-account-key-file=${authority.serviceAccounts.cert}`,
    `--service-account-signing-key-file=${authority.serviceAccounts.key}`,
    ...['--authorization-mode=Node,RBAC', '--enable-admission-plugins=NodeRestriction'],
    ...['--allow-privileged=true', `--service-cluster-ip-range=${SERVICE_RANGE}`],
  ];
}

export function controllerManager(
  authority: CertificateAuthority,
  kubeconfig: string,
  folder: string,
): readonly string[] {
  const { cert, key } = authority.pair;
  return [
    ...['kube-controller-manager', ...client(kubeconfig, folder)],
    ...[`--root-ca-file=${cert}`, `--cluster-signing-cert-file=${cert}`, `--cluster-signing-key-file=${key}`],
    `--service-account-private-key-file=${authority.serviceAccounts.key}`,
    '--use-service-account-credentials=true',
    // The default, 20 a second, is what a namespace waits for when it is deleted.
    ...['--kube-api-qps=500', '--kube-api-burst=1000'],
  ];
}

export function scheduler(kubeconfig: string, folder: string): readonly string[] {
  return ['kube-scheduler', ...client(kubeconfig, folder)];
}

function client(kubeconfig: string, folder: string): readonly string[] {
  return [
    `--kubeconfig=${kubeconfig}`,
    `--authentication-kubeconfig=${kubeconfig}`,
    `--authorization-kubeconfig=${kubeconfig}`,
    ...['--bind-address=127.0.0.1', `--cert-dir=${folder}`, '--leader-elect=false', '--v=1'],
  ];
}
