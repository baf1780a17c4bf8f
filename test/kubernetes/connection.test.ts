import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import type { ApiError } from '../../src/kubernetes/api.ts';
import { connect } from '../../src/kubernetes/connection.ts';
import type { Surroundings } from '../../src/kubernetes/kube-config.ts';
import { PATIENCE_MS } from '../patience.ts';
import { until } from '../sinks/contract.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import { ApiDouble } from './api-double.ts';
import { startProxy } from './connect-proxy.ts';

const NODE = '/api/v1/nodes/a';

async function startDouble(t: TestContext): Promise<ApiDouble> {
  const double = await ApiDouble.start(t);
  double.put(NODE, {});
  return double;
}

/** Connects, and asks for the node as often as wanted. */
async function asker(
  t: TestContext,
  kubeconfig?: string,
  surroundings: Surroundings = { env: {} },
): Promise<() => Promise<unknown>> {
  const api = await connect({ kubeconfig, random: () => 0 }, surroundings);
  t.after(() => api.close());
  return () => api.get(NODE);
}

const authorization = (double: ApiDouble) => double.requests.at(-1)?.headers.authorization;

describe('connect', { timeout: PATIENCE_MS }, () => {
  it('is the service account in a pod, whose token is read again before it is old', async (t) => {
    const double = await startDouble(t);
    const root = temporaryFolder(t, 'oom-witness-connection');
    const account = join(root, 'var/run/secrets/kubernetes.io/serviceaccount');
    mkdirSync(account, { recursive: true });
    copyFileSync(double.certificates.ca, join(account, 'ca.crt'));
    writeFileSync(join(account, 'token'), 'first-token');
    // client-node reads these from the process itself.
    const { hostname, port } = new URL(double.url);
    const env = { KUBERNETES_SERVICE_HOST: hostname, KUBERNETES_SERVICE_PORT: port };
    Object.assign(process.env, env);
    t.after(() => {
      for (const name of Object.keys(env)) delete process.env[name];
    });
    t.mock.timers.enable({ apis: ['Date'], now: Date.now() });
    const ask = await asker(t, undefined, { env, root });
    await ask();
    writeFileSync(join(account, 'token'), 'second-token');
    double.tokens.add('second-token');
    await ask();
    assert.equal(authorization(double), 'Bearer first-token');
    t.mock.timers.tick(61_000);
    await ask();
    assert.equal(authorization(double), 'Bearer second-token');
    assert.equal(double.connections, 1);
  });

  it('takes the option, else KUBECONFIG, else the file in the home folder', async (t) => {
    const double = await startDouble(t);
    const home = temporaryFolder(t, 'oom-witness-connection');
    mkdirSync(join(home, '.kube'));
    const at = (name: string) => {
      double.tokens.add(name);
      return double.kubeconfig({ token: name });
    };
    copyFileSync(at('of-home'), join(home, '.kube', 'config'));
    const env = { HOME: home, KUBECONFIG: at('of-variable') };
    await (await asker(t, at('of-option'), { env }))();
    assert.equal(authorization(double), 'Bearer of-option');
    await (await asker(t, undefined, { env }))();
    assert.equal(authorization(double), 'Bearer of-variable');
    await (await asker(t, undefined, { env: { HOME: home, KUBECONFIG: '' } }))();
    assert.equal(authorization(double), 'Bearer of-home');
  });

  it('merges several files, where the first that names a thing wins, and resolves paths by each file', async (t) => {
    const double = await startDouble(t);
    const folders = [
      temporaryFolder(t, 'oom-witness-connection'),
      temporaryFolder(t, 'oom-witness-connection'),
    ] as const;
    cpSync(double.certificates.ca, join(folders[1], 'ca.pem'));
    writeFileSync(join(folders[0], 'token'), 'first-token\n');
    const [first, second] = folders.map((folder) => join(folder, 'config')) as [string, string];
    writeFileSync(
      first,
      'users:\n- name: me\n  user: {tokenFile: token, token: old}\ncontexts:\n- name: here\n  context: {cluster: c, user: me}\n',
    );
    const clusters = [{ name: 'c', cluster: { server: double.url, 'certificate-authority': 'ca.pem' } }];
    writeFileSync(
      second,
      JSON.stringify({ 'current-context': 'here', clusters, users: [{ name: 'me', user: {} }] }),
    );
    await (await asker(t, undefined, { env: { KUBECONFIG: [first, second].join(delimiter) } }))();
    assert.equal(authorization(double), 'Bearer first-token');
  });

  it('shows client certificates, and new ones over a new connection', async (t) => {
    const double = await startDouble(t);
    const folder = temporaryFolder(t, 'oom-witness-connection');
    const { clientCert, clientKey, serverCert, serverKey } = double.certificates;
    const install = (cert: string, key: string) => {
      copyFileSync(cert, join(folder, 'cert.pem'));
      copyFileSync(key, join(folder, 'key.pem'));
    };
    install(clientCert, clientKey);
    const user = {
      'client-certificate': join(folder, 'cert.pem'),
      'client-key': join(folder, 'key.pem'),
      token: 'first-token',
    };
    const ask = await asker(t, double.kubeconfig(user));
    await ask();
    await ask();
    assert.equal(double.connections, 1);
    install(serverCert, serverKey);
    await ask();
    await ask();
    assert.equal(double.connections, 2);
  });

  it('is who the user of the kubeconfig is to be, with all that makes the other one', async (t) => {
    const double = await startDouble(t);
    const as = {
      as: 'jane',
      'as-uid': '7',
      'as-groups': ['readers', 'system:authenticated'],
      'as-user-extra': { 'acme.com/project': ['shop', 'till'] },
    };
    await (await asker(t, double.kubeconfig({ token: 'first-token', ...as })))();
    const lines = Object.entries(double.requests.at(-1)?.headerLines ?? {});
    assert.deepEqual(Object.fromEntries(lines.filter(([name]) => name.startsWith('impersonate-'))), {
      'impersonate-user': ['jane'],
      'impersonate-uid': ['7'],
      'impersonate-group': ['readers', 'system:authenticated'],
      'impersonate-extra-acme.com%2fproject': ['shop', 'till'],
    });
  });

  it('reaches a server behind a path, by another name than that of its certificate', async (t) => {
    const double = await startDouble(t);
    const server = `${double.url}/k8s/clusters/c-1/`;
    const ask = await asker(t, double.kubeconfig(undefined, { server, 'tls-server-name': 'localhost' }));
    double.fail(/^GET \/k8s\/clusters\/c-1\/api\/v1\/nodes\/a$/, { kind: 'raw', body: '{"found":true}' });
    assert.deepEqual(await ask(), { found: true });
  });

  it('goes through an HTTP proxy', async (t) => {
    const double = await startDouble(t);
    const proxy = await startProxy(t);
    const ask = await asker(t, double.kubeconfig(undefined, { 'proxy-url': proxy.url }));
    await ask();
    assert.deepEqual(proxy.tunnels, [new URL(double.url).host]);
  });
});

