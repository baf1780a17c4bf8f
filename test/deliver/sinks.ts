import type { DeliveryObserver } from '../../src/deliver/observer.ts';
import type { Delivery, Outcome, Sink } from '../../src/sink.ts';
import { DELIVERED } from '../../src/sink.ts';

type Answer = (batch: readonly Delivery[], signal: AbortSignal) => Promise<readonly Outcome[]>;

/** A sink that answers as the test says and remembers every call. */
export class FakeSink implements Sink {
  readonly calls: string[][] = [];
  readonly taken: string[] = [];
  closed = 0;
  answer: Answer;

  constructor(answer: Answer = takesEverything) {
    this.answer = answer;
  }

  async deliver(batch: readonly Delivery[], signal: AbortSignal): Promise<readonly Outcome[]> {
    this.calls.push(batch.map(({ incident }) => number(incident.id)));
    const outcomes = await this.answer(batch, signal);
    for (const [index, { incident }] of batch.entries())
      if (outcomes[index]?.kind === 'delivered') this.taken.push(number(incident.id));
    return outcomes;
  }

  async close(): Promise<void> {
    this.closed += 1;
  }
}

/** The sequence number in an incident's id. */
export function number(id: string): string {
  return id.slice(id.lastIndexOf(':') + 1);
}

export async function takesEverything(batch: readonly Delivery[]): Promise<readonly Outcome[]> {
  return batch.map(() => DELIVERED);
}

export async function isDown(): Promise<never> {
  throw new Error('connect ECONNREFUSED 127.0.0.1:9092');
}

/** Never answers, not even when told to stop. */
export function hangs(): Promise<never> {
  return new Promise(() => {});
}

/** What the couriers said, one string per event. */
export class SaidByCouriers implements DeliveryObserver {
  readonly said: string[] = [];

  opened(sink: string): void {
    this.said.push(`${sink} opened`);
  }
  renewing(sink: string): void {
    this.said.push(`${sink} renewed`);
  }
  openFailed(sink: string, reason: string, delayMs: number): void {
    this.said.push(`${sink} not opened, ${delayMs} ms: ${reason}`);
  }
  delivered(sink: string, count: number, latencyMs: number): void {
    this.said.push(`${sink} delivered ${count} in ${latencyMs} ms`);
  }
  retried(sink: string, count: number, reason: string, delayMs: number): void {
    this.said.push(`${sink} retries ${count} in ${delayMs} ms: ${reason}`);
  }
  rejected(sink: string, id: string, reason: string): void {
    this.said.push(`${sink} rejected ${number(id)}: ${reason}`);
  }
  deadLetterFailed(sink: string, id: string, reason: string): void {
    this.said.push(`${sink} lost the letter ${number(id)}: ${reason}`);
  }
  stumbled(sink: string, reason: string, delayMs: number): void {
    this.said.push(`${sink} stumbled, ${delayMs} ms: ${reason}`);
  }
}
