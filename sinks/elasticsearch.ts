import type { Client } from '@elastic/elasticsearch';
import { type Document, documentOf } from '../src/elasticsearch/document.ts';
import {
  isWorthSplitting,
  notUnderstood,
  outcomeOfFailure,
  outcomeOfItem,
} from '../src/elasticsearch/outcome.ts';
import { type ElasticsearchSettings, options, settings } from '../src/elasticsearch/settings.ts';
import { encodeEvents } from '../src/event-format.ts';
import { DELIVERED, type Delivery, type Outcome, type Sink, type SinkContext } from '../src/sink.ts';

export { options, settings };

export const batchSize = 500;

/** Under the 1 MiB that nginx lets through if nobody told it otherwise; Elasticsearch itself takes 100 MB. */
const REQUEST_BYTES = 1_000_000;
/** One node's time to answer. What it does later is not lost: the next try finds the documents there. */
const NODE_TIMEOUT_MS = 10_000;
/** 500 refusals with their reasons are half a MiB. */
const ANSWER_BYTES = 4 << 20;
/** What was packed unasked unpacks to a thousand times as much at the most. */
const PACKED_ANSWER_BYTES = 64 << 10;
/** How long Elasticsearch waits for a shard that is not there, so that it says so before the node's time is over. */
const SHARD_TIMEOUT = '5s';
/** The parts of an answer that are read: 20 bytes for each document taken instead of 200. */
const ANSWER_PARTS = ['items.*.status', 'items.*.error'];

/** A document, and the incident of the batch that it tells of. */
interface Line extends Document {
  readonly incident: number;
}

export async function open(given: ElasticsearchSettings, context: SinkContext): Promise<Sink> {
  const { Client, ClusterConnectionPool, Transport, UndiciConnection } = await import(
    '@elastic/elasticsearch'
  );
  class FailoverTransport extends Transport {
    constructor(transportOptions: ConstructorParameters<typeof Transport>[0]) {
      super({ ...transportOptions, retryOnTimeout: true });
    }
  }
  /** An answer that is too long is destroyed unread: its error, which nobody listens to, would end the process. */
  class HeedingConnection extends UndiciConnection {
    constructor(...options: ConstructorParameters<typeof UndiciConnection>) {
      super(...options);
      const { pool } = this;
      const request = pool.request.bind(pool);
      pool.request = async (given: Parameters<typeof request>[0]) => {
        const response = await request(given);
        response.body.on('error', () => {});
        return response;
      };
    }
  }
  const client = new Client({
    nodes: given.servers.map((server) => ({ url: new URL(server) })),
    auth: given.auth,
    tls: given.tls,
    requestTimeout: NODE_TIMEOUT_MS,
    maxResponseSize: ANSWER_BYTES,
    maxCompressedResponseSize: PACKED_ANSWER_BYTES,
    // Each node is asked once within a try, the dead ones last; the waits between tries are the courier's. The default
    // pool refuses for hundreds of tries ("no living connections") once all nodes have been down together.
    maxRetries: given.servers.length - 1,
    Connection: HeedingConnection,
    ConnectionPool: ClusterConnectionPool,
    resurrectStrategy: 'optimistic',
    Transport: FailoverTransport,
  });
  return new ElasticsearchSink(client, given, context);
}

/**
 * Bulk requests of `create` with the incident's id: a document that is already there counts as delivered, and an index,
 * an alias and a data stream all take them.
 */
class ElasticsearchSink implements Sink {
  readonly #client: Client;
  readonly #settings: ElasticsearchSettings;
  readonly #context: SinkContext;
  readonly #closing = new AbortController();

  constructor(client: Client, given: ElasticsearchSettings, context: SinkContext) {
    this.#client = client;
    this.#settings = given;
    this.#context = context;
  }

