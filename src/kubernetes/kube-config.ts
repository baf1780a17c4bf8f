/**
 * Where the cluster is and who we are, by @kubernetes/client-node. Only its `config.js` is loaded: the package's index brings
 * a class for every kind of object, and in the checkout (build.ts takes them out of the bundle) even this brings most of them.
 */
import type { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import type { RequestOptions } from 'node:https';
import path from 'node:path';
import type { KubeConfig } from '@kubernetes/client-node/dist/config.js';
import { ApiError } from './api.ts';
import type { Access, Credentials } from './credentials.ts';
import { impersonation } from './impersonation.ts';
import { type MergedKubeConfig, readKubeConfigs } from './kube-config-file.ts';
import { isObject, type OwnReason, reasonOf } from './status.ts';

/** What is said of the surroundings, so that a test can say something else. */
export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** In front of `/var/run/secrets/kubernetes.io/serviceaccount`. */
  readonly root?: string;
  readonly pluginTimeoutMs?: number;
}

const SERVICE_ACCOUNT_TOKEN = '/var/run/secrets/kubernetes.io/serviceaccount/token';
/** How long a plugin may take to say who we are; it may ask a cloud. */
const PLUGIN_TIMEOUT_MS = 30_000;

/** @throws Error with one line that names `--kubeconfig` and the mend */
export async function loadCredentials(
  kubeconfig: string | undefined,
  surroundings: Surroundings,
): Promise<Credentials> {
  try {
    const load = await loader(kubeconfig, surroundings);
    return new KubeConfigCredentials(serverOf(await load()), load);
  } catch (error) {
    throw new Error(`--kubeconfig: ${reasonOf(error)}`, { cause: error });
  }
}

/** A configuration as it is at the moment. The proxy is taken out: the agent of Node.js needs no other to go through it. */
interface Loaded {
  readonly config: KubeConfig;
  readonly proxy: string | undefined;
  /** Headers beside those of client-node. */
  readonly impersonation: Readonly<Record<string, string[]>>;
}

type Load = () => Promise<Loaded>;

/** In order: the option, `KUBECONFIG`, the pod's service account, and what kubectl uses without being told. */
async function loader(
  kubeconfig: string | undefined,
  { env, root = '', pluginTimeoutMs = PLUGIN_TIMEOUT_MS }: Surroundings,
): Promise<Load> {
  const { KubeConfig } = await import('@kubernetes/client-node/dist/config.js');
  const named = kubeconfig ? [kubeconfig] : (env.KUBECONFIG?.split(path.delimiter).filter(Boolean) ?? []);
  const inCluster = env.KUBERNETES_SERVICE_HOST !== undefined && existsSync(root + SERVICE_ACCOUNT_TOKEN);
  if (named.length === 0 && inCluster)
    return async () => {
      const config = new KubeConfig();
      config.loadFromCluster(root);
      return { config, proxy: undefined, impersonation: {} };
    };
  const home = path.join(env.HOME ?? '', '.kube', 'config');
  if (named.length === 0 && !existsSync(home))
    throw new Error('not set, and this is no pod with a service account token. Add --kubeconfig PATH.');
  const files = named.length > 0 ? named : [home];
  return async () => {
    const config = new KubeConfig();
    const merged = await readKubeConfigs(files);
    // JSON is YAML too.
    config.loadFromString(JSON.stringify(merged));
    limitPlugins(config, pluginTimeoutMs);
    const cluster = config.getCurrentCluster();
    const proxy = cluster?.proxyUrl;
    if (cluster !== null) Object.assign(cluster, { proxyUrl: undefined });
    return { config, proxy, impersonation: impersonationOf(merged, config.getCurrentUser()?.name) };
  };
}

function impersonationOf({ users }: MergedKubeConfig, name = ''): Record<string, string[]> {
  const user = users.find((each) => each.name === name)?.user;
  return isObject(user) ? impersonation(name, user) : {};
}

