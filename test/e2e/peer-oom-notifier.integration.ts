/** Beside oom-notifier itself: the same flags, the same kills, the same words to Elasticsearch, Slack and syslog. */
import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { AgentProcess } from '../agent-process.ts';
import { launch, makeCgroup, whyNoKills } from '../kills/kills.ts';
import { peerProgram } from '../servers/peer.ts';
import { startServer } from '../servers/process.ts';
import { receiveStream } from '../servers/syslog-receiver.ts';
import { until } from '../sinks/contract.ts';
import { Receiver } from '../sinks/receiver.ts';

const NAME = 'oom-notifier';
const COUNT = 5;
const peer = peerProgram(NAME);
const skip = 'missing' in peer ? peer.missing : (whyNoKills() ?? false);

/** What has come: each as text. */
interface Got {
  readonly documents: readonly string[];
  readonly slack: readonly string[];
  readonly syslog: readonly string[];
}

describe(`beside ${NAME}`, { skip }, () => {
  it('real kills: what each sink gets is the same but for time and process id', async (t) => {
    assert.ok('executable' in peer);
    const [ours, theirs] = [await sinks(t), await sinks(t)];
    const program = await startServer({
      command: peer.executable,
      args: theirs.flags,
      env: { HOSTNAME: 'node-7' },
      ready: (line) => line.includes('Machine uptime is'),
    });
    t.after(() => program.stop());
    const agent = await AgentProcess.start(t, {
      args: [...ours.flags, '--event-format', NAME, '--stdout', 'off'],
      env: { HOSTNAME: 'node-7' },
    });
    const group = makeCgroup(16 << 20);
    t.after(() => group.remove());
    const text = ['--index=%d', 'a "quoted\\word"', 'häß€'];
    const victims = await launch(group, { count: COUNT, liveMs: 1_500, text });
    for (const { got } of [ours, theirs])
      await until(
        () => Object.values(got()).every((texts) => texts.length === COUNT),
        () => `${COUNT} of each: ${JSON.stringify(got())}\n${program.log()}`,
      );
    const [our, their] = [ours.got(), theirs.got()];

    let right = 0;
    for (const [index, { pid, args }] of victims.entries()) {
      const { cmdline, time } = JSON.parse(our.documents[index]!);
      const seen = JSON.parse(their.documents[index]!);
      assert.deepEqual([seen.pid, cmdline], [String(pid), args.join(' ')]);
      const late = Number(seen.time) - Number(time);
      assert.ok(late > -50 && late < 10_000, `it took the time ${late} ms after the kill`);
      t.diagnostic(`${late} ms after the kill, its command line: ${JSON.stringify(seen.cmdline)}`);
      // It overwrites what it knew with nothing, or an error, when it looks at a process that dies.
      const isRight = seen.cmdline === cmdline;
      right += Number(isRight);
      for (const kind of ['documents', 'slack', 'syslog'] as const) {
        const words = isRight ? [] : [cmdline, seen.cmdline];
        assert.equal(comparable(our[kind][index]!, words), comparable(their[kind][index]!, words), kind);
      }
    }
    assert.ok(right > 0, 'it had no command line right');
    assert.equal(await agent.terminate(), 0);
  });
});

/** Sinks of one of the two, and the flags that name them, in all the forms that there are. */
async function sinks(t: TestContext): Promise<{ readonly flags: readonly string[]; got(): Got }> {
  const elasticsearch = await Receiver.start(t, {
    react: ({ path, body }) => ({
      status: 200,
      headers: { 'content-type': 'application/json', 'x-elastic-product': 'Elasticsearch' },
      body: path.includes('/_bulk')
        ? JSON.stringify({ items: body.match(/^\{"create"/gm)?.map(() => ({ create: { status: 201 } })) })
        : '{}',
    }),
  });
  const slack = await Receiver.start(t);
  const syslog = await receiveStream(t);
  return {
    flags: [
      ...['--process-refresh=100', '--kr', '100'],
      ...['--elasticsearch-server', elasticsearch.url, '--ei=oom'],
      ...['--slw', `${slack.url}/services/T/B/X`, '--slack-channel', '#oom'],
      ...['--sp', 'tcp', `--ss=127.0.0.1:${syslog.port}`],
    ],
    got: () => ({
      documents: elasticsearch.requests.flatMap(({ body }) =>
        body.split('\n').filter((line) => line.startsWith('{"cmdline"')),
      ),
      slack: slack.requests.map(({ body }) => JSON.stringify(sorted(JSON.parse(body)))),
      syslog: syslog.connections,
    }),
  };
}

/** Whose JSON is not read by people has no order. */
function sorted(object: object): object {
  return Object.fromEntries(Object.entries(object).sort());
}

/** Without what differs by its nature, and without these words. */
function comparable(text: string, words: readonly string[]): string {
  const shorter = words
    .filter((word) => word !== '')
    .reduce((rest, word) => rest.replace(JSON.stringify(word).slice(1, -1), ''), text);
  return shorter
    .replace(/"time":"\d{13}"/, '"time":""')
    .replace(/^(<11>)\w{3} [ \d]\d \d\d:\d\d:\d\d oom-notifier\[\d+\]: /, '$1');
}
