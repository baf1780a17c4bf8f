import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Outcome } from '../../src/sink.ts';
import { containerKill, delivery, storm } from '../incidents.ts';
import { type Answer, conflict, ElasticsearchDouble } from '../sinks/elasticsearch-double.ts';
import { openAt, reasonOf } from '../sinks/elasticsearch-sink.ts';

const NEVER = new AbortController().signal;

async function outcomeOf(t: TestContext, answer: Answer): Promise<Outcome> {
  const double = await ElasticsearchDouble.start(t);
  double.answer = () => answer;
  const sink = await openAt(double.url, t);
  const [outcome] = await sink.deliver([delivery(containerKill())], NEVER);
  return outcome!;
}

/** What Elasticsearch 8.19.21 said to each, shortened to the parts that the sink asks for. */
const ITEMS: readonly (readonly [
  what: string,
  item: Record<string, unknown>,
  kind: Outcome['kind'],
  reason?: RegExp,
])[] = [
  ['created', { status: 201 }, 'delivered'],
  ['already there', conflict('a'), 'delivered'],
  [
    'a value that the mapping does not take',
    {
      status: 400,
      error: {
        type: 'document_parsing_exception',
        reason:
          "[1:6] failed to parse field [x] of type [long] in document with id 'b'. Preview of field's value: 'abc'",
        caused_by: { type: 'illegal_argument_exception', reason: 'For input string: "abc"' },
      },
    },
    'rejected',
    /failed to parse field \[x\] of type \[long\].*\(For input string: "abc"\)$/,
  ],
  [
    'a field that a strict mapping does not know',
    {
      status: 400,
      error: {
        type: 'strict_dynamic_mapping_exception',
        reason: '[1:21] mapping set to strict, dynamic introduction of [k8s] within [_doc] is not allowed',
      },
    },
    'rejected',
    /mapping set to strict/,
  ],
  [
    'too many fields',
    {
      status: 400,
      error: { type: 'illegal_argument_exception', reason: 'Limit of total fields [1000] has been exceeded' },
    },
    'rejected',
    /Limit of total fields/,
  ],
  [
    'an alias without a write index',
    {
      status: 400,
      error: {
        type: 'illegal_argument_exception',
        reason:
          'no write index is defined for alias [al]. The write index may be explicitly disabled using …',
      },
    },
    'retry',
    /no write index is defined/,
  ],
  [
    'a closed index',
    { status: 400, error: { type: 'index_closed_exception', reason: 'closed' } },
    'retry',
    /closed/,
  ],
  [
    'a cluster without room for another shard',
    {
      status: 400,
      error: {
        type: 'validation_exception',
        reason: 'Validation Failed: 1: this action would add [2] shards',
      },
    },
    'retry',
    /would add \[2\] shards/,
  ],
  [
    'no privilege',
    {
      status: 403,
      error: {
        type: 'security_exception',
        reason: 'action [indices:data/write/bulk[s]] is unauthorized for API key',
      },
    },
    'retry',
    /forbids writing to oom.*create_doc/,
  ],
  [
    'a blocked index',
    {
      status: 403,
      error: {
        type: 'cluster_block_exception',
        reason: 'index [blk] blocked by: [FORBIDDEN/8/index write (api)];',
      },
    },
    'retry',
    /blocked by/,
  ],
  [
    'no index and no leave to make one',
    {
      status: 404,
      error: {
        type: 'index_not_found_exception',
        reason: 'no such index [nope] and [action.auto_create_index] is [false]',
      },
    },
    'retry',
    /index oom does not exist/,
  ],
  [
    'a full disk',
    {
      status: 429,
      error: {
        type: 'cluster_block_exception',
        reason: 'index [ro] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark …];',
      },
    },
    'retry',
    /disk usage exceeded flood-stage watermark/,
  ],
  [
    'a shard that is not there',
    {
      status: 503,
      error: {
        type: 'unavailable_shards_exception',
        reason: '[un-1][0] primary shard is not active Timeout: [1s]',
      },
    },
    'retry',
    /primary shard is not active/,
  ],
  ['nonsense', { status: 'x' }, 'retry', /not understood/],
];

