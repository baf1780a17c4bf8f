import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as v from 'valibot';
import { agentOptions } from '../../src/config/options.ts';

const option = (name: string) => agentOptions.find((each) => each.name === name)!;
const parse = (name: string, text: string | boolean) => v.parse(option(name).schema, text);
const refusal = (name: string, text: string) => v.safeParse(option(name).schema, text).issues?.[0].message;

test('every default is a value that its own schema accepts', () => {
  for (const { name, value, default: text } of agentOptions)
    if (text !== undefined)
      assert.doesNotThrow(() => parse(name, value === undefined ? text === 'true' : text), name);
});

test('refresh intervals are whole milliseconds that a timer can wait', () => {
  for (const name of ['process-refresh', 'kernel-log-refresh']) {
    assert.equal(parse(name, '5000'), 5000);
    assert.equal(parse(name, '2147483647'), 2_147_483_647);
    for (const text of ['0', '-1', '1.5', '5s', 'abc', '2147483648', '99999999999', ' 5', '0x10', '1e3'])
      assert.match(refusal(name, text) ?? 'accepted', /whole number of milliseconds from 1 to/, text);
  }
});

test('the drain timeout is seconds, or a number with its unit', () => {
  const accepted = { '10': 10_000, '10s': 10_000, '500ms': 500, '2m': 120_000, '0': 0 };
  for (const [text, ms] of Object.entries(accepted)) assert.equal(parse('drain-timeout', text), ms, text);
  for (const text of ['', '10 s', '-1', '1.5', '10h', '1441m', '999999999m'])
    assert.match(refusal('drain-timeout', text) ?? 'accepted', /like 500ms, 10s or 2m/, text);
});

test('the address to listen on names its host', () => {
  assert.deepEqual(parse('listen', '127.0.0.1:9110'), { host: '127.0.0.1', port: 9110 });
  assert.deepEqual(parse('listen', '[::1]:0'), { host: '::1', port: 0 });
  assert.deepEqual(parse('listen', 'node-7.example:80'), { host: 'node-7.example', port: 80 });
  assert.equal(parse('listen', 'off'), 'off');
  for (const text of ['9110', ':9110', '::1:9110', 'host:', 'host:123456', 'on', 'ho st:80', '[::1]'])
    assert.match(refusal('listen', text) ?? 'accepted', /HOST:PORT/, text);
  assert.match(refusal('listen', 'host:65536') ?? 'accepted', /at most 65535/);
});

test("log levels are env_logger's filters", () => {
  const accepted = {
    info: 'info',
    off: 'silent',
    DEBUG: 'debug',
    'oom_notifier=debug': 'debug',
    'oom_notifier::kmsg=trace': 'trace',
    'warn,hyper=debug': 'warn',
    'hyper=debug,warn': 'warn',
    'warn,oom_witness=debug': 'debug',
    'oom-witness=error,debug': 'error',
    oom_notifier: 'trace',
    'hyper=debug': 'info',
    ' error , ': 'error',
  };
  for (const [filter, level] of Object.entries(accepted))
    assert.equal(parse('log-level', filter), level, filter);
  for (const filter of ['verbose', 'inof', 'x=loud', 'a=b=c', 'info/oom', 'constructor'])
    assert.match(refusal('log-level', filter) ?? 'accepted', /must be one of off, error, warn/, filter);
});

test("own patterns are regular expressions, one a line; what is none is refused with the engine's reason", () => {
  assert.deepEqual(parse('redact-pattern', 'ticket-\\d+\n\n(?<secret>[a-f]{8})'), [
    /ticket-\d+/u,
    /(?<secret>[a-f]{8})/u,
  ]);
  assert.match(refusal('redact-pattern', 'fine\n(') ?? 'accepted', /regular expression.*Unterminated group/);
});

test('redaction is on until it is switched off', () => {
  assert.equal(parse('no-redact', false), true);
  assert.equal(parse('no-redact', true), false);
});

test('the token must fit into a header', () => {
  assert.equal(parse('api-token', 'aB3-._~+/=='), 'aB3-._~+/==');
  for (const text of ['two words', 'tab\t', 'ü', '=a', 'line\nend'])
    assert.ok(refusal('api-token', text), text);
});

test('a host name cannot smuggle anything else into an incident', () => {
  assert.equal(parse('host-name', 'node-7.example'), 'node-7.example');
  for (const text of ['a b', '\u001b[31m', 'x'.repeat(254), 'a\nb'])
    assert.ok(refusal('host-name', text), text);
});
