import assert from 'node:assert/strict';
import { test } from 'node:test';
import { configText } from '../../src/config/config-print.ts';
import { OptionError } from '../../src/config/option.ts';
import { type Config, type Flag, loadConfig } from '../../src/config.ts';
import { PROGRAMS } from '../../src/replaced/programs.ts';

const NAMES = PROGRAMS.map(({ name }) => name);
const REPLACE: Flag = { name: 'replace', value: 'missing-container-metrics' };

function load(flags: readonly Flag[], environment: Record<string, string> = {}): Promise<Config> {
  return loadConfig([], { flags, environment });
}

async function refusal(flags: readonly Flag[], environment: Record<string, string> = {}): Promise<string> {
  const error = await load(flags, environment).then(
    () => assert.fail('it was accepted'),
    (thrown) => thrown,
  );
  assert.ok(error instanceof OptionError, error.stack);
  return error.message;
}

test('nothing is replaced unless asked for, and its variables say nothing', async () => {
  const environment = { BIND_ADDRESS: 'nonsense', DOCKER: 'false', DOCKER_HOST: 'tcp://10.0.0.1:2375' };
  const { replaced, metrics, dockerSocket, containerdSocket } = await load([], environment);
  assert.deepEqual(replaced, []);
  assert.deepEqual([...metrics], ['own']);
  assert.deepEqual([dockerSocket, containerdSocket], ['auto', 'auto']);
});