for (const [what, item, kind, reason] of ITEMS)
  test(`one of three documents: ${what} is ${kind}, its neighbours are delivered`, async (t) => {
    const double = await ElasticsearchDouble.start(t);
    double.answer = ({ documents }) => ({
      status: 200,
      body: {
        items: documents.map((_, index) => ({
          create: documents.length === 1 || index === 1 ? item : { status: 201 },
        })),
      },
    });
    const sink = await openAt(double.url, t);
    const outcomes = await sink.deliver(storm(3), NEVER);
    assert.deepEqual(outcomes[0], { kind: 'delivered' });
    assert.equal(outcomes[1]!.kind, kind);
    assert.deepEqual(outcomes[2], { kind: 'delivered' });
    if (kind !== 'delivered') assert.match(reasonOf(outcomes[1]!, kind), reason!);
  });

const error = (status: number, type: string, reason: string) => ({ error: { type, reason }, status });
/** Whole answers; the texts are the real server's where it is Elasticsearch that speaks. */
const ANSWERS: readonly (readonly [
  what: string,
  answer: Answer,
  kind: 'retry' | 'rejected',
  reason: RegExp,
])[] = [
  [
    'a wrong password',
    {
      status: 401,
      body: error(
        401,
        'security_exception',
        'unable to authenticate user [oom] for REST request [/oom/_bulk]',
      ),
    },
    'retry',
    /refuses the user, password or API key \(401\): unable to authenticate/,
  ],
  [
    'no privilege',
    {
      status: 403,
      body: error(403, 'security_exception', 'action [indices:data/write/bulk] is unauthorized'),
    },
    'retry',
    /forbids writing to oom \(403\).*create_doc/,
  ],
  [
    'too much at once',
    {
      status: 429,
      body: error(429, 'es_rejected_execution_exception', 'rejected execution of coordinating operation'),
    },
    'retry',
    /takes no more at the moment: rejected execution/,
  ],
  [
    'a proxy that has no server',
    { status: 503, headers: { 'content-type': 'text/html' }, body: '<html>' },
    'retry',
    /answered 503/,
  ],
  ['a server error', { status: 500, body: error(500, 'exception', 'boom') }, 'retry', /answered 500: boom/],
  [
    'a wrong path',
    { status: 400, body: { error: 'no handler found for uri [/wrong/oom/_bulk] and method [POST]' } },
    'retry',
    /answered 400: no handler found/,
  ],
  ['a redirection', { status: 302, headers: { location: 'http://a/' } }, 'retry', /not understood/],
  ['one document that is too large', { status: 413 }, 'rejected', /larger than Elasticsearch/],
  [
    'an id that is too long',
    {
      status: 400,
      body: error(400, 'action_request_validation_exception', 'Validation Failed: 1: id [x] is too long'),
    },
    'rejected',
    /id \[x\] is too long/,
  ],
  ['a body that is not JSON', { status: 200, body: '{"items":' }, 'retry', /not understood/],
  ['no items', { status: 200, body: { items: [] } }, 'retry', /not understood/],
  ['null', { status: 200, body: 'null' }, 'retry', /not understood/],
  [
    'OpenSearch',
    { status: 200, headers: { 'x-elastic-product': '' }, body: { items: [] } },
    'retry',
    /is not Elasticsearch.*OpenSearch/,
  ],
];

for (const [what, answer, kind, reason] of ANSWERS)
  test(`the whole request: ${what} is ${kind}`, async (t) => {
    assert.match(reasonOf(await outcomeOf(t, answer), kind), reason);
  });

test("the server's own wish to wait is passed on", async (t) => {
  const wish = async (header: string) => {
    const outcome = await outcomeOf(t, { status: 429, headers: { 'retry-after': header } });
    return outcome.kind === 'retry' ? outcome.afterMs : undefined;
  };
  assert.equal(await wish('7'), 7000);
  assert.equal(await wish('Sat, 21 Nov 2026 03:14:50 GMT'), 30_000);
  assert.equal(await wish('soon'), undefined);
});

test("a server's text cannot harm a terminal or a log", async (t) => {
  const reason = reasonOf(
    await outcomeOf(t, { status: 500, body: error(500, 'x', `\u001b[2J\n${'y'.repeat(100_000)}`) }),
    'retry',
  );
  assert.doesNotMatch(reason, /\p{Cc}/u);
  assert.ok(reason.length < 500);
});
