import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, openSync, readdirSync, readFileSync, readlinkSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { PATIENCE_MS } from './patience.ts';
import { until } from './sinks/contract.ts';
import { temporaryFolder } from './temporary-folder.ts';

const MAIN = fileURLToPath(new URL('../src/main.ts', import.meta.url));
const STAND_INS = new URL('./fixtures/cli/stand-ins.ts', import.meta.url).href;
const NODE_FLAGS = ['--disable-warning=ExperimentalWarning'];
const VERSION = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')).version;

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** The real program, as a user starts it, with nothing in its environment. */
function run(
  args: readonly string[],
  env: Record<string, string> = {},
  nodeFlags: readonly string[] = [],
): Ended {
  const child = spawnSync(process.execPath, [...NODE_FLAGS, ...nodeFlags, MAIN, ...args], {
    env,
    encoding: 'utf8',
    timeout: PATIENCE_MS,
  });
  return { code: child.status, out: child.stdout, err: child.stderr };
}

/** `run` with the agent and the analysis replaced by files under fixtures/cli that tell what they were given. */
const runWithStandIns = (args: readonly string[]) => run(args, {}, [`--import=${STAND_INS}`]);

/** The program while it runs the agent's stand-in. */
function start(t: TestContext, env: Record<string, string> = {}) {
  const child = spawn(process.execPath, [...NODE_FLAGS, `--import=${STAND_INS}`, MAIN], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(() => child.kill('SIGKILL'));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return { child, line: async () => (await lines.next()).value, ended: endOf(child) };
}

async function endOf(child: ChildProcess): Promise<number | null> {
  return (await once(child, 'exit'))[0];
}

test('--version is that of the package', () => {
  for (const flag of ['--version', '-V'])
    assert.deepEqual(run([flag]), { code: 0, out: `oom-witness ${VERSION}\n`, err: '' });
});

test('--help has a group for the agent and for each sink, examples and exit codes, and fits into 100 columns', () => {
  const { code, out, err } = run(['--help']);
  assert.deepEqual([code, err], [0, '']);
  for (const heading of [
    'Commands:',
    'Agent:',
    'Delivery to stdout:',
    'Delivery to file:',
    'Examples:',
    'Exit codes:',
  ])
    assert.ok(out.includes(`\n${heading}`), heading);
  assert.doesNotMatch(out, /--pr\b/, 'names of replaced programs are accepted, not shown');
  assert.deepEqual(
    out.split('\n').filter((line) => line.length > 100),
    [],
  );
  assert.equal(run(['run', '--help']).out, out);
});

test('the other commands have a help of their own', () => {
  assert.match(run(['analyze', '--help']).out, /^Usage: oom-witness analyze .*\[FILE\.\.\.\]/);
  assert.match(run(['config', '--help']).out, /^Usage: oom-witness config .*<print>/);
});

test('every flag of oom-notifier, and its other name, is accepted', () => {
  const flags: readonly (readonly [string, string, string])[] = [
    ['--process-refresh', '--pr', '100'],
    ['--kernel-log-refresh', '--kr', '100'],
    ['--syslog-proto', '--sp', 'udp'],
    ['--syslog-server', '--ss', '127.0.0.1:514'],
    ['--elasticsearch-server', '--es', 'http://127.0.0.1:9200'],
    ['--elasticsearch-index', '--ei', 'oom'],
    ['--kafka-brokers', '--kb', '127.0.0.1:9092'],
    ['--kafka-topic', '--kt', 'oom'],
    ['--slack-webhook', '--slw', 'https://hooks.slack.com/services/T/B/X'],
    ['--slack-channel', '--slc', '#oom'],
  ];
  const long = run(['config', 'print', ...flags.flatMap(([name, , value]) => [name, value])]);
  const short = run(['config', 'print', ...flags.flatMap(([, alias, value]) => `${alias}=${value}`)]);

  assert.deepEqual([long.code, long.err, short.code, short.err], [0, '', 0, '']);
  assert.match(long.out, /^# delivers to: elasticsearch, kafka, slack, stdout, syslog$/m);
  assert.equal(withoutOrigins(short.out), withoutOrigins(long.out));
  assert.ok(!long.out.includes('hooks.slack.com'), 'the webhook is a secret');
});

test('the switches of missing-container-metrics, with and without a value', () => {
  const replaced = ['config', 'print', '--json', '--replace', 'missing-container-metrics'];
  const sockets = (...args: string[]) => {
    const { out, err } = run([...replaced, ...args]);
    assert.equal(err, '');
    const { options } = JSON.parse(out);
    return ['docker-socket', 'containerd-socket', 'bind-address'].map((name) => options[name].value);
  };
  assert.deepEqual(sockets('--docker', '--bind-address', ':4001'), ['auto', 'auto', ':4001']);
  assert.deepEqual(sockets('--containerd=false', '--docker'), ['auto', 'off', ':3001']);
  assert.deepEqual(sockets('--docker=f', '--containerd'), ['off', 'auto', ':3001']);
});

const withoutOrigins = (text: string) => text.replaceAll(/ +# (flag|unset|default).*$/gm, '');

test('config print takes flags before and after it, and has a form for programs', () => {
  const expected = { value: '250', origin: { kind: 'flag', name: '--process-refresh' } };
  for (const args of [
    ['config', 'print', '--json', '--process-refresh', '250'],
    ['--process-refresh=250', 'config', 'print', '--json'],
  ])
    assert.deepEqual(JSON.parse(run(args).out).options['process-refresh'], expected);
});

test('what is wrong is one line that names it, with exit code 2, before anything starts', () => {
  const wrong: readonly (readonly [args: string[], env: Record<string, string>, line: string])[] = [
    [
      ['--kafka-topic', 'oom'],
      {},
      '--kafka-topic is set but --kafka-brokers is not. Add --kafka-brokers host:9092 (or OOM_WITNESS_KAFKA_BROKERS).',
    ],
    [['--kafka-broker', 'x'], {}, "unknown option '--kafka-broker' (Did you mean --kafka-brokers?)"],
    [['config', 'print', '--xyzzy'], {}, "unknown option '--xyzzy'. See --help."],
    [['--state-dir'], {}, "option '--state-dir PATH' argument missing. See --help."],
    [['--no-redact=yes'], {}, "unknown option '--no-redact=yes'. See --help."],
    [['analyse'], {}, 'there is no command "analyse". There are run, watch, analyze, config.'],
    [['run', 'now'], {}, 'too many arguments for run. See --help.'],
    [
      ['config', 'check'],
      {},
      "command-argument value 'check' is invalid for argument 'print'. Allowed choices are print. See --help.",
    ],
    [
      ['analyze', '--listen', 'off', 'log'],
      {},
      '--listen means nothing to analyze. See oom-witness analyze --help.',
    ],
    [
      [],
      { OOM_WITNESS_LISTEN: 'a\u001b[31mb\nc' },
      '--listen (OOM_WITNESS_LISTEN): must be HOST:PORT, [IPV6]:PORT or off (got "a\\x1b[31mb\\x0ac").',
    ],
    [
      ['watch', '--replace', 'kubernetes-oom-event-generator,oom-messages-exporter'],
      {},
      '--replace oom-messages-exporter: oom-witness watch knows no processes. Run the agent of each node with it.',
    ],
    [
      ['watch'],
      { OOM_WITNESS_METRICS: 'own,oom-messages-exporter' },
      '--metrics oom-messages-exporter: oom-witness watch knows no processes. Run the agent of each node with it.',
    ],
    [['--config', '/nowhere'], {}, '--config: /nowhere: cannot be read: no such file or directory.'],
  ];
  for (const [args, env, line] of wrong)
    assert.deepEqual(run(args, env), { code: 2, out: '', err: `oom-witness: ${line}\n` }, args.join(' '));
});

test('a configuration comes out of a pipe, too', () => {
  const { status, stdout } = spawnSync(
    'bash',
    ['-c', '"$@" config print --json --config <(echo "host-name: node-7")', '', process.execPath, MAIN],
    { env: {}, encoding: 'utf8', timeout: 30_000 },
  );
  assert.equal(status, 0);
  assert.equal(JSON.parse(stdout).options['host-name'].value, 'node-7');
});

test('a pipe that nobody writes to does not make it deaf', async (t) => {
  const pipe = join(temporaryFolder(t, 'oom-witness-pipe'), 'pipe');
  execFileSync('mkfifo', [pipe]);
  for (const [option, signal] of [
    ['--config', 'SIGTERM'],
    ['--slack-webhook-file', 'SIGINT'],
  ] as const) {
    const child = spawn(process.execPath, [...NODE_FLAGS, MAIN, option, pipe], {
      env: {},
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    t.after(() => child.kill('SIGKILL'));
    let err = '';
    child.stderr.setEncoding('utf8').on('data', (text) => (err += text));
    await until(() => openFiles(child.pid!).includes(pipe), `it to wait for ${option}`, 60_000);
    child.kill(signal);
    assert.equal((await once(child, 'close'))[0], 2);
    assert.equal(
      err,
      `oom-witness: ${option}: ${pipe}: cannot be read: it is a pipe, and its end had not come before ${signal}.\n`,
    );
  }
});

function openFiles(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`);
    } catch {
      return []; // closed meanwhile
    }
  });
}

test('run is what happens without a command; its exit code is the agent’s', async (t) => {
  const { child, line, ended } = start(t);
  assert.equal(await line(), 'started with stdout');
  child.kill('SIGHUP');
  assert.equal(await line(), 'reopened');
  child.kill('SIGTERM');
  assert.equal(await line(), 'asked to stop: SIGTERM');
  assert.equal(await ended, 7);
});

test('a second signal does not wait for what the first one began', async (t) => {
  for (const [signal, code] of [
    ['SIGTERM', 143],
    ['SIGINT', 130],
  ] as const) {
    const { child, line, ended } = start(t, { LOGGING_LEVEL: 'trace' });
    await line();
    child.kill('SIGTERM');
    assert.equal(await line(), 'asked to stop: SIGTERM');
    await until(() => !child.kill(signal), 'it to end');
    assert.equal(await ended, code);
  }
});

test('who asks while the program is still being read is heard', async (t) => {
  for (const signal of ['SIGTERM', 'SIGINT']) {
    const { line, ended } = start(t, { SIGNAL: signal });
    assert.equal(await line(), 'started with stdout');
    assert.equal(await line(), `asked to stop: ${signal}`);
    assert.equal(await ended, 7);
  }
});

test('a signal does not open the debugger of Node.js', async (t) => {
  const child = spawn(process.execPath, [...NODE_FLAGS, `--import=${STAND_INS}`, MAIN], {
    env: {},
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  t.after(() => child.kill('SIGKILL'));
  let err = '';
  child.stderr.setEncoding('utf8').on('data', (text) => (err += text));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  await lines.next();
  child.kill('SIGUSR1');
  child.kill('SIGHUP');
  await lines.next();
  child.kill('SIGTERM');
  await once(child, 'close');
  assert.doesNotMatch(err, /Debugger listening/);
});

test('watch has no thread that waits for what to capture, wherever its flags stand', () => {
  for (const args of [
    ['watch', '--listen', 'off'],
    ['--listen', 'off', 'watch'],
  ]) {
    const { code, out } = runWithStandIns(args);
    assert.equal(code, 0);
    assert.match(out, /^node-MainThread$/m);
    assert.doesNotMatch(out, /^capture$/m);
  }
});

test('analyze writes for programs into a pipe, and for people when it is asked to', () => {
  const log = fileURLToPath(new URL('./fixtures/kmsg/6.1/child.kmsg', import.meta.url));
  assert.match(run(['analyze', log]).out, /^\{"schema":/);
  assert.match(run(['analyze', '--json', log]).out, /^\{"schema":/);
  assert.match(run(['analyze', '--text', log]).out, /^--:--:-- {2}OOM KILL {2}/);
  assert.match(run(['analyze', '--text', '--json', log]).err, /'--text' cannot be used with option '--json'/);
});

test('analyze gets the files, and standard input where there is none', () => {
  assert.equal(runWithStandIns(['analyze', 'a.log', '-', '--json']).out, 'a.log\n-\n');
  assert.equal(runWithStandIns(['analyze', '--json']).out, '-\n');
});

test('a reader of stdout that goes away ends it without a word', async (t) => {
  const files = Array.from({ length: 20_000 }, (_, index) => `${index}.log`);
  const child = spawn(process.execPath, [...NODE_FLAGS, `--import=${STAND_INS}`, MAIN, 'analyze', ...files], {
    env: {},
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  t.after(() => child.kill('SIGKILL'));
  let err = '';
  child.stderr.setEncoding('utf8').on('data', (text) => (err += text));
  child.stdout.once('data', () => child.stdout.destroy());
  assert.deepEqual([(await once(child, 'close'))[0], err], [0, '']);
});

test('a reader of stdout that stands still does not keep it from ending when it is asked to', async (t) => {
  const pipe = join(temporaryFolder(t, 'oom-witness-pipe'), 'pipe');
  execFileSync('mkfifo', [pipe]);
  const full = openSync(pipe, constants.O_RDWR | constants.O_NONBLOCK);
  t.after(() => closeSync(full));
  assert.throws(
    () => {
      for (;;) writeSync(full, Buffer.alloc(4096));
    },
    { code: 'EAGAIN' },
  );
  const child = spawn(process.execPath, [...NODE_FLAGS, `--import=${STAND_INS}`, MAIN], {
    env: { SIGNAL: 'SIGTERM' },
    stdio: ['ignore', full, 'inherit'],
  });
  t.after(() => child.kill('SIGKILL'));
  assert.equal(await endOf(child), 7);
});

test('what cannot be written to stdout is an error of its own', () => {
  const full = openSync('/dev/full', 'w');
  const { status, stderr } = spawnSync(process.execPath, [...NODE_FLAGS, MAIN, 'config', 'print'], {
    env: {},
    encoding: 'utf8',
    stdio: ['ignore', full, 'pipe'],
  });
  closeSync(full);
  assert.deepEqual([status, stderr], [1, 'oom-witness: ENOSPC: no space left on device, write\n']);
});
