import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import tls from 'node:tls';
import * as v from 'valibot';
import * as slack from '../../sinks/slack.ts';
import { OptionError } from '../../src/config/option.ts';
import type { Incident } from '../../src/incident.ts';
import { SLACK_LIMITS } from '../../src/message/slack.ts';
import type { Delivery, Outcome, Recurrence, SinkContext } from '../../src/sink.ts';
import { makeCertificates } from '../fixtures/tls.ts';
import {
  childKill,
  containerKill,
  delivery,
  FIRST,
  groupKill,
  HOST,
  headerlessKill,
  hostileKills,
  KERNEL_VERSION_LINE,
  killWithoutCommandLine,
  nodeKill,
  numbered,
  podLimitKill,
  storm,
  THIRD,
  unitKill,
  valid,
} from '../incidents.ts';
import { ADDRESS_OF_NOBODY } from '../servers/free-ports.ts';
import { sinkContext } from './context.ts';
import { testSinkContract } from './contract.ts';
import { type Reaction, type ReceivedRequest, Receiver } from './receiver.ts';

const NEVER = new AbortController().signal;

interface Text {
  type: string;
  text: string;
  emoji?: boolean;
  verbatim?: boolean;
}
interface Block {
  type: string;
  text?: Text;
  fields?: Text[];
  elements?: Text[];
}
interface Payload {
  text: string;
  blocks: Block[];
  attachments: { color: string; blocks: Block[] }[];
  channel?: string;
}

/** Refuses what Slack documents to refuse, as Slack does: 400 `invalid_blocks`. */
function likeSlack({ headers, body }: ReceivedRequest): Reaction {
  const problem = problemOf(headers['content-type'], body);
  return problem === undefined
    ? { status: 200, body: 'ok' }
    : { status: 400, body: `invalid_blocks ${problem}` };
}

function problemOf(contentType: string | undefined, body: string): string | undefined {
  if (contentType !== 'application/json') return 'content type';
  const { text, blocks = [], attachments = [] } = JSON.parse(body) as Payload;
  if (typeof text !== 'string' || text === '' || text.length > SLACK_LIMITS.text) return 'text';
  const all = [...blocks, ...attachments.flatMap((attachment) => attachment.blocks)];
  if (all.length > SLACK_LIMITS.blocks) return 'number of blocks';
  for (const block of all) {
    const { fields = [], elements = [] } = block;
    const limit = block.type === 'header' ? SLACK_LIMITS.header : SLACK_LIMITS.sectionText;
    if (block.type === 'header' && block.text?.type !== 'plain_text') return 'header type';
    if (block.type === 'section' && !block.text === !block.fields) return 'section without content';
    if (block.text && !fits(block.text, limit)) return `${block.type} text`;
    if (fields.length > SLACK_LIMITS.fields || !fields.every((field) => fits(field, SLACK_LIMITS.fieldText)))
      return 'fields';
    if (block.type === 'context' && elements.length === 0) return 'empty context';
    if (
      elements.length > SLACK_LIMITS.contextElements ||
      !elements.every((element) => fits(element, SLACK_LIMITS.contextText))
    )
      return 'context';
  }
  return undefined;
}

function fits({ text }: Text, limit: number): boolean {
  return text.length > 0 && text.length <= limit;
}

function blocksOf({ blocks, attachments }: Payload): Block[] {
  return [...blocks, ...attachments.flatMap((attachment) => attachment.blocks)];
}

function textsOf(payload: Payload): string[] {
  const ofBlocks = blocksOf(payload).flatMap(({ text, fields = [], elements = [] }) => [
    ...(text ? [text.text] : []),
    ...fields.map((field) => field.text),
    ...elements.map((element) => element.text),
  ]);
  return [payload.text, ...ofBlocks];
}

/** What the channel sees after `batch`. */
async function posted(
  t: { after(clean: () => void): void },
  batch: readonly Delivery[],
  texts: Record<string, string> = {},
  context: Partial<SinkContext> = {},
): Promise<Payload[]> {
  const receiver = await Receiver.start(t as never, { react: likeSlack });
  const sink = await slack.open(
    settings({ 'slack-webhook': `${receiver.url}/services/T0/B0/x`, ...texts }),
    sinkContext(context),
  );
  const outcomes = await sink.deliver(batch, NEVER).finally(() => sink.close());
  assert.deepEqual(
    outcomes,
    batch.map(() => ({ kind: 'delivered' })),
  );
  return receiver.requests.map(({ body }) => JSON.parse(body));
}