test('missing-container-metrics: its port, both sockets where they are', async () => {
  const config = await load([REPLACE]);
  const [{ program, listen } = assert.fail()] = config.replaced;
  assert.equal(program.name, 'missing-container-metrics');
  assert.deepEqual(listen, { host: '', port: 3001 });
  assert.deepEqual([config.dockerSocket, config.containerdSocket], ['auto', 'auto']);
  assert.match(configText(config), /^containerd-socket: auto +# --replace missing-container-metrics$/m);
});

test('its variables, behind ours and behind flags', async () => {
  const environment = {
    OOM_WITNESS_REPLACE: 'missing-container-metrics',
    BIND_ADDRESS: '127.0.0.1:4001',
    DOCKER: 'F',
    CONTAINERD: '0',
  };
  const config = await load([], environment);
  assert.deepEqual(config.replaced[0]?.listen, { host: '127.0.0.1', port: 4001 });
  assert.deepEqual([config.dockerSocket, config.containerdSocket], ['off', 'off']);
  assert.match(configText(config), /^bind-address: 127.0.0.1:4001 +# environment BIND_ADDRESS$/m);

  const flags: Flag[] = [
    { name: 'bind-address', value: '[::1]:5001' },
    { name: 'containerd-socket', value: '/run/c.sock' },
  ];
  const other = await load(flags, { ...environment, DOCKER_HOST: 'unix:///run/user/1000/docker.sock' });
  assert.deepEqual(other.replaced[0]?.listen, { host: '::1', port: 5001 });
  assert.deepEqual(
    [other.dockerSocket, other.containerdSocket],
    ['/run/user/1000/docker.sock', '/run/c.sock'],
  );
});

test('kubernetes-oom-event-generator: its port, its Events, its verbosity in all its forms', async () => {
  const replace: Flag = { name: 'replace', value: 'kubernetes-oom-event-generator' };
  const config = await load([replace]);
  assert.deepEqual(config.replaced[0]?.listen, { host: '', port: 10_254 });
  assert.deepEqual([config.useKubernetes, config.tellRestarts, config.logLevel], [true, true, 'info']);
  assert.equal((await load([])).tellRestarts, false);

  assert.equal((await load([replace], { VERBOSE: '2' })).logLevel, 'debug');
  assert.equal((await load([], { VERBOSE: 'yes' })).logLevel, 'info');
  for (const [name, value] of [
    ['verbose', '1'],
    ['v', '4'],
    ['v', '=3'],
  ] as const)
    assert.equal((await load([replace, { name, value }])).logLevel, 'debug', `${name} ${value}`);
  assert.equal((await load([replace, { name: 'v', value: '0' }], { VERBOSE: '2' })).logLevel, 'info');
  assert.equal(
    (await load([replace, { name: 'log-level', value: 'warn' }], { VERBOSE: '2' })).logLevel,
    'warn',
  );
  assert.equal(
    await refusal([replace, { name: 'v', value: 'loud' }]),
    '-v: must be a whole number, as in glog (got "loud").',
  );
  assert.equal(
    await refusal([{ name: 'verbose', value: '1' }]),
    '--verbose means nothing without --replace kubernetes-oom-event-generator. Add that, or leave it out.',
  );
});

test('what cannot be is one line that names the option and the mend', async () => {
  assert.equal(
    await refusal([{ name: 'replace', value: 'oomd' }]),
    `--replace: must be some of ${NAMES.join(', ')} (got "oomd").`,
  );
  assert.equal(
    await refusal([{ name: 'metrics', value: 'own,all' }]),
    `--metrics: must be some of ${['own', ...NAMES].join(', ')} (got "own,all").`,
  );
  assert.equal(
    await refusal([{ name: 'bind-address', value: ':3001' }]),
    '--bind-address means nothing without --replace missing-container-metrics. Add that, or leave it out.',
  );
  assert.equal(
    await refusal([REPLACE], { BIND_ADDRESS: '3001' }),
    '--bind-address (BIND_ADDRESS): must be :PORT, HOST:PORT or [IPV6]:PORT (got "3001").',
  );
  assert.equal(
    await refusal([REPLACE], { DOCKER_HOST: 'tcp://10.0.0.1:2375' }),
    'DOCKER_HOST: must be unix:///PATH. Docker is followed through its unix socket only: see --docker-socket.',
  );
  assert.equal(
    await refusal([REPLACE, { name: 'docker', value: 'maybe' }]),
    '--docker: must be true or false (got "maybe").',
  );
  assert.equal(
    await refusal([REPLACE, { name: 'bind-address', value: ':70000' }]),
    '--bind-address: must have a port of at most 65535 (got ":70000").',
  );
});

test('oom-messages-exporter: its port, its log, its interval', async () => {
  const config = await load([{ name: 'replace', value: 'oom-messages-exporter' }]);
  assert.deepEqual(config.replaced[0]?.listen, { host: '', port: 9001 });
  assert.deepEqual([config.logFile, config.kernelLogRefresh], ['/var/log/messages', 1000]);
  assert.deepEqual(config.notes, []);
  assert.match(configText(config), /^log-file: \/var\/log\/messages +# --replace oom-messages-exporter$/m);
});

test('oom-messages-exporter: its variables', async () => {
  const flags: Flag[] = [{ name: 'replace', value: 'oom-messages-exporter' }];
  const config = await load(flags, {
    oom_messages_exporter_PORT: '9101',
    oom_messages_exporter_MESSAGES_LOG: '/var/log/syslog',
    oom_messages_exporter_POLL_INTERVAL: '5',
    oom_messages_exporter_DEBUG: 'yes',
    oom_messages_exporter_TEST: 'yes',
  });
  assert.equal(config.replaced[0]?.listen.port, 9101);
  assert.deepEqual([config.logFile, config.kernelLogRefresh], ['/var/log/syslog', 5000]);
  assert.equal(config.logLevel, 'debug');
  assert.match(config.notes.join(), /^oom_messages_exporter_TEST: .*left alone$/);

  const quiet = await load(flags, { oom_messages_exporter_DEBUG: 'no' });
  assert.equal(quiet.logLevel, 'info');
  assert.equal(
    await refusal(flags, { oom_messages_exporter_POLL_INTERVAL: '0.5' }),
    'oom_messages_exporter_POLL_INTERVAL: must be whole seconds from 1 to 86400 (got "0.5").',
  );
  assert.match(
    await refusal(flags, { oom_messages_exporter_PORT: 'http' }),
    /^--oom-messages-exporter-port \(oom_messages_exporter_PORT\): must be a port/,
  );
});

test("oom-messages-exporter's metrics with the kernel's own log", async () => {
  const config = await load([
    { name: 'replace', value: 'oom-messages-exporter' },
    { name: 'log-file', value: 'off' },
  ]);
  assert.equal(config.logFile, undefined);
});