describe('a plugin', { timeout: PATIENCE_MS }, () => {
  /** A user with a plugin that runs this shell script, whose path is relative to the kubeconfig. */
  const withPlugin = (t: TestContext, double: ApiDouble, script: string): string => {
    const folder = double.certificates.folder;
    writeFileSync(join(folder, 'plugin'), `#!/bin/sh\ncd '${folder}'\necho x >>calls\n${script}\n`, {
      mode: 0o755,
    });
    t.after(() => rmSync(join(folder, 'calls'), { force: true }));
    const exec = {
      apiVersion: 'client.authentication.k8s.io/v1',
      command: './plugin',
      args: ['an argument'],
      env: [{ name: 'WHO', value: 'me' }],
    };
    return double.kubeconfig({ exec });
  };
  const written = (double: ApiDouble, name: string) => {
    const file = join(double.certificates.folder, name);
    return existsSync(file) ? readFileSync(file, 'utf8') : '';
  };
  const calls = (double: ApiDouble) => written(double, 'calls').length / 2;

  it('says who we are, until it has expired or the server refuses it', async (t) => {
    const double = await startDouble(t);
    const credential = (status: object) =>
      `cat <<'END'\n${JSON.stringify({ apiVersion: 'client.authentication.k8s.io/v1', kind: 'ExecCredential', status })}\nEND`;
    const kubeconfig = withPlugin(
      t,
      double,
      `echo "$KUBERNETES_EXEC_INFO $WHO $1" >told\n${credential({ token: 'first-token' })}`,
    );
    const ask = await asker(t, kubeconfig);
    await Promise.all([ask(), ask(), ask()]);
    await ask();
    assert.equal(calls(double), 1);
    const told = readFileSync(join(double.certificates.folder, 'told'), 'utf8');
    assert.equal(
      told,
      '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","spec":{"interactive":false}} me an argument\n',
    );

    double.tokens.clear();
    double.tokens.add('second-token');
    withPlugin(t, double, credential({ token: 'second-token', expirationTimestamp: '2026-01-01T00:00:00Z' }));
    await ask();
    assert.equal(calls(double), 2);
    await ask();
    assert.equal(calls(double), 3);
  });

  const failures: readonly (readonly [what: string, script: string, message: RegExp])[] = [
    ['that fails', 'echo "no login: run it first" >&2; exit 1', /^--kubeconfig: no login: run it first$/],
    ['that fails silently', 'exit 3', /^--kubeconfig: the plugin failed without a word$/],
    ['that says nothing of use', 'echo hello', /^--kubeconfig: .*JSON/],
    ['that says something else', 'echo "{}"', /^--kubeconfig: /],
    [
      'that waits for somebody to type',
      'read password; exit 1',
      /^--kubeconfig: the plugin failed without a word$/,
    ],
  ];
  const refused = (asking: Promise<unknown>, message: RegExp) =>
    assert.rejects(asking, (error: ApiError) => {
      assert.deepEqual([error.name, error.status, error.reason], ['ApiError', 0, 'Credentials']);
      assert.match(error.message, message);
      return true;
    });
  for (const [what, script, message] of failures)
    it(`${what} is an error of each request`, async (t) => {
      const double = await startDouble(t);
      const ask = await asker(t, withPlugin(t, double, script));
      for (let time = 0; time < 2; time++) await refused(ask(), message);
      assert.equal(calls(double), 2);
    });

  it('that never ends is an error of each request', async (t) => {
    const double = await startDouble(t);
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const kubeconfig = withPlugin(t, double, 'sleep 1000 & wait');
    const ask = await asker(t, kubeconfig, { env: {}, pluginTimeoutMs: 300 });
    for (let time = 1; time <= 2; time++) {
      const asking = refused(ask(), /^--kubeconfig: the plugin .*plugin does not end within 0\.3 s$/);
      await until(() => calls(double) === time, 'the plugin');
      t.mock.timers.tick(300);
      await asking;
    }
  });

  it('that leaves somebody behind who holds its output is an error, and nothing else', async (t) => {
    const double = await startDouble(t);
    // In a session of its own, so that the process group of the plugin is empty when its time is over.
    const kubeconfig = withPlugin(t, double, "setsid sh -c 'echo $$ >pid; exec sleep 1000' &");
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const ask = await asker(t, kubeconfig, { env: {}, pluginTimeoutMs: 300 });
    const asking = refused(ask(), /does not end within 0\.3 s$/);
    await until(() => written(double, 'pid').endsWith('\n'), 'who is left behind');
    t.mock.timers.tick(300);
    await asking;
    process.kill(Number(written(double, 'pid')), 'SIGKILL');
  });

  it('that is not there is an error too', async (t) => {
    const double = await startDouble(t);
    const exec = { apiVersion: 'client.authentication.k8s.io/v1', command: 'no-such-plugin' };
    const ask = await asker(t, double.kubeconfig({ exec }));
    await assert.rejects(ask(), /^ApiError: --kubeconfig: spawn no-such-plugin ENOENT$/);
  });
});