async function postedFor(
  t: { after(clean: () => void): void },
  incident: Incident,
  recurrence: Recurrence = FIRST,
): Promise<Payload> {
  const [payload] = await posted(t, [delivery(valid(incident), recurrence)]);
  return payload!;
}

function settings(texts: Record<string, string>): slack.SlackSettings {
  const values = Object.fromEntries(
    slack.options.map(({ name, schema }) => [
      name,
      texts[name] === undefined ? undefined : v.parse(schema, texts[name]),
    ]),
  );
  const made = slack.settings(values);
  assert.ok(made);
  return made;
}

testSinkContract(
  'slack',
  async (t) => {
    const certificates = makeCertificates(t);
    const trusted = tls.getCACertificates('default');
    tls.setDefaultCACertificates([...trusted, readFileSync(certificates.ca, 'utf8')]);
    t.after(() => tls.setDefaultCACertificates(trusted));
    const receiver = await Receiver.start(t, { tls: certificates, react: likeSlack });
    const openAt = (url: string) => slack.open(settings({ 'slack-webhook': url }), sinkContext());
    return {
      open: () => openAt(`${receiver.url}/services/T0/B0/x`),
      openAgainstNothing: async () => openAt(ADDRESS_OF_NOBODY),
      openAgainstSilence: async () => {
        const silent = await Receiver.start(t, { tls: certificates, react: () => 'hang' });
        return openAt(silent.url);
      },
      received: async () =>
        receiver.requests.flatMap(({ body }) =>
          textsOf(JSON.parse(body)).filter((text) => text.startsWith(`${HOST.boot_id}:`)),
        ),
      restart: () => receiver.restart(),
    };
  },
  { summarises: true },
);

test('one kill: who, where, whose limit, the first time?, what was it', async (t) => {
  const payload = await postedFor(t, containerKill(), THIRD);

  assert.equal(payload.text, 'OOM kill: java in web/shop, container limit 2.00 GiB (3rd in 2 h), on node-7');
  assert.deepEqual(payload.blocks, [
    { type: 'header', text: { type: 'plain_text', text: 'OOM kill: web/shop', emoji: false } },
  ]);
  assert.equal(payload.attachments.length, 1);
  const [fields, sentences, code, context] = payload.attachments[0]!.blocks as [Block, Block, Block, Block];
  assert.deepEqual(
    fields.fields?.map(({ text }) => text),
    [
      '*Pod*\n`shop-5d8f7c-x2x`',
      '*Container*\n`shop`',
      '*Node*\n`node-7`',
      '*Died*\n`java, pid 4243`',
      '*Memory*\n`1.98 of 2.00 GiB`',
      "*Whose limit*\n`the container's own`",
    ],
  );
  assert.equal(
    sentences.text?.text,
    'The container hit its own limit (resources.limits.memory); java itself asked for the memory\n3rd kill of web/shop in 2 h 10 min (last 02:58 UTC)',
  );
  assert.match(code.text!.text, /^```\njava -Xmx2g .* --spring\.profiles\.active=prod\n```$/);
  assert.deepEqual(
    context.elements?.map(({ text }) => text),
    ['2026-11-21 03:14:15 UTC', containerKill().id],
  );
});

test('the colour says whether a workload or the whole node is hit', async (t) => {
  assert.equal((await postedFor(t, containerKill())).attachments[0]!.color, '#e8912d');
  const node = await postedFor(t, nodeKill());
  assert.equal(node.attachments[0]!.color, '#d40e0d');
  assert.equal(node.blocks[0]!.text!.text, 'OOM kill: node-7 ran out of memory');
});

test('what is not known is said', async (t) => {
  const all = textsOf(await postedFor(t, killWithoutCommandLine())).join('\n');
  assert.match(all, /\*Pod\*\n`unknown: API did not answer within 2 s`/);
  assert.match(all, /Full command line unknown: it started and died while the agent was down/);
  const headerless = textsOf(await postedFor(t, headerlessKill())).join('\n');
  assert.match(headerless, /\*Memory\*\n`java held 1\.97 GiB`/);
  assert.match(headerless, /\*Whose limit\*\n`the limit of the container, or one above it`/);
});

