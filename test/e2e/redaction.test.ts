/** Secrets in the arguments of real victims, and every place that a command line gets to. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { AgentProcess, freshStateDir } from '../agent-process.ts';
import { launch, makeCgroup, whyNoKills } from '../kills/kills.ts';
import { receiveUdp } from '../servers/syslog-receiver.ts';
import { until } from '../sinks/contract.ts';
import { Receiver } from '../sinks/receiver.ts';

const skip = whyNoKills() ?? false;

/** Each stands for one form in which secrets are given; nothing else on the machine holds these texts. */
const SECRETS = ['s3cr3tA', 's3cr3tB', 's3cr3tC', 's3cr3tD', 's3cr3tE', 's3cr3tF', 's3cr3tG'] as const;
/** By which the victims of this test are told from others. */
const OURS = `--test=${process.pid}`;
const ARGUMENTS = [
  OURS,
  '--index=%d',
  '--password=s3cr3tA',
  'curl',
  '-u',
  'user:s3cr3tB',
  'TOKEN=s3cr3tC',
  'postgres://user:s3cr3tD@db/shop',
  'Authorization: Bearer s3cr3tE',
  '--api-key',
  's3cr3tF',
  '-----BEGIN PRIVATE KEY-----\ns3cr3tG\n-----END PRIVATE KEY-----',
];

/** What everything that left the agent says, by where it was found. */
type Found = ReadonlyMap<string, string>;

/** Runs an agent with all the sinks that need no server, has three victims killed and collects what came out. */
async function collect(t: TestContext, args: readonly string[]): Promise<Found> {
  const stateDir = freshStateDir(t);
  const folder = freshStateDir(t);
  const file = path.join(folder, 'incidents.jsonl');
  const webhook = await Receiver.start(t);
  const refusing = await Receiver.start(t, { react: () => ({ status: 400, body: 'invalid_payload' }) });
  const syslog = await receiveUdp(t);
  const sinks = [
    ...['--listen', '127.0.0.1:0', '--file', file, '--webhook-url', webhook.url],
    ...['--slack-webhook', `${refusing.url}/services/x`, '--syslog-server', `127.0.0.1:${syslog.port}`],
  ];
  const group = makeCgroup(16 << 20);
  t.after(() => group.remove());

  // One is there before the agent, so that its command line comes from a scan.
  const started = Promise.withResolvers<AgentProcess>();
  const start = async () =>
    started.resolve(await AgentProcess.start(t, { stateDir, args: [...sinks, ...args] }));
  const early = await launch(group, { count: 1, until: start, text: ARGUMENTS });
  const agent = await started.promise;
  const knows = (pids: readonly number[]) => agent.knows(pids);
  const knowsParent = (pids: readonly number[]) => agent.knows(pids, 'launch');
  const victims = [
    ...early,
    ...(await launch(group, { count: 1, until: knows, text: ARGUMENTS })),
    ...(await launch(group, { count: 1, mode: 'fork', until: knowsParent, text: ARGUMENTS })),
  ];
  const pids = victims.map(({ pid }) => pid);
  await agent.until(() => agent.of(pids).length === victims.length, 'telling three kills');
  const sources = agent.of(pids).map(({ victims }) => victims[0]?.capture.source);
  // The last is inherited, or has been read again since.
  assert.deepEqual([...new Set(sources)].filter((source) => source !== 'inherited').toSorted(), [
    'exec',
    'scan',
  ]);

  // More than five kills at a time, those of other tests too, are one message there, without command lines.
  const isToldBySlack = () => refusing.requests.some(({ body }) => body.includes(OURS));
  while (!isToldBySlack()) {
    const [one] = await launch(group, { count: 1, until: knows, text: ARGUMENTS });
    await agent.until(() => agent.of([one?.pid ?? 0]).length === 1, 'telling one more kill');
  }

  const { url } = agent.log.find(({ msg }) => msg === 'listening') as { url: string };
  const get = async (where: string) => (await fetch(new URL(where, url))).text();
  const found = new Map<string, string>();
  for (const where of ['/', '/api/incidents', '/metrics', '/readyz']) found.set(where, await get(where));
  // It ends when every sink has everything, and what the others refused is in the dead letters.
  assert.equal(await agent.terminate(), 0);
  assert.equal(agent.log.at(-1)?.msg, 'drained: every sink has everything');
  found.set('stdout json', JSON.stringify(agent.incidents));
  found.set('log', [...agent.stderr, ...agent.log.map((line) => JSON.stringify(line))].join('\n'));
  found.set('file', readFileSync(file, 'utf8'));
  found.set('webhook', webhook.requests.map(({ body }) => body).join('\n'));
  found.set('slack', refusing.requests.map(({ body }) => body).join('\n'));
  found.set('syslog', syslog.messages.join('\n'));
  for (const [name, text] of filesOf(stateDir)) found.set(name, text);

  // The same victims once more, read as people read them and from an agent that could not tidy up.
  const printed = path.join(folder, 'stdout.txt');
  const wrapper = ['sh', '-c', `exec "$@" >'${printed}'`, 'sh'];
  const second = await AgentProcess.start(t, { stateDir, wrapper, args: ['--stdout', 'text', ...args] });
  const [last] = await launch(group, { count: 1, until: (pids) => second.knows(pids), text: ARGUMENTS });
  await until(() => readFileSync(printed, 'utf8').includes(`pid ${last?.pid}: `), 'a block of text');
  await second.kill9();
  found.set('stdout text', readFileSync(printed, 'utf8'));
  for (const [name, text] of filesOf(stateDir)) found.set(`${name} after kill -9`, text);
  return found;
}

function filesOf(folder: string): [string, string][] {
  return readdirSync(folder).map((name) => [name, readFileSync(path.join(folder, name), 'latin1')]);
}

describe('secrets in the command lines of victims', { skip }, () => {
  it('are in no output, not in the state folder, not in the log and not on the page', async (t) => {
    const found = await collect(t, []);
    for (const [where, text] of found)
      for (const secret of SECRETS) assert.ok(!text.includes(secret), `${secret} is in ${where}`);
    assert.match(found.get('file') ?? '', /--index=0","--password=\*\*\*"/);
  });

  it('are in each of these places with --no-redact, so that the search above looks where they would be', async (t) => {
    const found = await collect(t, ['--no-redact']);
    const whole = [
      ...['/', '/api/incidents', 'stdout json', 'file', 'webhook', 'slack', 'syslog', 'dead-letter.jsonl'],
      ...['oom-witness.db', 'processes.jsonl', 'oom-witness.db-wal after kill -9'],
    ];
    for (const where of whole)
      for (const secret of SECRETS)
        assert.ok(found.get(where)?.includes(secret), `${secret} is not in ${where}`);
    // A long command line is cut in the middle there.
    assert.match(found.get('stdout text') ?? '', new RegExp(SECRETS[0]));
  });
});
