import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { KafkaSettings } from '../../src/kafka/client.ts';
import { reasonOf, refusalOf } from '../../src/kafka/failure.ts';

const SETTINGS: KafkaSettings = {
  brokers: [
    { host: 'a', port: 1 },
    { host: 'b', port: 2 },
  ],
  topic: 'oom',
  clientId: 'oom-witness',
  acks: -1,
};

function failure(name: string, fields: object = {}, message = 'what it says'): Error {
  return Object.assign(new Error(message), { name, ...fields });
}

/** As kafkajs hands it out: wrapped by the loop that gave up. */
function givenUp(cause: Error): Error {
  return Object.assign(new Error(cause.message, { cause }), { name: 'KafkaJSNumberOfRetriesExceeded' });
}

const protocol = (type: string) => givenUp(failure('KafkaJSProtocolError', { type }));
const connection = (code: string) => givenUp(failure('KafkaJSConnectionError', { code, broker: 'a:1' }));

test('only what no retry can mend is refused for good', () => {
  for (const type of ['MESSAGE_TOO_LARGE', 'RECORD_LIST_TOO_LARGE', 'INVALID_RECORD'])
    assert.ok(refusalOf(protocol(type)), type);
  for (const type of [
    'UNKNOWN_TOPIC_OR_PARTITION',
    'TOPIC_AUTHORIZATION_FAILED',
    'SASL_AUTHENTICATION_FAILED',
    'NOT_ENOUGH_REPLICAS',
    'INVALID_TIMESTAMP',
    'UNKNOWN',
  ])
    assert.equal(refusalOf(protocol(type)), undefined, type);
  assert.equal(refusalOf(connection('ECONNREFUSED')), undefined);
  assert.equal(refusalOf('a string'), undefined);
});

test('a reason says what to mend', () => {
  const cases: [error: Error, reason: RegExp][] = [
    [connection('ECONNREFUSED'), /^nothing listens at a:1: is the broker up/],
    [connection('ENOTFOUND'), /^the name of a:1 cannot be resolved: check --kafka-brokers$/],
    [
      connection('SELF_SIGNED_CERT_IN_CHAIN'),
      /not signed by an authority that is trusted here: check --kafka-ca/,
    ],
    [connection('ERR_TLS_CERT_ALTNAME_INVALID'), /^the certificate of a:1 is for another name/],
    [connection('CERT_HAS_EXPIRED'), /^the certificate of a:1 is not valid/],
    [connection('ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED'), /check --kafka-cert and --kafka-key/],
    [connection('ERR_SSL_WRONG_VERSION_NUMBER'), /^a:1 does not speak TLS/],
    [failure('KafkaJSConnectionClosedError', { broker: 'a:1' }), /want TLS \(--kafka-tls\) or a login/],
    [failure('KafkaJSRequestTimeoutError', { broker: 'a:1' }), /^a:1 does not answer$/],
    [failure('TimeoutError'), /^a:1, b:2 does not answer$/],
    [failure('AbortError'), /before the time to end$/],
    [protocol('UNKNOWN_TOPIC_OR_PARTITION'), /^the topic oom does not exist/],
    [protocol('TOPIC_AUTHORIZATION_FAILED'), /^a client without a login may not write to the topic oom/],
    [protocol('NOT_ENOUGH_REPLICAS'), /min\.insync\.replicas/],
    [protocol('SOMETHING_NEW'), /^the broker answers SOMETHING_NEW: what it says$/],
  ];
  for (const [error, reason] of cases) assert.match(reasonOf(error, SETTINGS), reason);
});

test('a connection that is closed raises no doubt about settings that have worked', () => {
  const closed = failure('KafkaJSConnectionClosedError', { broker: 'a:1' });
  assert.equal(reasonOf(closed, SETTINGS, true), 'a:1 closed the connection');
});

test('a refused login names the user and never the password', () => {
  const settings: KafkaSettings = {
    ...SETTINGS,
    sasl: { mechanism: 'plain', username: 'shop', password: 'hunter2' },
  };
  const reason = reasonOf(failure('KafkaJSSASLAuthenticationError', {}, 'Invalid credentials'), settings);
  assert.match(reason, /the login of shop \(plain\).*Invalid credentials/);
  assert.doesNotMatch(reason, /hunter2/);
});

test('what a broker says is shown, not obeyed', () => {
  const reason = reasonOf(
    failure('KafkaJSProtocolError', { type: 'X' }, `\u001b[2J${'y'.repeat(10_000)}`),
    SETTINGS,
  );
  assert.match(reason, /\\x1b\[2J/);
  assert.ok(reason.length <= 300);
});
