import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nearest } from '../../src/config/nearest.ts';

const NAMES = ['kafka-brokers', 'kafka-topic', 'listen', 'pr'];

test('a slip of the keyboard is recognised: a letter too many, too few, wrong, or two swapped', () => {
  for (const word of ['kafka-brokerss', 'kafka-broker', 'kafka-brokars', 'kakfa-brokers', 'kafka_brokers'])
    assert.equal(nearest(word, NAMES), 'kafka-brokers', word);
});

test('the nearest of several wins', () => {
  assert.equal(nearest('kafka-topics', NAMES), 'kafka-topic');
  assert.equal(nearest('lisen', NAMES), 'listen');
});

test('what has little in common is not suggested', () => {
  for (const word of ['xyzzy', '', 'k', 'elasticsearch-server'])
    assert.equal(nearest(word, NAMES), undefined, word);
});
