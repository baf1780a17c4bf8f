import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { configJson, configText } from '../src/config/config-print.ts';
import { OptionError } from '../src/config/option.ts';
import { type Config, type Flag, loadConfig } from '../src/config.ts';
import { loadSinks } from '../src/sinks.ts';
import { temporaryFolder } from './temporary-folder.ts';

const SINKS = await loadSinks(new URL('./fixtures/sinks/', import.meta.url));

/** `load('--pigeon-lofts', 'paris', '--pigeon-fast')`, with an environment behind it. */
function load(flags: readonly string[], environment: Record<string, string> = {}): Promise<Config> {
  const parsed: Flag[] = [];
  for (const [index, word] of flags.entries()) {
    if (!word.startsWith('--')) continue;
    const next = flags[index + 1];
    parsed.push({ name: word.slice(2), value: next === undefined || next.startsWith('--') ? true : next });
  }
  return loadConfig(SINKS, { flags: parsed, environment });
}

async function refusal(flags: readonly string[], environment: Record<string, string> = {}): Promise<string> {
  const error = await load(flags, environment).then(
    () => assert.fail('it was accepted'),
    (thrown) => thrown,
  );
  assert.ok(error instanceof OptionError, error.stack);
  return error.message;
}

function file(t: TestContext, content: string | Uint8Array, name = 'oom-witness.yaml'): string {
  const folder = temporaryFolder(t, 'oom-witness-config');
  writeFileSync(join(folder, name), content);
  return join(folder, name);
}

const settingsOf = (config: Config, name: string) =>
  config.sinks.find((sink) => sink.name === name)?.settings;
const pigeon = (config: Config) => settingsOf(config, 'pigeon') as Record<string, unknown>;
const originOf = (config: Config, name: string) => config.options.find((each) => each.name === name)?.origin;

test('with nothing set there are defaults, and the sinks that nobody has to ask for', async () => {
  const { sinks, options, renewedApiToken, ...agent } = await load([]);
  assert.equal(await renewedApiToken(), undefined);
  assert.deepEqual(agent, {
    config: undefined,
    processRefresh: 5000,
    kernelLogRefresh: 10_000,
    logFile: undefined,
    eventFormat: 'incident',
    stateDir: '/var/lib/oom-witness',
    listen: { host: '127.0.0.1', port: 9110 },
    apiToken: undefined,
    redact: true,
    redactPatterns: [],
    drainTimeout: 10_000,
    logLevel: 'info',
    hostName: undefined,
    kubernetes: 'auto',
    kubeconfig: undefined,
    nodeName: undefined,
    leaseNamespace: 'oom-witness',
    podLabels: new Set([
      'app',
      'team',
      ...['name', 'instance', 'component', 'part-of', 'version'].map((each) => `app.kubernetes.io/${each}`),
    ]),
    podAnnotations: new Set(),
    enrichTimeout: 2000,
    dockerSocket: 'auto',
    containerdSocket: 'auto',
    metrics: new Set(['own']),
    replace: new Set(),
    useKubernetes: false,
    tellRestarts: false,
    notes: [],
    replaced: [],
  });
  assert.deepEqual(
    sinks.map(({ name }) => name),
    ['bottle'],
  );
  assert.ok(options.every(({ origin }) => origin.kind === 'default' || origin.kind === 'unset'));
});

test('a flag comes before the environment, that before the file, that before the default', async (t) => {
  const path = file(t, 'pigeon-lofts: file\npigeon-height: 1\nstate-dir: /file\n');
  const environment = { OOM_WITNESS_PIGEON_LOFTS: 'environment', OOM_WITNESS_PIGEON_HEIGHT: '2' };
  const config = await load(['--config', path, '--pigeon-lofts', 'flag'], environment);

  assert.deepEqual(pigeon(config).lofts, ['flag']);
  assert.equal(pigeon(config).height, 2);
  assert.equal(config.stateDir, '/file');
  assert.equal(config.drainTimeout, 10_000);
  assert.deepEqual(originOf(config, 'pigeon-lofts'), { kind: 'flag', name: '--pigeon-lofts' });
  assert.deepEqual(originOf(config, 'pigeon-height'), {
    kind: 'environment',
    name: 'OOM_WITNESS_PIGEON_HEIGHT',
  });
  assert.deepEqual(originOf(config, 'state-dir'), { kind: 'file', path, key: 'state-dir' });
  assert.deepEqual(originOf(config, 'drain-timeout'), { kind: 'default' });
});

