import { DELIVERED, type Delivery, type Outcome } from './sink.ts';

/**
 * For a destination that takes one message at a time: what `Sink.deliver` is to answer. Of an incident, the messages after one that
 * did not arrive are not sent. After a `retry` nothing is: what follows must not overtake it, nor knock at a server that asks for
 * patience.
 */
export async function sendInOrder<Message>(
  batch: readonly Delivery[],
  messagesOf: (delivery: Delivery) => readonly Message[],
  send: (message: Message) => Promise<Outcome>,
): Promise<readonly Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const delivery of batch) {
    let outcome = DELIVERED;
    for (const message of messagesOf(delivery)) {
      outcome = await send(message);
      if (outcome.kind !== 'delivered') break;
    }
    outcomes.push(outcome);
    if (outcome.kind === 'retry') break;
  }
  const last = outcomes.at(-1) ?? DELIVERED;
  return batch.map((_, index) => outcomes[index] ?? last);
}
