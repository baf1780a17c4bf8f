import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';
import * as v from 'valibot';
import * as webhook from '../../sinks/webhook.ts';
import { OptionError } from '../../src/config/option.ts';
import type { Outcome, Sink, SinkContext } from '../../src/sink.ts';
import { makeCertificates } from '../fixtures/tls.ts';
import { containerKill, delivery, groupKill, storm, valid } from '../incidents.ts';
import { ADDRESS_OF_NOBODY } from '../servers/free-ports.ts';
import { NOW, sinkContext } from './context.ts';
import { testSinkContract, until } from './contract.ts';
import { parsed } from './option-values.ts';
import { Receiver } from './receiver.ts';

const NEVER = new AbortController().signal;

/** Settings as the configuration makes them from texts. */
function settings(texts: Readonly<Record<string, string>>): webhook.WebhookSettings {
  const values = Object.fromEntries(
    webhook.options.map((option) => {
      const text = texts[option.name];
      return [option.name, text === undefined ? undefined : parsed(option, text)];
    }),
  );
  const made = webhook.settings(values);
  assert.ok(made);
  return made;
}

async function send(
  url: string,
  texts: Record<string, string> = {},
  context: Partial<SinkContext> = {},
): Promise<Outcome> {
  const sink = await webhook.open(settings({ 'webhook-url': url, ...texts }), sinkContext(context));
  const [outcome] = await sink.deliver([delivery(containerKill())], NEVER).finally(() => sink.close());
  return outcome!;
}

for (const scheme of ['http', 'https'])
  testSinkContract(`webhook over ${scheme}`, async (t) => {
    const tls = scheme === 'https' ? makeCertificates(t) : undefined;
    const texts: Record<string, string> = tls ? { 'webhook-ca': tls.ca } : {};
    const receiver = await Receiver.start(t, { tls });
    const openAt = (url: string): Promise<Sink> =>
      webhook.open(settings({ ...texts, 'webhook-url': url }), sinkContext());
    return {
      open: () => openAt(receiver.url),
      openAgainstNothing: async () => openAt(ADDRESS_OF_NOBODY),
      openAgainstSilence: async () => {
        const silent = await Receiver.start(t, { tls, react: () => 'hang' });
        return openAt(silent.url);
      },
      received: async () => receiver.requests.map(({ body }) => valid(JSON.parse(body)).id),
      restart: () => receiver.restart(),
    };
  });

test('the body is the incident, posted to the path, with its id for the receiver to know it again', async (t) => {
  const receiver = await Receiver.start(t);
  assert.deepEqual(await send(`${receiver.url}/hooks/oom?team=a`), { kind: 'delivered' });

  const [{ method, path, headers, body }] = receiver.requests as [Receiver['requests'][0]];
  assert.equal(method, 'POST');
  assert.equal(path, '/hooks/oom?team=a');
  assert.equal(headers['content-type'], 'application/json');
  assert.equal(headers['x-oom-witness-delivery'], containerKill().id);
  assert.equal(headers['x-oom-witness-signature'], undefined);
  assert.deepEqual(JSON.parse(body), containerKill());
});

test('a secret signs the time and the body', async (t) => {
  const receiver = await Receiver.start(t);
  await send(receiver.url, { 'webhook-secret': 'hunter2' });

  const { headers, body } = receiver.requests[0]!;
  const seconds = NOW / 1000;
  const expected = createHmac('sha256', 'hunter2').update(`${seconds}.${body}`).digest('hex');
  assert.equal(headers['x-oom-witness-signature'], `t=${seconds},v1=${expected}`);
});

test('in the format of oom-notifier each victim is a request of its own', async (t) => {
  const receiver = await Receiver.start(t);
  const sink = await webhook.open(
    settings({ 'webhook-url': receiver.url }),
    sinkContext({ eventFormat: 'oom-notifier' }),
  );
  t.after(() => sink.close());
  await sink.deliver([delivery(groupKill())], NEVER);

  assert.deepEqual(
    receiver.requests.map(({ body }) => JSON.parse(body).pid),
    ['4243', '4240', '4251', '4260'],
  );
  assert.equal(new Set(receiver.requests.map(({ headers }) => headers['x-oom-witness-delivery'])).size, 4);
});

test('configured headers go along', async (t) => {
  const receiver = await Receiver.start(t);
  await send(receiver.url, {
    'webhook-header': 'Authorization: Bearer abc, X-Accept: a, b\nX-Team:storefront',
  });

  const { headers } = receiver.requests[0]!;
  assert.equal(headers.authorization, 'Bearer abc');
  assert.equal(headers['x-accept'], 'a, b');
  assert.equal(headers['x-team'], 'storefront');
});

test('one connection serves many incidents', async (t) => {
  const receiver = await Receiver.start(t);
  const sink = await webhook.open(settings({ 'webhook-url': receiver.url }), sinkContext());
  t.after(() => sink.close());
  await sink.deliver(storm(5), NEVER);
  assert.deepEqual([...new Set(receiver.requests.map(({ connection }) => connection))], [0]);
});

