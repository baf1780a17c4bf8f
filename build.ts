/**
 * Bundles the agent into `dist/`, laid out like the sources: `dist/src/main.js`, `dist/sinks/*.js`, shared parts beside
 * `main.js`. npm must receive it because Node.js strips no types under `node_modules`. Does nothing where `dist` is
 * newer than everything that it is made of.
 */
import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { dirname, join } from 'node:path';
import type { Plugin } from 'esbuild';

const ROOT = import.meta.dirname;
const DIST = join(ROOT, 'dist');
const MAIN = join(DIST, 'src', 'main.js');

/** Loaded by path at run time: workers, and what `import()` names from another file's point of view. */
const ENTRIES = [
  'src/main.ts',
  'src/agent.ts',
  'src/cluster-watch.ts',
  'src/analyze/run.ts',
  'src/capture/thread.ts',
];

/** Some of the clients are CommonJS and ask for Node.js's modules by `require`. */
const BANNER =
  "import{createRequire as requireFrom$}from'node:module';const require=requireFrom$(import.meta.url);";

/**
 * `await import('kafkajs')` gives what it gives in the checkout. By itself esbuild makes a chunk of a CommonJS package
 * that exports nothing but its default.
 */
const lazyPackages: Plugin = {
  name: 'lazy-packages',
  setup(build) {
    build.onResolve({ filter: /^[^./]/ }, async ({ kind, path, importer }) => {
      if (kind !== 'dynamic-import' || path.startsWith('node:') || importer.includes('/node_modules/'))
        return;
      const exported = Object.keys(await import(path));
      // The name by which Node.js exports the whole of a CommonJS module.
      return exported.includes('module.exports')
        ? { path, namespace: 'lazy', pluginData: exported }
        : undefined;
    });
    build.onLoad({ filter: /.*/, namespace: 'lazy' }, ({ path, pluginData }) => {
      const names = (pluginData as string[]).filter(
        (name) => name !== 'default' && name !== 'module.exports',
      );
      const contents = [
        `const library = require(${JSON.stringify(path)});`,
        'export default library;',
        ...names.map((name, index) => `const lazy${index} = library[${JSON.stringify(name)}];`),
        ...names.map((name, index) => `export { lazy${index} as ${JSON.stringify(name)} };`),
      ];
      return { contents: contents.join('\n'), resolveDir: ROOT };
    });
  },
};

/** What is imported by client-node's `config.js` and never reached from src/kubernetes/kube-config.ts. */
const LEFT_OUT: Readonly<Record<string, readonly string[]>> = {
  // Classes of all kinds of objects, and their HTTP client: 45 MB of memory.
  './gen/index.js': ['createConfiguration', 'ServerConfiguration'],
  './middleware.js': ['setHeaderMiddleware'],
  undici: ['Agent', 'ProxyAgent'],
  // Node.js's own agent goes through proxies.
  hpagent: ['HttpProxyAgent', 'HttpsProxyAgent'],
  socks: ['SocksClient'],
  'socks-proxy-agent': ['SocksProxyAgent'],
  // Users with these providers are refused by name.
  './azure_auth.js': ['AzureAuth'],
  './gcp_auth.js': ['GoogleCloudPlatformAuth'],
  './oidc_auth.js': ['OpenIDConnectAuth'],
};

/**
 * The part of @kubernetes/client-node that says who we are, without the rest of it. What it reads as YAML is always JSON.
 */
const clientNode: Plugin = {
  name: 'client-node',
  setup(build) {
    build.onResolve({ filter: /.*/ }, ({ path, importer }) => {
      if (!importer.includes('/@kubernetes/client-node/')) return;
      return path in LEFT_OUT || path === 'js-yaml' ? { path, namespace: 'left-out' } : undefined;
    });
    build.onLoad({ filter: /.*/, namespace: 'left-out' }, ({ path }) => ({
      contents:
        path === 'js-yaml'
          ? 'export const load = JSON.parse;'
          : LEFT_OUT[path]!.map((name) => `export class ${name} { isAuthProvider() { return false; } }`).join(
              '\n',
            ),
    }));
  },
};

const IDENTIFIER = /^[a-z]\w*$/i;

/**
 * `import … from 'node:util'` makes Node.js evaluate every export of the module, getters too, that load more modules. Here
 * only what is imported is: 1.2 MB of anonymous memory and 10 ms of CPU time less, most of it for node:process and node:util.
 */
const plainBuiltins: Plugin = {
  name: 'plain-builtins',
  setup(build) {
    build.onResolve({ filter: /./ }, ({ path, kind }) =>
      kind === 'import-statement' && isBuiltin(path) ? { path, namespace: 'builtin' } : undefined,
    );
    build.onLoad({ filter: /./, namespace: 'builtin' }, ({ path }) => {
      const names = Object.keys(process.getBuiltinModule(path) ?? {}).filter((name) => IDENTIFIER.test(name));
      const contents = [
        `const builtin = /* @__PURE__ */ process.getBuiltinModule(${JSON.stringify(path)});`,
        'const pick = (name) => builtin[name];',
        'export default builtin;',
        // What is pure and not imported is left out. `delete` cannot be declared, hence the underscores.
        ...names.map((name) => `const _${name} = /* @__PURE__ */ pick('${name}');`),
        `export { ${names.map((name) => `_${name} as ${name}`).join(', ')} };`,
      ];
      return { contents: contents.join('\n') };
    });
  },
};

if (!isUpToDate())
  await bundle().catch((error) => {
    // What esbuild found wrong it has already printed.
    if (!Array.isArray(error.errors)) throw error;
    process.exitCode = 1;
  });

async function bundle(): Promise<void> {
  const { build } = await import('esbuild');
  const sinks = readdirSync(join(ROOT, 'sinks')).filter((file) => file.endsWith('.ts'));
  const entryPoints = [...ENTRIES, ...sinks.map((file) => `sinks/${file}`)];
  const { outputFiles } = await build({
    absWorkingDir: ROOT,
    entryPoints: entryPoints.filter((file) => existsSync(join(ROOT, file))),
    outdir: DIST,
    outbase: ROOT,
    bundle: true,
    splitting: true,
    write: false,
    format: 'esm',
    platform: 'node',
    target: 'node24',
    // Beside main.js, so that what is relative to a source file is so to its chunk.
    chunkNames: 'src/[name]-[hash]',
    banner: { js: BANNER },
    plugins: [plainBuiltins, clientNode, lazyPackages],
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: 'none',
    logLevel: 'warning',
  });
  rmSync(DIST, { recursive: true, force: true });
  for (const { path, contents } of outputFiles) {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, contents);
  }
  chmodSync(MAIN, 0o755);
}

function isUpToDate(): boolean {
  if (!existsSync(MAIN)) return false;
  const built = statSync(MAIN).mtimeMs;
  const files = ['build.ts', 'package.json', 'package-lock.json'].map((file) => join(ROOT, file));
  return [...files, ...tree(join(ROOT, 'src')), ...tree(join(ROOT, 'sinks'))].every(
    (file) => statSync(file).mtimeMs <= built,
  );
}

/** The folders too: what is deleted is seen by its folder's time alone. */
function tree(folder: string): string[] {
  return [
    folder,
    ...readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((file) => join(folder, file)),
  ];
}