/** client-node lets a plugin run for ever, and wait for somebody to type something. */
function limitPlugins(config: KubeConfig, timeoutMs: number): void {
  const { authenticators } = config as unknown as { authenticators: { execFn?: typeof spawn }[] };
  const plugins = authenticators.find((authenticator) => authenticator.execFn !== undefined);
  if (plugins === undefined) throw new Error('this @kubernetes/client-node has no plugins');
  plugins.execFn = ((command: string, args: readonly string[] | undefined, options: object) => {
    const { spawn } = process.getBuiltinModule('node:child_process');
    // In a process group of its own: what it has started holds its output open.
    const plugin = spawn(command, args ?? [], {
      ...options,
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    const timer = setTimeout(() => {
      plugin.emit('error', new Error(`the plugin ${command} does not end within ${timeoutMs / 1000} s`));
      killGroup(plugin.pid);
      // Who has left the group may go on to hold its output.
      for (const output of [plugin.stdout, plugin.stderr]) output.destroy();
    }, timeoutMs);
    plugin.on('close', () => clearTimeout(timer));
    return plugin;
  }) as typeof spawn;
}

function killGroup(leader: number | undefined): void {
  try {
    if (leader !== undefined) process.kill(-leader, 'SIGKILL');
  } catch {
    // Nobody is left in it, or nobody whom we may end.
  }
}

function serverOf({ config, proxy }: Loaded): URL {
  const context = config.getCurrentContext();
  if (!context) throw new Error('it has no current-context. Set one with kubectl config use-context.');
  const cluster = config.getCurrentCluster();
  const user = config.getCurrentUser();
  if (!cluster || !user)
    throw new Error(
      `the cluster or the user of the context ${context} is not in it. Add it, or use another context.`,
    );
  const provider = user.authProvider?.name;
  // client-go took the first two out in 1.26; renewing the third needs an HTTP client of its own.
  if (['azure', 'gcp', 'oidc'].includes(provider))
    throw new Error(
      `the auth-provider ${provider} of user ${user.name} is not supported. Use a plugin (exec), a token file or a client certificate.`,
    );
  if (proxy && !/^https?:/.test(proxy))
    throw new Error(`the proxy-url ${proxy} is not supported. Use one with http or https.`);
  const server = URL.parse(cluster.server);
  if (server?.protocol !== 'https:')
    throw new Error(
      `the server ${cluster.server} is not https: whoever listens would read the token. Use its https address.`,
    );
  return server;
}

class KubeConfigCredentials implements Credentials {
  readonly server: URL;
  readonly #load: Load;
  #loaded: Loaded | undefined;
  #given: Access | undefined;
  #asking: Promise<Access> | undefined;

  constructor(server: URL, load: Load) {
    this.server = server;
    this.#load = load;
  }

  /**
   * client-node reads a token file again when a minute has passed (kubelet replaces a pod's token long before its end), asks a
   * plugin again when its answer has expired, and reads certificates each time.
   */
  current(): Promise<Access> {
    // Many requests at once ask a plugin once.
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  distrust(access: Access): void {
    // Others that were refused with it may have led to a new one already.
    if (access === this.#given) this.#loaded = undefined;
  }

  async #ask(): Promise<Access> {
    try {
      this.#loaded ??= await this.#load();
      const { config } = this.#loaded;
      const options: RequestOptions = { headers: {} };
      await config.applyToHTTPSOptions(options);
      this.#given = accessOf(options, this.#loaded);
      return this.#given;
    } catch (error) {
      // client-node keeps the answer of a plugin also where it cannot read it.
      this.#loaded = undefined;
      const reason: OwnReason = 'Credentials';
      throw new ApiError({ status: 0, reason, message: `--kubeconfig: ${whyOf(error)}` }, error);
    }
  }
}

/** The agent that client-node made is left aside: it keeps its certificates for ever, and no connection alive. */
function accessOf(options: RequestOptions, { proxy, impersonation }: Loaded): Access {
  const { ca, cert, key, rejectUnauthorized, servername, auth } = options;
  const tls = { ca, cert, key, rejectUnauthorized, servername };
  const entries = Object.entries(options.headers ?? {}).map(([name, value]) => [name, String(value).trim()]);
  return {
    headers: { ...Object.fromEntries(entries), ...impersonation },
    tls: {
      ...Object.fromEntries(Object.entries(tls).filter(([, value]) => value !== undefined)),
      ...(proxy ? { proxyEnv: { HTTPS_PROXY: proxy } } : {}),
    },
    ...(auth ? { auth } : {}),
  };
}

/** client-node throws what a plugin says on stderr, which may be nothing. */
function whyOf(error: unknown): string {
  return error instanceof Error && error.message === ''
    ? 'the plugin failed without a word'
    : reasonOf(error);
}