test('what the server answers decides', async (t) => {
  const inTwoMinutes = new Date(NOW + 120_000).toUTCString();
  const cases: [status: number, headers: Record<string, string>, expected: Partial<Outcome>][] = [
    [204, {}, { kind: 'delivered' }],
    [400, {}, { kind: 'rejected', reason: 'HTTP 400: no\\x0athanks' }],
    [401, {}, { kind: 'retry', reason: 'HTTP 401: no\\x0athanks' }],
    [403, {}, { kind: 'retry' }],
    [404, {}, { kind: 'retry' }],
    [405, {}, { kind: 'retry' }],
    [408, {}, { kind: 'retry' }],
    [410, {}, { kind: 'retry' }],
    [422, {}, { kind: 'rejected' }],
    [425, {}, { kind: 'retry' }],
    [429, { 'retry-after': '17' }, { kind: 'retry', afterMs: 17_000 }],
    [429, { 'retry-after': 'soon' }, { kind: 'retry', reason: 'HTTP 429: no\\x0athanks' }],
    [429, { 'retry-after': '99999999' }, { kind: 'retry', afterMs: 3_600_000 }],
    [429, { 'retry-after': new Date(NOW - 60_000).toUTCString() }, { kind: 'retry', afterMs: 0 }],
    [500, {}, { kind: 'retry' }],
    [503, { 'retry-after': inTwoMinutes }, { kind: 'retry', afterMs: 120_000 }],
  ];
  for (const [status, headers, expected] of cases) {
    const receiver = await Receiver.start(t);
    receiver.next({ status, headers, body: status === 204 ? '' : 'no\nthanks' });
    assert.partialDeepStrictEqual(await send(receiver.url), expected, `HTTP ${status}`);
  }
});

test('a redirect is not followed', async (t) => {
  const elsewhere = await Receiver.start(t);
  const receiver = await Receiver.start(t);
  receiver.next({ status: 307, headers: { location: `${elsewhere.url}/x` } });

  const outcome = await send(receiver.url, { 'webhook-header': 'Authorization: Bearer abc' });
  assert.equal(outcome.kind, 'retry');
  assert.match(
    outcome.kind === 'retry' ? outcome.reason : '',
    /redirected .* not followed; set --webhook-url/,
  );
  assert.equal(elsewhere.requests.length, 0);
});

test('after a wish for patience the rest of the batch is not sent', async (t) => {
  const receiver = await Receiver.start(t);
  receiver.next({ status: 200 }, { status: 429, headers: { 'retry-after': '3' } });
  const sink = await webhook.open(settings({ 'webhook-url': receiver.url }), sinkContext());
  t.after(() => sink.close());

  const outcomes = await sink.deliver(storm(4), NEVER);
  assert.deepEqual(
    outcomes.map(({ kind }) => kind),
    ['delivered', 'retry', 'retry', 'retry'],
  );
  assert.equal(receiver.requests.length, 2);
});

test('a rejected incident does not hold up the next', async (t) => {
  const receiver = await Receiver.start(t);
  receiver.next({ status: 422 });
  const sink = await webhook.open(settings({ 'webhook-url': receiver.url }), sinkContext());
  t.after(() => sink.close());

  const outcomes = await sink.deliver(storm(2), NEVER);
  assert.deepEqual(
    outcomes.map(({ kind }) => kind),
    ['rejected', 'delivered'],
  );
});

test('a cut connection is a retry', async (t) => {
  const receiver = await Receiver.start(t);
  receiver.next('cut');
  assert.equal((await send(receiver.url)).kind, 'retry');
});

test('an answer without end is not read to its end', async (t) => {
  const receiver = await Receiver.start(t);
  receiver.next('endless');
  const sink = await webhook.open(settings({ 'webhook-url': receiver.url }), sinkContext());
  t.after(() => sink.close());

  const [outcome] = await sink.deliver([delivery(containerKill())], NEVER);
  assert.equal(outcome!.kind, 'rejected');
  assert.ok(outcome!.kind === 'rejected' && outcome!.reason.length < 300);
  await until(() => receiver.openConnections === 0, 'the end of the connection');
});

test('TLS: a server of a strange authority gets nothing, the client certificate is shown', async (t) => {
  const tls = makeCertificates(t);
  const receiver = await Receiver.start(t, { tls });

  const distrusted = await send(receiver.url, { 'webhook-ca': tls.strangerCa });
  assert.equal(distrusted.kind, 'retry');
  assert.equal(receiver.requests.length, 0);

  const client = { 'webhook-cert': tls.clientCert, 'webhook-key': tls.clientKey };
  assert.deepEqual(await send(receiver.url, { 'webhook-ca': tls.ca, ...client }), { kind: 'delivered' });
  assert.equal(receiver.requests[0]!.clientAuthorized, true);
});

test('wrong settings name the option', (t) => {
  const tls = makeCertificates(t);
  const url = { 'webhook-url': 'https://hooks.example/' };
  assert.equal(webhook.settings({}), undefined);
  const wrong: [texts: Record<string, string>, option: string][] = [
    [{ 'webhook-secret': 'x' }, 'webhook-secret'],
    [{ ...url, 'webhook-ca': tls.clientKey }, 'webhook-ca'],
    [{ ...url, 'webhook-cert': tls.clientCert }, 'webhook-cert'],
    [{ ...url, 'webhook-key': tls.clientKey }, 'webhook-key'],
    [{ ...url, 'webhook-cert': tls.clientCert, 'webhook-key': tls.serverKey }, 'webhook-cert'],
  ];
  for (const [texts, option] of wrong)
    assert.throws(
      () => settings(texts),
      (error) =>
        error instanceof OptionError && error.option === option && error.message.includes(`--${option}`),
    );
});

test('values that cannot be meant are refused', () => {
  const parse = (name: string, text: string) =>
    v.safeParse(webhook.options.find((option) => option.name === name)!.schema, text);
  for (const url of ['', 'hooks.example', 'ftp://hooks.example/', 'file:///etc/passwd'])
    assert.equal(parse('webhook-url', url).success, false, url);
  for (const header of ['no colon', 'X Y: z', 'X-A: ä', 'Content-Length: 5', 'X-A: a\rX-B: b'])
    assert.equal(parse('webhook-header', header).success, false, header);
  assert.equal(parse('webhook-secret', '').success, false);
});
