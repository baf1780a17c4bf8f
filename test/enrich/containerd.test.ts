import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import path from 'node:path';
import { buffer } from 'node:stream/consumers';
import { it, type TestContext } from 'node:test';
import { textsMessage } from '../../src/containerd/wire.ts';
import { ContainerdFinder } from '../../src/enrich/containerd.ts';
import { containerKill } from '../incidents.ts';
import { temporaryFolder } from '../temporary-folder.ts';

/** Bytes before each message of gRPC: whether it is packed, and its length. */
const PREFIX = 5;
const IMAGE = 'registry.example/shop:1';

/** As much of containerd as is asked for a name; it knows every container. */
class FakeContainerd {
  readonly socket: string;
  connections = 0;
  readonly asked: string[] = [];
  answers = true;
  readonly #sessions = new Set<ServerHttp2Session>();

  private constructor(socket: string) {
    this.socket = socket;
  }

  static async start(t: TestContext): Promise<FakeContainerd> {
    const fake = new FakeContainerd(path.join(temporaryFolder(t, 'oom-witness-containerd'), 's'));
    const server = createServer();
    server.on('session', (session) => {
      fake.connections += 1;
      fake.#sessions.add(session);
      session.once('close', () => fake.#sessions.delete(session));
    });
    server.on('stream', (stream: ServerHttp2Stream, headers) =>
      fake.#answer(stream, String(headers[':path'])),
    );
    server.listen(fake.socket);
    await once(server, 'listening');
    t.after(() => {
      for (const session of fake.#sessions) session.destroy();
      server.close();
    });
    return fake;
  }

  get open(): number {
    return this.#sessions.size;
  }

  async #answer(stream: ServerHttp2Stream, method: string): Promise<void> {
    stream.on('error', () => {});
    const request = (await buffer(stream)).subarray(PREFIX);
    this.asked.push(method.replace(/.*\//, ''));
    if (!this.answers) return;
    const namespaces = Buffer.concat([Buffer.from([10, 9]), textsMessage([[1, 'default']])]);
    const id = request.subarray(2).toString();
    const container = textsMessage([
      [1, id],
      [3, IMAGE],
    ]);
    const size = Buffer.from([10, container.length]);
    const message = method.endsWith('/List') ? namespaces : Buffer.concat([size, container]);
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    stream.once('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    const prefix = Buffer.alloc(PREFIX);
    prefix.writeUInt32BE(message.length, 1);
    stream.end(Buffer.concat([prefix, message]));
  }
}

const kill = (number: number) => ({
  ...containerKill(),
  container: { id: `${number}`.padStart(64, 'a') },
});

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise(setImmediate);
}

it('the kills of a storm share a connection to containerd, which ends with them', {
  timeout: 30_000,
}, async (t) => {
  const containerd = await FakeContainerd.start(t);
  const finder = new ContainerdFinder(() => containerd.socket, new Set());
  const { signal } = new AbortController();
  for (const connections of [1, 2]) {
    const kills = [1, 2, 3].map(kill);
    const findings = await Promise.all(kills.map((incident) => finder.find(incident, signal)));
    for (const [index, finding] of findings.entries()) {
      assert.equal(finding?.identity.container?.id, kills[index]?.container.id);
      assert.equal(finding?.identity.container?.image?.name, IMAGE);
    }
    assert.equal(containerd.connections, connections);
    assert.deepEqual(containerd.asked.splice(0), ['List', 'Get', 'Get', 'Get']);
    await until(() => containerd.open === 0);
  }
});

it('who gives up does not end the question for the others, nor leave a connection', {
  timeout: 30_000,
}, async (t) => {
  const containerd = await FakeContainerd.start(t);
  containerd.answers = false;
  const finder = new ContainerdFinder(() => containerd.socket, new Set());
  const [first, second] = [new AbortController(), new AbortController()];
  const asking = [first, second].map(({ signal }, index) => finder.find(kill(index), signal));
  const ends = asking.map((each) => assert.rejects(each, /^Error: no answer in time$/));
  await until(() => containerd.asked.length === 1);
  first.abort();
  await ends[0];
  assert.equal(containerd.open, 1);
  containerd.answers = true;
  const { signal } = new AbortController();
  assert.equal((await finder.find(kill(3), signal))?.identity.container?.image?.name, IMAGE);
  second.abort();
  await ends[1];
  await until(() => containerd.open === 0);
});