test('every kind of kill fits on the screen of a phone', async (t) => {
  const kinds = [
    containerKill,
    childKill,
    groupKill,
    nodeKill,
    podLimitKill,
    killWithoutCommandLine,
    headerlessKill,
    unitKill,
  ];
  for (const kind of kinds) {
    const payload = await postedFor(t, kind(), THIRD);
    const [fields, ...rest] = payload.attachments[0]!.blocks as [Block, ...Block[]];
    // Two fields of two lines stand beside each other; 42 characters are a line.
    const lines =
      Math.ceil(fields.fields!.length / 2) * 2 +
      rest
        .flatMap(({ text, elements = [] }) => [...(text ? [text] : []), ...elements])
        .flatMap(({ text }) => text.split('\n'))
        .reduce((sum, line) => sum + Math.ceil(line.length / 42), 0);
    assert.ok(lines <= 30, `${kind.name}: ${lines} lines`);
  }
});

test('nothing that a process or a pod is called becomes a mention, a link or formatting', async (t) => {
  for (const { what, incident } of hostileKills()) {
    const payload = await postedFor(t, incident);
    for (const text of textsOf(payload))
      assert.doesNotMatch(text, /[<>\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028\u202e]/u, what);
    for (const block of blocksOf(payload))
      for (const { type, text, verbatim, emoji } of [
        ...(block.text ? [block.text] : []),
        ...(block.fields ?? []),
        ...(block.elements ?? []),
      ]) {
        if (type === 'plain_text') assert.equal(emoji, false, what);
        else {
          assert.equal(verbatim, true, what);
          assert.match(text, /^(\*[\w ]+\*\n`[^`]+`|```\n(?:(?!```).)*\n```)$/s, what);
        }
      }
  }
});

test('a command line of ampersands, five characters each after escaping, stays within the limits', async (t) => {
  const whole = containerKill();
  const process = { ...whole.process, name: '&'.repeat(15), command_line: '&'.repeat(5000) };
  const pod = { ...whole.k8s!, pod: { name: '<'.repeat(500) }, deployment: { name: '>'.repeat(500) } };
  const payload = await postedFor(t, {
    ...whole,
    process,
    k8s: pod,
    victims: [{ ...whole.victims[0]!, process }],
  });
  assert.match(payload.attachments[0]!.blocks[2]!.text!.text, /^```\n(&amp;)+ … (&amp;)+\n```$/);
});

test('the head of a storm in a whole cluster names more than one of its nodes', async (t) => {
  const kills = storm(6).map(({ incident }, index) =>
    delivery({ ...incident, k8s: { ...incident.k8s, node: { name: `node-${index}` } } }),
  );
  const [payload] = await posted(t, kills);
  assert.equal(payload?.blocks[0]?.text?.text, '6 OOM kills on node-0, node-1, node-2 and 3 more');
});

test('a storm is one message', async (t) => {
  const node = numbered(nodeKill(), 60_000);
  const payloads = await posted(t, [...storm(37), delivery({ ...node, time: '2026-11-21T03:14:27.926Z' })]);

  assert.equal(payloads.length, 1);
  const [{ text, attachments }] = payloads as [Payload];
  assert.equal(text, '38 OOM kills in 12 s: 37 in web/shop, 1 in user-1001.slice; on node-7');
  assert.equal(
    attachments[0]!.blocks[0]!.text!.text,
    `${text}\n37 × java in web/shop, container limit 2.00 GiB\n1 × chrome in user-1001.slice, node-7 ran out of memory`,
  );
  assert.equal(attachments[0]!.color, '#d40e0d');
});

test('five at once are five messages, six are one', async (t) => {
  assert.equal((await posted(t, storm(5))).length, 5);
  assert.equal((await posted(t, storm(6))).length, 1);
});

test('in the format of oom-notifier the payload is that of oom-notifier, one for each victim', async (t) => {
  const payloads = await posted(
    t,
    [delivery(groupKill())],
    { 'slack-channel': '#oom' },
    { eventFormat: 'oom-notifier' },
  );
  assert.equal(payloads.length, 4);
  assert.deepEqual(payloads[1], {
    channel: '#oom',
    icon_emoji: ':firecracker:',
    username: 'oom-notifier',
    text: `- cmdline:sh /entry.sh\n- pid:4240\n- hostname:node-7\n- kernel:${KERNEL_VERSION_LINE}`,
  });
});

test('in the format of oom-notifier only a command line over the limit is cut', async (t) => {
  const [payload] = await posted(
    t,
    hostileKills()
      .filter(({ what }) => what.includes('100 KB'))
      .map(({ incident }) => delivery(incident)),
    {},
    { eventFormat: 'oom-notifier' },
  );
  assert.match(payload!.text, /^- cmdline:python x+ … x+ end\n- pid:4243\n/);
});

test('a link is filled in, and left out where a part of it is not known', async (t) => {
  const link = { 'slack-link': 'https://grafana.example/d/pod?ns={namespace}&pod={pod}&id={id}' };
  const [known] = await posted(t, [delivery(containerKill())], link);
  const [unknown] = await posted(t, [delivery(unitKill())], link);

  const id = encodeURIComponent(containerKill().id);
  assert.equal(
    textsOf(known!).at(-1),
    `<https://grafana.example/d/pod?ns=web&pod=shop-5d8f7c-x2x&id=${id}|Open>`,
  );
  assert.doesNotMatch(textsOf(unknown!).join('\n'), /grafana/);
});

test('what Slack answers decides', async (t) => {
  const cases: [Reaction, Partial<Outcome>][] = [
    [
      { status: 429, headers: { 'retry-after': '30' }, body: 'rate_limited' },
      { kind: 'retry', afterMs: 30_000 },
    ],
    [
      { status: 500, body: 'rollup_error' },
      { kind: 'retry', reason: 'Slack answered 500: rollup_error' },
    ],
    [
      { status: 400, body: 'invalid_payload' },
      { kind: 'rejected', reason: 'Slack answered 400: invalid_payload' },
    ],
    [{ status: 403, body: 'action_prohibited' }, { kind: 'rejected' }],
    [
      { status: 403, body: 'invalid_token' },
      { kind: 'retry', afterMs: 300_000 },
    ],
    [{ status: 404, body: 'channel_not_found' }, { kind: 'rejected' }],
    [
      { status: 404, body: 'no_service' },
      { kind: 'retry', afterMs: 300_000 },
    ],
    [
      { status: 410, body: 'channel_is_archived' },
      { kind: 'retry', afterMs: 300_000 },
    ],
    [{ status: 302, headers: { location: 'https://elsewhere.example/' } }, { kind: 'rejected' }],
    ['cut', { kind: 'retry' }],
  ];
  for (const [reaction, expected] of cases) {
    const receiver = await Receiver.start(t);
    receiver.next(reaction);
    const sink = await slack.open(
      settings({ 'slack-webhook': `${receiver.url}/services/secret` }),
      sinkContext(),
    );
    t.after(() => sink.close());
    const [outcome] = await sink.deliver([delivery(containerKill())], NEVER);
    assert.partialDeepStrictEqual(outcome, expected, JSON.stringify(reaction));
    assert.doesNotMatch(JSON.stringify(outcome), /secret/, 'the address of the webhook is a secret');
    assert.equal(receiver.requests.length, 1, "the client's own retries are off");
  }
});

test('after a wish for patience the rest of the batch is not sent', async (t) => {
  const receiver = await Receiver.start(t);
  receiver.next({ status: 200, body: 'ok' }, { status: 429, headers: { 'retry-after': '1' } });
  const sink = await slack.open(settings({ 'slack-webhook': receiver.url }), sinkContext());
  t.after(() => sink.close());
  const outcomes = await sink.deliver(storm(4), NEVER);
  assert.deepEqual(
    outcomes.map(({ kind }) => kind),
    ['delivered', 'retry', 'retry', 'retry'],
  );
  assert.equal(receiver.requests.length, 2);
});

test('a channel or a link without a webhook is a mistake, nothing at all is no sink', () => {
  assert.equal(slack.settings({}), undefined);
  for (const option of ['slack-channel', 'slack-link'])
    assert.throws(
      () => slack.settings({ [option]: 'x' }),
      (error) =>
        error instanceof OptionError && error.option === option && /Add --slack-webhook/.test(error.message),
    );
});

test('values that cannot be meant are refused', () => {
  const parse = (name: string, text: string) =>
    v.safeParse(slack.options.find((option) => option.name === name)!.schema, text).success;
  assert.equal(parse('slack-webhook', 'hooks.slack.com/services/x'), false);
  assert.equal(parse('slack-link', 'https://a.example/{pod}'), true);
  for (const link of ['{pod}', 'https://a.example/{secret}', 'https://a.example/|x', 'javascript:alert(1)'])
    assert.equal(parse('slack-link', link), false, link);
});