test('everything is frozen, the settings of sinks too', async () => {
  const config = await load(['--pigeon-lofts', 'paris']);
  const { lofts, food } = pigeon(config) as { lofts: string[]; food: { grain: string[] } };
  for (const object of [
    config,
    config.listen,
    config.sinks,
    config.sinks[0],
    config.options[0],
    lofts,
    food.grain,
  ])
    assert.ok(Object.isFrozen(object));
});

test('an empty environment variable counts as unset', async () => {
  const config = await load([], { OOM_WITNESS_STATE_DIR: '', LOGGING_LEVEL: '', OOM_WITNESS_NONSENSE: '' });
  assert.equal(config.stateDir, '/var/lib/oom-witness');
  assert.equal(config.logLevel, 'info');
});

test("oom-notifier's variables are read, ours come first", async () => {
  const theirs = { LOGGING_LEVEL: 'oom_notifier=debug', HOSTNAME: 'pod-1' };
  const config = await load([], theirs);
  assert.equal(config.logLevel, 'debug');
  assert.equal(config.hostName, 'pod-1');
  assert.deepEqual(originOf(config, 'host-name'), { kind: 'environment', name: 'HOSTNAME' });
  assert.equal((await load([], { ...theirs, OOM_WITNESS_LOG_LEVEL: 'error' })).logLevel, 'error');
});

test("in a pod the node's name comes before the pod's, and the API is used unless that is switched off", async () => {
  const pod = { HOSTNAME: 'oom-witness-x2x', NODE_NAME: 'node-7', KUBERNETES_SERVICE_HOST: '10.96.0.1' };
  const config = await load([], pod);
  assert.equal(config.hostName, 'node-7');
  assert.equal(config.nodeName, 'node-7');
  assert.equal(config.useKubernetes, true);
  assert.equal((await load(['--host-name', 'rack-3'], pod)).hostName, 'rack-3');
  assert.equal((await load(['--kubernetes', 'off'], pod)).useKubernetes, false);
  assert.equal((await load([])).useKubernetes, false);
  assert.equal((await load(['--kubeconfig', '/admin.conf'])).useKubernetes, true);
});

test('names of a replaced program set the same option', async () => {
  const config = await load(['--pl', 'paris', '--pr', '100', '--kr', '200']);
  assert.deepEqual(pigeon(config).lofts, ['paris']);
  assert.equal(config.processRefresh, 100);
  assert.equal(config.kernelLogRefresh, 200);
});

test('of two equal flags the last counts; those that take a list are joined', async () => {
  const config = await load([
    ...['--state-dir', '/a', '--state-dir', '/b', '--pigeon-lofts', 'paris', '--pl', 'rome,oslo'],
    ...['--redact-pattern', 'a{1,2}', '--redact-pattern', 'b'],
  ]);
  assert.equal(config.stateDir, '/b');
  assert.deepEqual(pigeon(config).lofts, ['paris', 'rome', 'oslo']);
  assert.deepEqual(config.redactPatterns, [/a{1,2}/u, /b/u]);
});

test('a switch is true or false in words outside of the command line', async (t) => {
  assert.equal(pigeon(await load(['--pl', 'a', '--pigeon-fast'])).fast, true);
  for (const [text, fast] of Object.entries({ true: true, '1': true, yes: true, off: false, '0': false })) {
    const inEnvironment = await load(['--pl', 'a'], { OOM_WITNESS_PIGEON_FAST: text });
    const inFile = await load(['--pl', 'a', '--config', file(t, `pigeon: { fast: ${text} }`)]);
    assert.deepEqual([pigeon(inEnvironment).fast, pigeon(inFile).fast], [fast, fast], text);
  }
  assert.equal((await load([], { OOM_WITNESS_NO_REDACT: 'true' })).redact, false);
  assert.equal(
    await refusal([], { OOM_WITNESS_PIGEON_FAST: 'maybe' }),
    '--pigeon-fast (OOM_WITNESS_PIGEON_FAST): takes no value, or one of true, yes, on, 1, false, no, off, 0 (got "maybe").',
  );
});

