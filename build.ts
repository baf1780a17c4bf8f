/**
 * Bundles the agent into `dist/`: `src/main.js` is the entry, `src/capture/thread.js` the capture thread,
 * `src/program.js` all the rest of our own code with its sinks, and `packages/` what only some configurations load, a
 * vendor's client for instance. The start reads three files instead of the 59 that esbuild's splitting made of the same: 241
 * instead of 287 ms of CPU time to armed (medians of 15 pairs on a busy machine). npm must receive it because Node.js
 * strips no types under `node_modules`. `compiled/` is what V8 makes of them.
 * Does nothing where `dist` is newer than everything that it is made of.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { BuildOptions, Plugin } from 'esbuild';
import { SINK_NAME, sinkNames } from './src/sink-files.ts';

const ROOT = import.meta.dirname;
const DIST = join(ROOT, 'dist');
const MAIN = join(DIST, 'src', 'main.js');
const COMPILED = join(DIST, 'compiled');

/**
 * Some of the packages are CommonJS and ask for Node.js's modules by `require`; they have everything else in the bundle. A
 * `createRequire` would load node:module and what reads source maps, in each thread.
 */
const BANNER = 'const require=process.getBuiltinModule;';

/** What `await import('…')` of a package becomes. */
const packageFile = (path: string) => path.replace(/^@/, '').replaceAll(/[^a-z0-9]+/gi, '-');

/**
 * Files of their own are the program, which is read when the entry has started the capture thread, and the packages that load
 * on demand. Their names are put into `found`.
 */
const separateFiles = (found: Set<string>): Plugin => ({
  name: 'separate-files',
  setup(build) {
    build.onResolve({ filter: /^\.\/program\.ts$/ }, () => ({ path: './program.js', external: true }));
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

const classes = (...names: readonly string[]) =>
  names.map((name) => `export class ${name} { isAuthProvider() { return false; } }`).join('\n');

/** What packages import and never use in this program: package -> what it imports -> what it gets. */
const LEFT_OUT: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  '@kubernetes/client-node': {
    // Classes of all kinds of objects, and their HTTP client: 45 MB of memory.
    './gen/index.js': classes('createConfiguration', 'ServerConfiguration'),
    './middleware.js': classes('setHeaderMiddleware'),
    undici: classes('Agent', 'ProxyAgent'),
    // Node.js's own agent goes through proxies.
    hpagent: classes('HttpProxyAgent', 'HttpsProxyAgent'),
    socks: classes('SocksClient'),
    'socks-proxy-agent': classes('SocksProxyAgent'),
    // Users with these providers are refused by name.
    './azure_auth.js': classes('AzureAuth'),
    './gcp_auth.js': classes('GoogleCloudPlatformAuth'),
    './oidc_auth.js': classes('OpenIDConnectAuth'),
    // What it reads as YAML is always JSON.
    'js-yaml': 'export const load = JSON.parse;',
    // Node.js's own is a regular expression: 0.1 MB of its code, and 0.15 MB more from the second call on.
    'node:net': "export default { isIPv6: (host) => host.includes(':') };",
  },
  // Writers to descriptors and threads, which bring node:assert: the log writes by itself.
  pino: {
    'sonic-boom': 'module.exports = class {};',
    './transport': '',
    './lib/transport': '',
    'on-exit-leak-free': '',
  },
  // For subcommands that are programs of their own.
  commander: { 'node:child_process': '' },
};

const leftOut: Plugin = {
  name: 'left-out',
  setup(build) {
    build.onResolve({ filter: /./ }, ({ path, importer }) => {
      const from = Object.keys(LEFT_OUT).find((name) => importer.includes(`/node_modules/${name}/`));
      const contents = from && LEFT_OUT[from]?.[path];
      return contents === undefined ? undefined : { path, namespace: 'left-out', pluginData: contents };
    });
    build.onLoad({ filter: /./, namespace: 'left-out' }, ({ pluginData }) => ({ contents: pluginData }));
  },
};

const IDENTIFIER = /^[a-z]\w*$/i;

/**
 * Modules of functions that are loaded at the first call of one: few starts need them. node:fs/promises brings
 * node:readline, and 4 % of the time to armed; node:child_process, which @kubernetes/client-node imports for plugins, 0.2 MB.
 */
const AT_FIRST_CALL: ReadonlySet<string> = new Set([
  'node:child_process',
  'node:fs/promises',
  'node:v8',
  'node:vm',
]);

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
      const builtin = `process.getBuiltinModule(${JSON.stringify(path)})`;
      const isLate = AT_FIRST_CALL.has(path);
      const whole = isLate ? `{ ${names.map((name) => `${name}: _${name}`).join(', ')} }` : 'builtin';
      const contents = [
        isLate
          ? `const pick = (name) => (...args) => ${builtin}[name](...args);`
          : `const builtin = /* @__PURE__ */ ${builtin}; const pick = (name) => builtin[name];`,
        // What is pure and not imported is left out. `delete` cannot be declared, hence the underscores.
        ...names.map((name) => `const _${name} = /* @__PURE__ */ pick('${name}');`),
        `export { ${names.map((name) => `_${name} as ${name}`).join(', ')} };`,
        `export default ${whole};`,
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
    entryPoints: ['src/main.ts', 'src/program.ts', 'src/capture/thread.ts'],
    outdir: DIST,
    outbase: ROOT,
    plugins: [leftOut, plainBuiltins, sinksOfTheFolder, separateFiles(packages)],
  });
  const others = await build({
    ...common,
    entryPoints: [...packages].map((path) => ({ in: path, out: packageFile(path) })),
    outdir: join(DIST, 'packages'),
    splitting: true,
    plugins: [leftOut, plainBuiltins, namedExports],
  });
  const outputFiles = [...own.outputFiles, ...others.outputFiles];
  // The entry last: what was interrupted is not up to date.
  outputFiles.sort((a, b) => Number(a.path === MAIN) - Number(b.path === MAIN));
  rmSync(DIST, { recursive: true, force: true });
  for (const { path, contents } of outputFiles) {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, contents);
  }
  chmodSync(MAIN, 0o755);
  compile(outputFiles.map(({ path }) => path).filter((path) => path !== MAIN));
}

/**
 * What V8 makes of them is in the cache of src/compile-cache.ts then, for this Node.js and this kind of processor. Node.js compiles all
 * that is imported before it runs the first of it, and that ends the process: none of the files is run.
 */
function compile(files: readonly string[]): void {
  mkdirSync(COMPILED);
  const imports = ['data:text/javascript,process.exit()', ...files.map((file) => pathToFileURL(file).href)];
  const script = imports.map((name) => `import ${JSON.stringify(name)};`).join('\n');
  execFileSync(process.execPath, ['--input-type=module', '--eval', script], {
    env: { ...process.env, NODE_COMPILE_CACHE: COMPILED },
  });
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