describe('a kubeconfig that cannot be used is refused in one line', { timeout: PATIENCE_MS }, () => {
  const user = { token: 'x' };
  const config = (more: object = {}, cluster: object = {}, users: object[] = [{ name: 'u', user }]) =>
    JSON.stringify({
      'current-context': 'x',
      clusters: [{ name: 'c', cluster: { server: 'https://localhost:1', ...cluster } }],
      users,
      contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
      ...more,
    });
  const provider = (name: string) =>
    config({}, {}, [{ name: 'u', user: { 'auth-provider': { name, config: {} } } }]);
  const other = (as: object) => config({}, {}, [{ name: 'u', user: { ...user, ...as } }]);
  const cases: readonly (readonly [text: string, message: RegExp])[] = [
    ['{', /cannot read \S+config: /],
    ['just words', /config is no kubeconfig$/],
    ['[1]', /config is no kubeconfig$/],
    ['', /it has no current-context\. Set one with kubectl config use-context\.$/],
    ['clusters: {}', /config: clusters is no list of objects$/],
    [config({ 'current-context': '' }), /it has no current-context/],
    [
      config({ 'current-context': 'y' }),
      /the cluster or the user of the context y is not in it\. Add it, or use another context\.$/,
    ],
    [config({ users: [] }), /the cluster or the user of the context x/],
    [config({}, { server: 'http://localhost:8080' }), /the server http:\/\/localhost:8080 is not https/],
    [config({}, { server: 'nonsense' }), /the server nonsense is not https/],
    [config({}, { server: 7 }), /./],
    [
      config({}, { 'proxy-url': 'socks5://localhost:1080' }),
      /the proxy-url socks5:\/\/localhost:1080 is not supported\. Use one with http or https\.$/,
    ],
    [provider('oidc'), /the auth-provider oidc of user u is not supported\. Use a plugin/],
    [provider('gcp'), /the auth-provider gcp/],
    [provider('azure'), /the auth-provider azure/],
    [other({ as: 'jane', 'as-groups': 'readers' }), /as-groups of user u is no list of texts\.$/],
    [other({ as: 'jane', 'as-user-extra': { a: 'b' } }), /as-user-extra a of user u is no list of texts\.$/],
    [other({ 'as-groups': ['readers'] }), /user u has as-uid, as-groups or as-user-extra without as\./],
  ];
  for (const [text, message] of cases)
    it(text.slice(0, 60) || 'empty', async (t) => {
      const path = join(temporaryFolder(t, 'oom-witness-connection'), 'config');
      writeFileSync(path, text);
      await assert.rejects(connect({ kubeconfig: path }, { env: {} }), (error: Error) => {
        assert.match(error.message, /^--kubeconfig: [^\n]{1,520}$/);
        assert.match(error.message, message);
        return true;
      });
    });

  it('a pipe', async (t) => {
    const pipe = join(temporaryFolder(t, 'oom-witness-connection'), 'config');
    execFileSync('mkfifo', [pipe]);
    await assert.rejects(
      connect({ kubeconfig: pipe }, { env: {} }),
      /^Error: --kubeconfig: cannot read \S+config: it is a pipe, and it is read again and again$/,
    );
  });

  it('no file, and none at all', async () => {
    await assert.rejects(
      connect({ kubeconfig: '/no/such' }, { env: {} }),
      /^Error: --kubeconfig: cannot read \/no\/such: no such file or directory$/,
    );
    await assert.rejects(
      connect({}, { env: { HOME: '/nowhere' } }),
      /^Error: --kubeconfig: not set, and this is no pod with a service account token\. Add --kubeconfig PATH\.$/,
    );
  });
});