test('the file may be flat or nested, with lists; values are the text that was written', async (t) => {
  const path = file(
    t,
    `# comment
pigeon:
  lofts: [paris, rome]
  ring: ring 0x1e3
  height: 020
redact-patterns:
  - 'a{1,2}'
  - b
process-refresh: 250
listen: off
`,
  );
  const config = await load([], { OOM_WITNESS_CONFIG: path });
  assert.deepEqual(pigeon(config).lofts, ['paris', 'rome']);
  assert.equal(pigeon(config).ring, 'ring 0x1e3');
  assert.equal(pigeon(config).height, 20);
  assert.equal(config.options.find(({ name }) => name === 'pigeon-height')?.text, '020');
  assert.deepEqual(config.redactPatterns, [/a{1,2}/u, /b/u]);
  assert.equal(config.processRefresh, 250);
  assert.equal(config.listen, 'off');
  assert.deepEqual(originOf(config, 'pigeon-lofts'), { kind: 'file', path, key: 'pigeon.lofts' });
});

test('a file that is not usable says what is wrong and where', async (t) => {
  const problems: readonly (readonly [content: string | Uint8Array, problem: string])[] = [
    ['pigeon: { loft: a }', 'pigeon.loft: no such option. Did you mean pigeon-lofts?'],
    ['xyzzy: 1', 'xyzzy: no such option. See --help.'],
    [
      'a: [',
      'Flow sequence in block collection must be sufficiently indented and end with a ] at line 1, column 5.',
    ],
    ['listen: off\nlisten: off', 'Map keys must be unique at line 2, column 1.'],
    ['- listen', 'must hold options like "kafka-brokers: host:9092".'],
    ['just text', 'must hold options like "kafka-brokers: host:9092".'],
    ['listen: [[a]]', 'listen must be a text or a list of texts.'],
    ['? [a, b]\n: c', 'a key must be the name of an option.'],
    ['listen: !secret x', 'Unresolved tag: !secret at line 1, column 9.'],
    ['pigeon: &a { lofts: *a }', `${['pigeon', ...Array(8).fill('lofts')].join('.')} is nested too deep.`],
    ['config: /other.yaml', 'cannot name another configuration file.'],
    [Uint8Array.of(0x61, 0xff), 'cannot be read: it is not UTF-8 text.'],
    [new Uint8Array(1024 * 1024 + 1), 'cannot be read: it is larger than 1048576 bytes.'],
  ];
  for (const [content, problem] of problems) {
    const path = file(t, content);
    assert.equal(await refusal(['--config', path]), `--config: ${path}: ${problem}`);
  }
  assert.equal(
    await refusal(['--config', '/nowhere/at.all']),
    '--config: /nowhere/at.all: cannot be read: no such file or directory.',
  );
  assert.equal((await load(['--config', file(t, '')])).processRefresh, 5000);
});

test('a value that is refused is shown with where it comes from', async (t) => {
  const path = file(t, 'process: { refresh: soon }');
  const rule = 'must be a whole number of milliseconds from 1 to 2147483647 (got "soon").';
  assert.equal(await refusal(['--process-refresh', 'soon']), `--process-refresh: ${rule}`);
  assert.equal(
    await refusal([], { OOM_WITNESS_PROCESS_REFRESH: 'soon' }),
    `--process-refresh (OOM_WITNESS_PROCESS_REFRESH): ${rule}`,
  );
  assert.equal(await refusal(['--config', path]), `--process-refresh (process.refresh in ${path}): ${rule}`);
});

test('an option without its partner is the message of the sink, with where it comes from', async () => {
  const message = '--pigeon-fast is set but --pigeon-lofts is not. Add --pigeon-lofts paris.';
  assert.equal(await refusal(['--pigeon-fast']), message);
  assert.equal(
    await refusal([], { OOM_WITNESS_PIGEON_FAST: 'yes' }),
    `${message} (--pigeon-fast comes from OOM_WITNESS_PIGEON_FAST.)`,
  );
});

