import * as v from 'valibot';
import { lacksPartner, type Option, OptionError } from '../config/option.ts';
import type { TlsMaterial } from '../net/http-post.ts';
import { tlsMaterial } from '../net/tls-files.ts';

export interface ElasticsearchSettings {
  /** Without credentials: these may be logged. */
  readonly servers: readonly string[];
  readonly index: string;
  readonly auth?: Credentials | { readonly apiKey: string };
  /** `ca` stands instead of the system's authorities. */
  readonly tls?: TlsMaterial;
}

interface Credentials {
  readonly username: string;
  readonly password: string;
}

interface Servers {
  readonly urls: readonly string[];
  readonly credentials?: Credentials;
}

const SERVER = 'elasticsearch-server';
const INDEX = 'elasticsearch-index';
const API_KEY = 'elasticsearch-api-key';
const USERNAME = 'elasticsearch-username';
const PASSWORD = 'elasticsearch-password';
const CA = 'elasticsearch-ca';
const CERT = 'elasticsearch-cert';
const KEY = 'elasticsearch-key';

const serversSchema = v.pipe(
  v.string(),
  v.rawTransform(({ dataset, addIssue, NEVER }): Servers => {
    try {
      return parseServers(dataset.value);
    } catch (error) {
      addIssue({ message: (error as Error).message });
      return NEVER;
    }
  }),
);

/** https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-indices-create: what an index may be called */
const indexSchema = v.pipe(
  v.string(),
  v.trim(),
  v.regex(
    /^(?!\.{0,2}$)[^-_+A-Z\\/*?"<>| ,#:\p{Cc}][^A-Z\\/*?"<>| ,#:\p{Cc}]*$/u,
    'is not the name of an index, alias or data stream: use lower case without blanks and \\ / * ? " < > | , # :, not beginning with - _ +',
  ),
  v.maxBytes(255, 'is longer than 255 bytes: use a shorter name'),
);

const visibleText = v.pipe(
  v.string(),
  v.trim(),
  v.regex(/^[\x21-\x7e]+$/, 'is empty or has characters that no API key has: copy it again'),
  // `id:api_key` is how Beats and Logstash take it; the header wants it encoded.
  v.transform((key) => (key.includes(':') ? Buffer.from(key).toString('base64') : key)),
);

/** RFC 7617: a colon would end the user's name. */
const usernameSchema = v.pipe(
  v.string(),
  v.regex(/^[^:\p{Cc}]+$/u, 'is empty or has a colon or a control character: no user is called that'),
);

const someText = v.pipe(v.string(), v.nonEmpty('is empty: give it a value or leave it out'));

export const options: readonly Option[] = [
  {
    name: SERVER,
    value: 'URL,…',
    help: 'Elasticsearch 8 or 9; several URLs are nodes of one cluster',
    schema: serversSchema,
    aliases: ['es'],
    secret: true, // an URL may carry credentials
  },
  {
    name: INDEX,
    value: 'NAME',
    help: 'index, alias or data stream that takes the incidents',
    schema: indexSchema,
    aliases: ['ei'],
  },
  {
    name: API_KEY,
    value: 'KEY',
    help: 'API key, encoded or as ID:KEY',
    schema: visibleText,
    secret: true,
  },
  { name: USERNAME, value: 'NAME', help: 'user of Elasticsearch', schema: usernameSchema },
  {
    name: PASSWORD,
    value: 'TEXT',
    help: 'password of that user',
    schema: someText,
    secret: true,
  },
  {
    name: CA,
    value: 'PATH',
    help: "PEM: authorities to trust instead of the system's",
    schema: someText,
    file: true,
  },
  { name: CERT, value: 'PATH', help: 'PEM: client certificate', schema: someText, file: true },
  {
    name: KEY,
    value: 'PATH',
    help: 'PEM: private key of the client certificate',
    schema: someText,
    file: true,
  },
];

export function settings(values: Readonly<Record<string, unknown>>): ElasticsearchSettings | undefined {
  const servers = values[SERVER] as Servers | undefined;
  const index = values[INDEX] as string | undefined;
  if (servers === undefined && index === undefined) {
    const alone = options.find(({ name }) => values[name] !== undefined);
    if (alone) throw lacksPartner(alone.name, SERVER, 'http://host:9200');
    return undefined;
  }
  if (servers === undefined) throw lacksPartner(INDEX, SERVER, 'http://host:9200');
  if (index === undefined) throw lacksPartner(SERVER, INDEX, 'NAME');
  return Object.freeze({
    servers: servers.urls,
    index,
    auth: auth(values, servers),
    tls: tls(values, servers),
  });
}

function auth(values: Readonly<Record<string, unknown>>, { credentials }: Servers) {
  const apiKey = values[API_KEY] as string | undefined;
  const username = values[USERNAME] as string | undefined;
  const password = values[PASSWORD] as string | undefined;
  if (username !== undefined && password === undefined) throw lacksPartner(USERNAME, PASSWORD, 'TEXT');
  if (password !== undefined && username === undefined) throw lacksPartner(PASSWORD, USERNAME, 'NAME');
  if (apiKey !== undefined && username !== undefined) throw excluded(API_KEY, `--${USERNAME}`);
  if (apiKey !== undefined && credentials) throw excluded(API_KEY, `a user in --${SERVER}`);
  if (username !== undefined && credentials) throw excluded(USERNAME, `a user in --${SERVER}`);
  if (apiKey !== undefined) return { apiKey };
  return username === undefined ? credentials : { username, password: password! };
}

function tls(values: Readonly<Record<string, unknown>>, { urls }: Servers): TlsMaterial | undefined {
  const given = [CA, CERT, KEY].find((name) => values[name] !== undefined);
  if (given !== undefined && !urls.some((url) => url.startsWith('https:')))
    throw new OptionError(
      given,
      `--${given} is set but --${SERVER} does not use TLS. Write https:// there, or leave out --${given}.`,
    );
  return tlsMaterial('elasticsearch', values);
}

/** Errors never repeat the text: it may hold a password. */
function parseServers(text: string): Servers {
  const urls = text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
    .map(parseServer);
  if (urls.length === 0) throw new Error('is empty: write http://host:9200');
  const credentials = urls.map(credentialsOf).filter((pair) => pair !== undefined);
  if (new Set(credentials.map((pair) => JSON.stringify(pair))).size > 1)
    throw new Error('has different users in its URLs: the nodes of one cluster share one, write it once');
  return {
    urls: [...new Set(urls.map((url) => `${url.origin}${url.pathname.replace(/\/+$/, '')}`))],
    credentials: credentials[0],
  };
}

function parseServer(text: string): URL {
  const url = URL.parse(text);
  if (!url || !/^https?:$/.test(url.protocol) || url.search || url.hash)
    throw new Error(
      'is not a list of addresses: write http://host:9200 or https://host:9200, with commas between',
    );
  return url;
}

function credentialsOf({ username, password }: URL): Credentials | undefined {
  if (username === '' && password === '') return undefined;
  if (username === '' || password === '')
    throw new Error(
      `has a user without a password or the reverse: write both, or use --${USERNAME} and --${PASSWORD}`,
    );
  try {
    return { username: decodeURIComponent(username), password: decodeURIComponent(password) };
  } catch {
    throw new Error(
      `has a % in its user or password that must be written as %25: or use --${USERNAME} and --${PASSWORD}`,
    );
  }
}

function excluded(option: string, other: string): OptionError {
  return new OptionError(
    option,
    `--${option} and ${other} exclude each other. Keep the one that Elasticsearch should check.`,
  );
}
