import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net';

export interface BulkRequest {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly bytes: number;
  readonly documents: readonly { readonly id: string; readonly source: Record<string, unknown> }[];
}

/** An HTTP answer; an `undefined` body is an empty one, a text or a buffer is sent as it is. */
export interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

interface Cleaner {
  after(clean: () => void | Promise<void>): void;
}

/**
 * Speaks the one call that the sink makes, `POST /INDEX/_bulk` with `create`, as Elasticsearch 8.19 does (the integration
 * test asks both the same), or whatever a test puts into `answer`.
 */
export class ElasticsearchDouble {
  readonly requests: BulkRequest[] = [];
  /** Instead of its own; undefined from here means its own after all. */
  answer: (request: BulkRequest) => Answer | undefined = () => undefined;
  /** Document by id, in order of arrival. */
  readonly documents = new Map<string, Record<string, unknown>>();
  readonly #server: Server;

  constructor() {
    this.#server = createServer(async (incoming, outgoing) => {
      const body = Buffer.concat(await incoming.toArray());
      const lines = body.toString().trimEnd().split('\n');
      const request: BulkRequest = {
        path: incoming.url!,
        headers: incoming.headers,
        bytes: body.length,
        documents: Array.from({ length: lines.length / 2 }, (_, index) => ({
          id: JSON.parse(lines[2 * index]!).create._id,
          source: JSON.parse(lines[2 * index + 1]!),
        })),
      };
      this.requests.push(request);
      const { status, headers, body: answer } = this.answer(request) ?? this.#create(request);
      outgoing.writeHead(status, { 'content-type': 'application/json', ...PRODUCT, ...headers });
      outgoing.end(typeof answer === 'object' && !Buffer.isBuffer(answer) ? JSON.stringify(answer) : answer);
    });
  }

  static async start(t: Cleaner): Promise<ElasticsearchDouble> {
    const double = new ElasticsearchDouble();
    await double.#listen(0);
    t.after(() => double.#close());
    return double;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  async restart(): Promise<void> {
    const port = this.#port;
    await this.#close();
    await this.#listen(port);
  }

  get #port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  #listen(port: number): Promise<void> {
    return new Promise((resolve) => this.#server.listen(port, '127.0.0.1', () => resolve()));
  }

  #close(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }

  #create({ documents }: BulkRequest): Answer {
    const items = documents.map(({ id, source }) => {
      if (this.documents.has(id)) return { create: conflict(id) };
      this.documents.set(id, source);
      return { create: { status: 201 } };
    });
    return { status: 200, body: { items } };
  }
}

/** @see https://www.elastic.co/docs/release-notes/elasticsearch: sent since 7.14; its absence makes the client refuse. */
const PRODUCT = { 'x-elastic-product': 'Elasticsearch' };

/** The parts that the sink asks for by filter_path, without `index_uuid`, `shard` and `index`. */
export function conflict(id: string) {
  return {
    status: 409,
    error: {
      type: 'version_conflict_engine_exception',
      reason: `[${id}]: version conflict, document already exists (current version [1])`,
    },
  };
}

/** An address that takes connections and never says anything. */
export async function silentAddress(t: Cleaner): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createTcpServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.resume();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