test('what is given without a value, or as a list where there is one, is refused', async (t) => {
  const empty = 'is empty. Give it a value or leave it out.';
  const path = file(t, 'state-dir:');
  assert.equal(await refusal(['--state-dir', '']), `--state-dir: ${empty}`);
  assert.equal(await refusal(['--config', path]), `--state-dir (state-dir in ${path}): ${empty}`);
  const list = file(t, 'state-dir: [/a, /b]');
  assert.equal(
    await refusal(['--config', list]),
    `--state-dir (state-dir in ${list}): must be one value, not a list.`,
  );
});

test('an environment variable of ours that no option has is refused, with the nearest that is one', async () => {
  assert.equal(
    await refusal([], { OOM_WITNESS_PIGEON_LOFT: 'paris' }),
    'OOM_WITNESS_PIGEON_LOFT: no option has this environment variable. Did you mean OOM_WITNESS_PIGEON_LOFTS?',
  );
  assert.match(await refusal([], { OOM_WITNESS_XYZZY: '1' }), /OOM_WITNESS_XYZZY: .* See --help\.$/);
});

test('what Kubernetes puts into the environment for a Service called oom-witness is left alone', async () => {
  const config = await load([], {
    OOM_WITNESS_SERVICE_HOST: '10.0.0.7',
    OOM_WITNESS_SERVICE_PORT: '9110',
    OOM_WITNESS_SERVICE_PORT_HTTP: '9110',
    OOM_WITNESS_PORT: 'tcp://10.0.0.7:9110',
    OOM_WITNESS_PORT_9110_TCP: 'tcp://10.0.0.7:9110',
    OOM_WITNESS_PORT_9110_TCP_PROTO: 'tcp',
    OOM_WITNESS_PORT_9110_TCP_PORT: '9110',
    OOM_WITNESS_PORT_9110_TCP_ADDR: '10.0.0.7',
    OOM_WITNESS_METRICS_SERVICE_HOST: '10.0.0.8',
    OOM_WITNESS_TEST_CACHE: '/somewhere',
  });
  assert.ok(config.options.every(({ origin }) => origin.kind !== 'environment'));
  assert.match(await refusal([], { OOM_WITNESS_PORT: '9110' }), /^OOM_WITNESS_PORT: no option/);
});

test('a secret comes from a file too, from each of the three places', async (t) => {
  const ring = file(t, 'ring of gold \n\n', 'ring');
  const inFile = file(t, `pigeon: { ring-file: ${ring} }`);
  for (const config of [
    await load(['--pl', 'a', '--pigeon-ring-file', ring]),
    await load(['--pl', 'a'], { OOM_WITNESS_PIGEON_RING_FILE: ring }),
    await load(['--pl', 'a', '--config', inFile]),
  ])
    assert.equal(pigeon(config).ring, 'ring of gold');

  const flagWins = await load(['--pl', 'a', '--pigeon-ring', 'ring of tin'], {
    OOM_WITNESS_PIGEON_RING_FILE: ring,
  });
  assert.equal(pigeon(flagWins).ring, 'ring of tin');
});

test('a secret that is set twice in one place, or whose file is no use, is refused', async (t) => {
  const ring = file(t, 'ring of gold', 'ring');
  assert.equal(
    await refusal(['--pigeon-ring', 'ring of tin', '--pigeon-ring-file', ring]),
    '--pigeon-ring and --pigeon-ring-file both set --pigeon-ring. Keep one of them.',
  );
  assert.equal(
    await refusal([], { OOM_WITNESS_PIGEON_RING: 'ring of tin', OOM_WITNESS_PIGEON_RING_FILE: ring }),
    'OOM_WITNESS_PIGEON_RING and OOM_WITNESS_PIGEON_RING_FILE both set --pigeon-ring. Keep one of them.',
  );
  assert.equal(
    await refusal([], { OOM_WITNESS_PIGEON_RING_FILE: '/nowhere' }),
    '--pigeon-ring-file (OOM_WITNESS_PIGEON_RING_FILE): /nowhere: cannot be read: no such file or directory.',
  );
  const empty = file(t, '\n', 'ring');
  assert.equal(
    await refusal(['--pigeon-ring-file', empty]),
    `--pigeon-ring-file: ${empty}: is empty. Write the value of --pigeon-ring into it.`,
  );
});

