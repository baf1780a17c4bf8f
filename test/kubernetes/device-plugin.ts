/**
 * A device plugin that gives pods one device of the node, as generic-device-plugin does: what an unprivileged container needs to
 * open /dev/kmsg. kubelet and containerd are real; this is the third in their conversation.
 *
 * Interface: k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1/api.proto, gRPC over unix sockets in kubelet's folder.
 */
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import http2, { type ServerHttp2Stream } from 'node:http2';
import { connect } from 'node:net';
import path from 'node:path';
import type { TestContext } from 'node:test';

const VERSION = 'v1beta1';
const GRPC = { 'content-type': 'application/grpc', te: 'trailers' } as const;
const LENGTH_DELIMITED = 2;

export interface DevicePlugin {
  /** `squat.ai/kmsg` */
  readonly resource: string;
  /** Path on the node and in the container. */
  readonly device: string;
  readonly permissions: string;
}

/** @param folder kubelet's device-plugins, where its own socket is */
export async function startDevicePlugin(t: TestContext, folder: string, plugin: DevicePlugin): Promise<void> {
  const name = `${plugin.resource.replace('/', '-')}.sock`;
  const socket = path.join(folder, name);
  rmSync(socket, { force: true });
  const server = http2.createServer();
  const sessions = new Set<http2.ServerHttp2Session>();
  server.on('session', (session) => sessions.add(session));
  server.on('stream', (stream: ServerHttp2Stream, headers) =>
    answer(stream, String(headers[':path']), plugin),
  );
  server.listen(socket);
  await once(server, 'listening');
  t.after(() => {
    for (const session of sessions) session.destroy();
    server.close();
  });
  const request = [text(1, VERSION), text(2, name), text(3, plugin.resource)];
  await call(path.join(folder, 'kubelet.sock'), `/${VERSION}.Registration/Register`, Buffer.concat(request));
}

function answer(stream: ServerHttp2Stream, method: string, plugin: DevicePlugin): void {
  stream.on('error', () => {});
  stream.respond({ ':status': 200, 'content-type': GRPC['content-type'] }, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
  switch (method) {
    case `/${VERSION}.DevicePlugin/ListAndWatch`: {
      const device = Buffer.concat([text(1, 'only'), text(2, 'Healthy')]);
      // It stays open: its end would say that the plugin is gone.
      stream.write(framed(bytes(1, device)));
      return;
    }
    case `/${VERSION}.DevicePlugin/Allocate`: {
      const device = [text(1, plugin.device), text(2, plugin.device), text(3, plugin.permissions)];
      stream.end(framed(bytes(1, bytes(3, Buffer.concat(device)))));
      return;
    }
    default:
      // GetDevicePluginOptions: none.
      stream.end(framed(Buffer.alloc(0)));
  }
}

/** @throws with what the other side says */
async function call(socket: string, method: string, message: Buffer): Promise<void> {
  const session = http2.connect('http://localhost', { createConnection: () => connect(socket) });
  try {
    const stream = session.request({ ':method': 'POST', ':path': method, ...GRPC });
    let status: Record<string, unknown> = {};
    for (const part of ['response', 'trailers'] as const)
      stream.on(part, (headers) => {
        status = { ...status, ...headers };
      });
    stream.resume();
    stream.end(framed(message));
    await once(stream, 'close');
    if (status['grpc-status'] !== '0')
      throw new Error(`${method}: ${status['grpc-message'] ?? JSON.stringify(status)}`);
  } finally {
    session.destroy();
  }
}

/** One message of gRPC: not compressed, its length before it. */
function framed(message: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

function text(field: number, value: string): Buffer {
  return bytes(field, Buffer.from(value));
}

/** A field of protobuf; everything here is shorter than 128 bytes, so that its length is one. */
function bytes(field: number, value: Buffer): Buffer {
  if (value.length > 127) throw new Error('too long for one byte of length');
  return Buffer.concat([Buffer.from([(field << 3) | LENGTH_DELIMITED, value.length]), value]);
}
