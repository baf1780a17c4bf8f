import assert from 'node:assert/strict';
import { it } from 'node:test';
import { sendInOrder } from '../src/send-in-order.ts';
import { DELIVERED, type Outcome } from '../src/sink.ts';
import { storm } from './incidents.ts';

const REJECTED: Outcome = { kind: 'rejected', reason: 'malformed' };
const RETRY: Outcome = { kind: 'retry', reason: 'busy', afterMs: 7 };

/** Three incidents of two messages each, `00` to `21`; what is sent, and the outcomes. */
async function sendSix(answers: Readonly<Record<string, Outcome>>): Promise<readonly [string[], unknown]> {
  const batch = storm(3);
  const sent: string[] = [];
  const outcomes = await sendInOrder(
    batch,
    (delivery) => [0, 1].map((message) => `${batch.indexOf(delivery)}${message}`),
    async (message) => {
      sent.push(message);
      return answers[message] ?? DELIVERED;
    },
  );
  return [sent, outcomes];
}

it('everything is sent, one after the other', async () => {
  const all = ['00', '01', '10', '11', '20', '21'];
  assert.deepEqual(await sendSix({}), [all, [DELIVERED, DELIVERED, DELIVERED]]);
});

it('what is rejected is rejected whole, and the next incident goes on', async () => {
  const sent = ['00', '10', '11', '20', '21'];
  assert.deepEqual(await sendSix({ '00': REJECTED }), [sent, [REJECTED, DELIVERED, DELIVERED]]);
});

it('nothing overtakes what is to be tried again', async () => {
  assert.deepEqual(await sendSix({ '01': RETRY }), [
    ['00', '01'],
    [RETRY, RETRY, RETRY],
  ]);
  assert.deepEqual(await sendSix({ '10': RETRY }), [
    ['00', '01', '10'],
    [DELIVERED, RETRY, RETRY],
  ]);
});