test('of an option that names a file its text counts, and its path is shown', async (t) => {
  const map = file(t, 'map of rome\n', 'map');
  const config = await load(['--pl', 'rome'], { OOM_WITNESS_PIGEON_MAP: map });
  assert.equal(pigeon(config).map, 'map of rome');
  assert.equal(config.options.find(({ name }) => name === 'pigeon-map')?.text, map);
  assert.equal(
    await refusal(['--pigeon-map', '/nowhere']),
    '--pigeon-map: /nowhere: cannot be read: no such file or directory.',
  );
  const empty = file(t, '', 'map');
  assert.equal(
    await refusal(['--pigeon-map', empty]),
    `--pigeon-map: ${empty}: is empty. Write the value of --pigeon-map into it.`,
  );
});

/** A sink with a ring and a map in files of one folder. */
async function withFiles(t: TestContext) {
  const folder = temporaryFolder(t, 'oom-witness-config');
  const [ring, map] = [join(folder, 'ring'), join(folder, 'map')];
  writeFileSync(ring, 'ring of gold');
  writeFileSync(map, 'map of rome');
  const flags = ['--pl', 'rome', '--pigeon-ring-file', ring, '--pigeon-map', map];
  const sink = (await load(flags)).sinks.find(({ name }) => name === 'pigeon')!;
  const renewed = async () => (await sink.renewed()) as Record<string, unknown>;
  return { folder, ring, map, sink, renewed };
}

test('files that are replaced: the settings are outdated until they are made anew', async (t) => {
  const { ring, map, sink, renewed } = await withFiles(t);
  assert.equal(await sink.isOutdated?.(), false);

  writeFileSync(ring, 'ring of pure iron');
  assert.equal(await sink.isOutdated?.(), true);
  assert.deepEqual([(await renewed()).ring, (await renewed()).map], ['ring of pure iron', 'map of rome']);
  assert.equal(await sink.isOutdated?.(), false);

  writeFileSync(`${map}.new`, 'map of copenhagen');
  renameSync(`${map}.new`, map);
  assert.equal(await sink.isOutdated?.(), true);
  assert.equal((await renewed()).map, 'map of copenhagen');
  assert.equal(await sink.isOutdated?.(), false);
  assert.ok(Object.isFrozen(await renewed()));
});

test('the symlinks of a mounted Secret: their swap is seen', async (t) => {
  const folder = temporaryFolder(t, 'oom-witness-secret');
  const at = (name: string) => join(folder, name);
  const write = (generation: string, text: string) => {
    mkdirSync(at(generation));
    writeFileSync(at(`${generation}/ring`), text);
    symlinkSync(generation, at('..data_tmp'));
    renameSync(at('..data_tmp'), at('..data'));
  };
  write('..1', 'ring of gold');
  symlinkSync('..data/ring', at('ring'));
  const { sinks } = await load(['--pl', 'rome', '--pigeon-ring-file', at('ring')]);
  const sink = sinks.find(({ name }) => name === 'pigeon')!;
  assert.equal(await sink.isOutdated?.(), false);
  write('..2', 'ring of pure iron');
  assert.equal(await sink.isOutdated?.(), true);
  assert.equal(((await sink.renewed()) as { ring: string }).ring, 'ring of pure iron');
});

test('a file that is no use for a moment is an error that names it, and is read again', async (t) => {
  const { ring, map, sink, renewed } = await withFiles(t);
  const problem = () =>
    renewed().then(
      () => undefined,
      (error) => (error instanceof OptionError ? error.message : error),
    );
  writeFileSync(map, 'map of copenhagen');
  for (const [text, said] of [
    ['', `--pigeon-ring-file: ${ring}: is empty. Write the value of --pigeon-ring into it.`],
    ['no ring', '--pigeon-ring-file: Invalid start: Expected "ring " but received ***.'],
  ] as const) {
    writeFileSync(ring, text);
    assert.equal(await problem(), said);
    // Also where it has not changed since.
    assert.equal(await problem(), said);
  }
  writeFileSync(ring, 'ring of pure iron');
  assert.deepEqual(
    [(await renewed()).ring, (await renewed()).map],
    ['ring of pure iron', 'map of copenhagen'],
  );
  assert.equal(await sink.isOutdated?.(), false);
});

