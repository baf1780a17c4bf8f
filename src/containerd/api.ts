/** The part of containerd's API that is read, by gRPC over its unix socket. */
import type { Client, ClientReadableStream, Metadata, ServiceError } from '@grpc/grpc-js';
import {
  type ContainerdContainer,
  type ContainerdEvent,
  type ContainerdTask,
  containerIn,
  eventOf,
  namespacesIn,
  TOPICS,
  tasksIn,
} from './messages.ts';
import { textsMessage } from './wire.ts';

type Grpc = typeof import('@grpc/grpc-js');

const NOT_FOUND = 5;
/** A daemon that starts hundreds of containers at the same time takes seconds for an answer. */
const SILENCE_MS = 30_000;
const OPTIONS = {
  // Nobody debugs channels here, and whoever uses this tries again by himself.
  'grpc.enable_channelz': 0,
  'grpc.enable_retries': 0,
  // Bytes. An event has 100 bytes, a container its whole specification (10 KiB), a list of tasks 200 bytes for each.
  'grpc.max_receive_message_length': 16 << 20,
} as const;

const NOTHING = Buffer.alloc(0);

/** One connection; a broken one is not mended. */
export class Containerd {
  readonly #grpc: Grpc;
  readonly #client: Client;

  /** Connects when something is asked for. Loads gRPC: 4 MB of anonymous memory in the bundle. */
  static async open(socket: string): Promise<Containerd> {
    return new Containerd(await import('@grpc/grpc-js'), socket);
  }

  private constructor(grpc: Grpc, socket: string) {
    this.#grpc = grpc;
    this.#client = new grpc.Client(`unix:${socket}`, grpc.credentials.createInsecure(), OPTIONS);
  }

  async namespaces(signal: AbortSignal): Promise<string[]> {
    return namespacesIn(await this.#ask('namespaces.v1.Namespaces/List', NOTHING, undefined, signal));
  }

  /** All of a namespace, one by one: a list at once would hold all their specifications. */
  async *containers(namespace: string, signal: AbortSignal): AsyncGenerator<ContainerdContainer> {
    const path = 'containers.v1.Containers/ListStream';
    const stream = this.#stream(path, NOTHING, namespace, signal, Date.now() + SILENCE_MS);
    for await (const answer of stream) {
      const container = containerIn(answer as Buffer);
      if (container !== undefined) yield container;
    }
  }

  /** @returns undefined where there is no such container any more */
  async container(
    id: string,
    namespace: string,
    signal: AbortSignal,
  ): Promise<ContainerdContainer | undefined> {
    const request = textsMessage([[1, id]]);
    try {
      return containerIn(await this.#ask('containers.v1.Containers/Get', request, namespace, signal));
    } catch (error) {
      if ((error as Partial<ServiceError>).code === NOT_FOUND) return undefined;
      throw error;
    }
  }

  async tasks(namespace: string, signal: AbortSignal): Promise<ContainerdTask[]> {
    return tasksIn(await this.#ask('tasks.v1.Tasks/List', NOTHING, namespace, signal));
  }

  /**
   * What happens from now on, in all namespaces. containerd remembers nothing.
   *
   * @param skipped called for what cannot be read
   */
  async *events(skipped: (reason: string) => void, signal: AbortSignal): AsyncGenerator<ContainerdEvent> {
    const filters = Object.keys(TOPICS).map((topic) => [1, `topic=="${topic}"`] as const);
    for await (const envelope of this.#stream(
      'events.v1.Events/Subscribe',
      textsMessage(filters),
      undefined,
      signal,
    )) {
      let event: ContainerdEvent | undefined;
      try {
        event = eventOf(envelope as Buffer);
      } catch (error) {
        skipped((error as Error).message);
      }
      if (event !== undefined) yield event;
    }
  }

  close(): void {
    this.#client.close();
  }

  #ask(path: string, request: Buffer, namespace: string | undefined, signal: AbortSignal): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const call = this.#client.makeUnaryRequest(
        `/containerd.services.${path}`,
        same,
        same,
        request,
        this.#metadata(namespace),
        { deadline: Date.now() + SILENCE_MS },
        (error, answer) => {
          signal.removeEventListener('abort', cancel);
          if (error !== null) reject(error);
          else resolve(answer ?? NOTHING);
        },
      );
      const cancel = () => call.cancel();
      signal.addEventListener('abort', cancel);
      if (signal.aborted) cancel();
    });
  }

  #stream(
    path: string,
    request: Buffer,
    namespace: string | undefined,
    signal: AbortSignal,
    deadline = Number.POSITIVE_INFINITY,
  ): ClientReadableStream<Buffer> {
    const metadata = this.#metadata(namespace);
    const options = { deadline };
    const call = this.#client.makeServerStreamRequest(
      `/containerd.services.${path}`,
      same,
      same,
      request,
      metadata,
      options,
    );
    const cancel = () => call.cancel();
    signal.addEventListener('abort', cancel);
    call.once('close', () => signal.removeEventListener('abort', cancel));
    if (signal.aborted) cancel();
    return call;
  }

  #metadata(namespace: string | undefined): Metadata {
    const metadata = new this.#grpc.Metadata();
    if (namespace !== undefined) metadata.set('containerd-namespace', namespace);
    return metadata;
  }
}

/** Messages are read and written here. */
function same(bytes: Buffer): Buffer {
  return bytes;
}
