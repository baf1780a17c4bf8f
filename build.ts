/**
 * Bundles the agent into `dist/`: `src/main.js` is all of our own code with its sinks, `src/capture/thread.js` the
 * capture thread, and `packages/` what only some configurations load, a vendor's client for instance. The start reads
 * two files instead of the 59 that esbuild's splitting made of the same: 241 instead of 287 ms of CPU time to armed
 * (medians of 15 pairs on a busy machine). npm must receive it because Node.js strips no types under `node_modules`.
 * Does nothing where `dist` is newer than everything that it is made of.
 */
import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { dirname, join } from 'node:path';
import type { BuildOptions, Plugin } from 'esbuild';
import { SINK_NAME, sinkNames } from './src/sink-files.ts';

const ROOT = import.meta.dirname;
const DIST = join(ROOT, 'dist');
const MAIN = join(DIST, 'src', 'main.js');

/** Some of the clients are CommonJS and ask for Node.js's modules by `require`. */
const BANNER =
  "import{createRequire as requireFrom$}from'node:module';const require=requireFrom$(import.meta.url);";

/** What `await import('…')` of a package becomes. */
const packageFile = (path: string) => path.replace(/^@/, '').replaceAll(/[^a-z0-9]+/gi, '-');

/** Packages that load on demand are files of their own; all of our own code is one. Their names are put into `found`. */
const separatePackages = (found: Set<string>): Plugin => ({
  name: 'separate-packages',
  setup(build) {
    build.onResolve({ filter: /^[^./]/ }, ({ kind, path }) => {
      if (kind !== 'dynamic-import' || isBuiltin(path)) return;
      found.add(path);
      return { path: `../packages/${packageFile(path)}.js`, external: true };
    });
  },
});

/**
 * `await import('kafkajs')` gives what it gives in the checkout. By itself esbuild makes a file of a CommonJS package
 * that exports nothing but its default.
 */
const namedExports: Plugin = {
  name: 'named-exports',
  setup(build) {
    build.onResolve({ filter: /^[^./]/ }, async ({ kind, path }) => {
      if (kind !== 'entry-point') return;
      const exported = Object.keys(await import(path));
      // The name by which Node.js exports the whole of a CommonJS module.
      return exported.includes('module.exports')
        ? { path, namespace: 'package', pluginData: exported }
        : undefined;
    });
    build.onLoad({ filter: /.*/, namespace: 'package' }, ({ path, pluginData }) => {
      const names = (pluginData as string[]).filter(
        (name) => name !== 'default' && name !== 'module.exports',
      );
      const contents = [
        `const library = require(${JSON.stringify(path)});`,
        'export default library;',
        ...names.map((name, index) => `const named${index} = library[${JSON.stringify(name)}];`),
        ...names.map((name, index) => `export { named${index} as ${JSON.stringify(name)} };`),
      ];
      return { contents: contents.join('\n'), resolveDir: ROOT };
    });
  },
};

/** The sinks of the folder, instead of what looks for them at run time. */
const sinksOfTheFolder: Plugin = {
  name: 'sinks',
  setup(build) {
    build.onLoad({ filter: /\/src\/sink-files\.ts$/ }, () => {
      const names = sinkNames(new URL('sinks/', import.meta.url));
      const contents = [
        ...names.map((name, index) => `import * as sink${index} from '../sinks/${name}.ts';`),
        `export const SINK_NAME = ${SINK_NAME};`,
        'export const importSinks = () => [',
        ...names.map((name, index) => `{ name: '${name}', file: '${name}', module: sink${index} },`),
        '];',
      ];
      return { contents: contents.join('\n'), resolveDir: join(ROOT, 'src') };
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
  const common = {
    absWorkingDir: ROOT,
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'node',
    target: 'node24',
    banner: { js: BANNER },
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: 'none',
    logLevel: 'warning',
  } as const satisfies BuildOptions;
  const packages = new Set<string>();
  const own = await build({
    ...common,
    entryPoints: ['src/main.ts', 'src/capture/thread.ts'],
    outdir: DIST,
    outbase: ROOT,
    plugins: [plainBuiltins, sinksOfTheFolder, separatePackages(packages)],
  });
  const others = await build({
    ...common,
    entryPoints: [...packages].map((path) => ({ in: path, out: packageFile(path) })),
    outdir: join(DIST, 'packages'),
    splitting: true,
    plugins: [plainBuiltins, clientNode, namedExports],
  });
  const outputFiles = [...own.outputFiles, ...others.outputFiles];
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