test('a file that was taken away is no change until another comes; a pipe is read once', async (t) => {
  const { folder, ring, sink, renewed } = await withFiles(t);
  rmSync(ring);
  assert.equal(await sink.isOutdated?.(), false);
  assert.equal((await renewed()).ring, 'ring of gold');
  writeFileSync(ring, 'ring of pure iron');
  assert.equal(await sink.isOutdated?.(), true);

  const pipe = join(folder, 'pipe');
  execFileSync('mkfifo', [pipe]);
  const loading = load(['--pl', 'rome', '--pigeon-ring-file', pipe]);
  await writeFile(pipe, 'ring of wood');
  const fromPipe = (await loading).sinks.find(({ name }) => name === 'pigeon')!;
  assert.equal(await fromPipe.isOutdated?.(), false);
  assert.equal(((await fromPipe.renewed()) as { ring: string }).ring, 'ring of wood');
});

test("the API token is its file's as it is now, of what is no use an error without it, and of a file that is gone the one before", async (t) => {
  const path = file(t, 'alpha\n', 'token');
  const { apiToken, renewedApiToken } = await load(['--api-token-file', path]);
  assert.deepEqual([apiToken, await renewedApiToken()], ['alpha', 'alpha']);
  for (const [text, said] of [
    ['', `--api-token-file: ${path}: is empty. Write the value of --api-token into it.`],
    ['be ta', '--api-token-file: must be letters, digits or any of -._~+/.'],
  ] as const) {
    writeFileSync(path, text);
    await assert.rejects(renewedApiToken(), new OptionError('api-token', said));
  }
  writeFileSync(path, 'beta');
  assert.equal(await renewedApiToken(), 'beta');
  rmSync(path);
  assert.equal(await renewedApiToken(), 'beta');
});

test('a secret is in no message and in no print, even where its schema would show it', async (t) => {
  // The message that valibot makes of its own accord quotes what it received.
  assert.equal(
    await refusal(['--pigeon-ring', 'gold']),
    '--pigeon-ring: Invalid start: Expected "ring " but received ***.',
  );
  const config = await load(['--pl', 'a', '--pigeon-ring-file', file(t, 'ring of gold', 'ring')]);
  const everything = `${configText(config)}${configJson(config)}${JSON.stringify(config.options)}`;
  assert.ok(!everything.includes('gold'));
  assert.match(configText(config), /^pigeon-ring: \*\*\* +# flag --pigeon-ring-file$/m);
});

test('the print shows every option with its value and origin', async (t) => {
  const path = file(t, 'host-name: node-7\nredact-patterns: ["a b", c]');
  const config = await load(['--config', path, '--pigeon-lofts', 'rome'], { OOM_WITNESS_LISTEN: 'off' });
  const lines = configText(config).split('\n');
  for (const line of [
    /^process-refresh: 5000 +# default$/,
    /^listen: off +# environment OOM_WITNESS_LISTEN$/,
    /^pigeon-lofts: rome +# flag --pigeon-lofts$/,
    /^# pigeon-ring: +# unset$/,
    /^redact-pattern: "a b\\nc" +# file /,
    /^# delivers to: bottle, pigeon$/,
  ])
    assert.ok(
      lines.some((each) => line.test(each)),
      `${line} is not in\n${lines.join('\n')}`,
    );
  assert.equal(lines.length, config.options.length + 2);

  const { options, sinks } = JSON.parse(configJson(config));
  assert.deepEqual(options['host-name'], {
    value: 'node-7',
    origin: { kind: 'file', path, key: 'host-name' },
  });
  assert.deepEqual(options['pigeon-ring'], { value: null, origin: { kind: 'unset' } });
  assert.deepEqual(sinks, ['bottle', 'pigeon']);
});

test('a print without secrets is a configuration file', async (t) => {
  const flags = ['--pl', 'rome,oslo', '--redact-pattern', 'a "b" \\d{1,2}', '--no-redact', '--pigeon-fast'];
  const first = await load(flags, { HOSTNAME: 'node-7' });
  const again = await load(['--config', file(t, configText(first))]);
  const told = ({ config: _, options: __, renewedApiToken: ___, sinks, ...rest }: Config) => ({
    ...rest,
    sinks: sinks.map(({ name, settings }) => ({ name, settings })),
  });
  assert.deepEqual(told(again), told(first));
});