  async deliver(batch: readonly Delivery[], signal: AbortSignal): Promise<readonly Outcome[]> {
    const outcomes: Outcome[] = batch.map(() => DELIVERED);
    const until = AbortSignal.any([signal, this.#closing.signal]);
    let outage: Outcome | undefined;
    for (const lines of requests(this.#lines(batch))) {
      const answers = outage ? lines.map(() => outage!) : await this.#sendLeniently(lines, until);
      lines.forEach(({ incident }, index) => {
        outcomes[incident] = worse(outcomes[incident]!, answers[index]!);
      });
      // Where nothing of many was taken the rest would only wait for the same answer. One alone may be the odd one.
      if (lines.length > 1 && answers.every(({ kind }) => kind === 'retry')) outage ??= answers[0];
    }
    return outcomes;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#client.close();
  }

  *#lines(batch: readonly Delivery[]): Iterable<Line> {
    const { eventFormat, kernelVersionLine } = this.#context;
    for (const [index, { incident }] of batch.entries())
      for (const event of encodeEvents(incident, eventFormat, kernelVersionLine))
        yield { incident: index, ...documentOf(incident, event, eventFormat) };
  }

  /** What is refused goes once more without its open maps: an incident that lacks its labels beats one that nobody sees. */
  async #sendLeniently(lines: readonly Line[], signal: AbortSignal): Promise<readonly Outcome[]> {
    const outcomes = await this.#send(
      lines.map(({ text }) => text),
      signal,
    );
    const refused = lines.flatMap((line, index) => {
      const outcome = outcomes[index]!;
      const text = outcome.kind === 'rejected' ? line.withoutOpenMaps() : undefined;
      return text === undefined || outcome.kind !== 'rejected'
        ? []
        : [{ index, text, id: line.id, reason: outcome.reason }];
    });
    if (refused.length === 0) return outcomes;

    const answers = await this.#send(
      refused.map(({ text }) => text),
      signal,
    );
    const result = [...outcomes];
    refused.forEach(({ index, id, reason }, place) => {
      const answer = answers[place]!;
      if (answer.kind !== 'rejected') result[index] = answer;
      if (answer.kind === 'delivered')
        this.#context.log(
          'warn',
          'Elasticsearch took an incident only without labels, annotations, resources and unknown: see docs/elasticsearch.md for a template',
          { id, index: this.#settings.index, reason },
        );
    });
    return result;
  }

  async #send(texts: readonly string[], signal: AbortSignal): Promise<readonly Outcome[]> {
    const { index } = this.#settings;
    try {
      const answer = await this.#client.bulk<string>(
        { index, operations: [...texts], timeout: SHARD_TIMEOUT, filter_path: ANSWER_PARTS },
        { signal },
      );
      const items: readonly unknown[] = Array.isArray(answer?.items) ? answer.items : [];
      if (items.length !== texts.length) return texts.map(() => notUnderstood(this.#settings));
      return items.map((item) => outcomeOfItem(item, this.#settings));
    } catch (error) {
      if (texts.length > 1 && isWorthSplitting(error)) {
        const half = Math.ceil(texts.length / 2);
        const first = await this.#send(texts.slice(0, half), signal);
        return [...first, ...(await this.#send(texts.slice(half), signal))];
      }
      const outcome = outcomeOfFailure(error, this.#settings, this.#context.now());
      return texts.map(() => outcome);
    }
  }
}

/** Lazily, so that the texts of one request alone are in memory. */
function* requests(lines: Iterable<Line>): Iterable<readonly Line[]> {
  let request: Line[] = [];
  let bytes = 0;
  for (const line of lines) {
    const size = Buffer.byteLength(line.text) + 1;
    if (request.length > 0 && bytes + size > REQUEST_BYTES) {
      yield request;
      request = [];
      bytes = 0;
    }
    request.push(line);
    bytes += size;
  }
  if (request.length > 0) yield request;
}

/** One incident may be several documents: it is delivered when all are, and tried again as long as one wants to be. */
function worse(a: Outcome, b: Outcome): Outcome {
  const rank = { delivered: 0, rejected: 1, retry: 2 };
  return rank[b.kind] > rank[a.kind] ? b : a;
}
