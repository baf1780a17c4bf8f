/** The home folder of a node: its modules, made of the jars that Maven brought, and what they are told about themselves. */
import { execFile } from 'node:child_process';
import { mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';

export const run = promisify(execFile);

interface Module {
  readonly classname: string;
  readonly jars: (jar: string) => boolean;
  readonly extends?: string;
}

const NETTY: Module = {
  classname: 'org.elasticsearch.transport.netty4.Netty4Plugin',
  jars: (jar) => /^(transport-netty4|netty)-/.test(jar),
};

/** Belongs to the server itself, not to a module of it. */
const SERVER =
  /^(elasticsearch|lucene|log4j|log4j2|ecs|hppc|HdrHistogram|lz4|joni|jcodings|jopt|icu4j|t-digest|jna|jts|spatial4j|snakeyaml|jackson)-/;
const X_PACK_CORE =
  /^(x-pack-core|x-pack-template|unboundid|httpclient-4|httpcore|httpasyncclient|commons|elasticsearch-ssl-config|log4j-1\.2-api)/;
/** The same classes are in other jars too, and the server refuses to start then. */
const DUPLICATE = /^(jakarta\.activation-api|jcip-annotations-1\.0-1|listenablefuture)-?/;

/** @returns the server's class path */
export async function makeHome(home: string, version: string, jars: string): Promise<string> {
  const names = await readdir(jars);
  for (const folder of ['config', 'plugins', 'modules']) await mkdir(join(home, folder), { recursive: true });
  await addModule(home, 'transport-netty4', version, NETTY, jars, names);
  return names
    .filter((jar) => !NETTY.jars(jar))
    .map((jar) => join(jars, jar))
    .join(':');
}

/** The same with the security module. */
export async function makeSecureHome(home: string, version: string, jars: string): Promise<string> {
  const names = (await readdir(jars)).filter((jar) => !DUPLICATE.test(jar));
  const isCore = (jar: string) => X_PACK_CORE.test(jar);
  const isServer = (jar: string) => SERVER.test(jar) && !isCore(jar);
  for (const folder of ['config', 'plugins', 'modules']) await mkdir(join(home, folder), { recursive: true });
  await addModule(home, 'transport-netty4', version, NETTY, jars, names);
  await addModule(
    home,
    'x-pack-core',
    version,
    { classname: 'org.elasticsearch.xpack.core.XPackPlugin', jars: (jar) => isCore(jar) || NETTY.jars(jar) },
    jars,
    names,
  );
  await addModule(
    home,
    'x-pack-security',
    version,
    {
      classname: 'org.elasticsearch.xpack.security.Security',
      jars: (jar) => !isServer(jar) && !isCore(jar) && !NETTY.jars(jar),
      extends: 'x-pack-core',
    },
    jars,
    names,
  );
  const classpath = names
    .filter(isServer)
    .map((jar) => join(jars, jar))
    .join(':');
  await addModule(
    home,
    'api-key-analysis',
    version,
    { classname: 'ApiKeyAnalysis', jars: () => false },
    jars,
    [],
  );
  await compile(
    [join(import.meta.dirname, 'ApiKeyAnalysis.java')],
    join(home, 'modules', 'api-key-analysis', 'api-key-analysis.jar'),
    join(home, 'classes'),
    classpath,
  );
  await addSamlStandIns(home, jars, names);
  return classpath;
}

/** https://www.elastic.co/guide/en/elasticsearch/plugins/8.19/plugin-descriptor-file-java.html */
async function addModule(
  home: string,
  name: string,
  version: string,
  module: Module,
  jars: string,
  names: readonly string[],
): Promise<void> {
  const folder = join(home, 'modules', name);
  await mkdir(folder);
  await Promise.all(names.filter(module.jars).map((jar) => symlink(join(jars, jar), join(folder, jar))));
  const descriptor = {
    name,
    description: name,
    version,
    classname: module.classname,
    'java.version': '17',
    'elasticsearch.version': version,
    modulename: '',
    'extended.plugins': module.extends ?? '',
    'has.native.controller': 'false',
    licensed: 'false',
  };
  const lines = Object.entries(descriptor).map(([key, value]) => `${key}=${value}\n`);
  await writeFile(join(folder, 'plugin-descriptor.properties'), lines.join(''));
}

/**
 * Empty interfaces for the SAML types that x-pack-security names: the class loader wants them to exist, the SAML realm
 * itself is never used.
 */
async function addSamlStandIns(home: string, jars: string, names: readonly string[]): Promise<void> {
  const security = names.filter((jar) => /^x-pack-security-\d/.test(jar));
  const shaded = names.filter((jar) => /^es-opensaml-/.test(jar));
  const present = new Set((await classFiles(home, jars, shaded)).map(({ name }) => name));
  const named = new Set<string>();
  for (const { content } of await classFiles(home, jars, security))
    for (const [type] of content.matchAll(/(?:org\/opensaml|net\/shibboleth)\/(?:\w+\/)*[A-Z]\w*(?:\$\w+)?/g))
      named.add(type);

  const outer = new Set([...named].map((type) => type.split('$')[0]!).filter((type) => !present.has(type)));
  const sources = join(home, 'saml');
  const files: string[] = [];
  for (const type of outer) {
    const nested = [...named].filter((name) => name.startsWith(`${type}$`)).map((name) => name.split('$')[1]);
    const file = join(sources, `${type}.java`);
    await mkdir(join(file, '..'), { recursive: true });
    await writeFile(
      file,
      `package ${type.split('/').slice(0, -1).join('.')};\npublic interface ${basename(type)} {\n${nested
        .map((name) => `  interface ${name} {}\n`)
        .join('')}}\n`,
    );
    files.push(file);
  }
  await compile(
    files,
    join(home, 'modules', 'x-pack-security', 'saml-stand-ins.jar'),
    join(home, 'saml-classes'),
  );
}

async function classFiles(home: string, jars: string, names: readonly string[]) {
  const folder = join(home, 'unpacked', names[0] ?? 'none');
  await mkdir(folder, { recursive: true });
  for (const jar of names) await run('jar', ['xf', join(jars, jar)], { cwd: folder });
  const files = (await readdir(folder, { recursive: true })).filter((file) => file.endsWith('.class'));
  return Promise.all(
    files.map(async (file) => ({
      name: file.slice(0, -'.class'.length),
      content: await readFile(join(folder, file), 'latin1'),
    })),
  );
}

/** Java sources -> one jar. */
async function compile(
  sources: readonly string[],
  jar: string,
  classes: string,
  classpath = '',
): Promise<void> {
  await mkdir(classes, { recursive: true });
  await run('javac', ['--release', '17', '-cp', classpath || '.', '-d', classes, ...sources]);
  await run('jar', ['cf', jar, '-C', classes, '.']);
}
