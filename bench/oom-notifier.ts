/** A binary of oom-notifier beside the agent: its fastest setting, its events over syslog/TCP. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export class OomNotifier {
  /** pid -> `cmdline` of its event. */
  readonly commandLines = new Map<number, string>();
  readonly #stop: () => Promise<void>;

  private constructor(stop: () => Promise<void>) {
    this.#stop = stop;
  }

  static async start(program: string): Promise<OomNotifier> {
    const server = net.createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const child = spawn(
      program,
      [
        ...['--process-refresh', '100', '--kernel-log-refresh', '100'],
        ...['--syslog-proto', 'tcp', '--syslog-server', `127.0.0.1:${port}`],
      ],
      { stdio: 'ignore' },
    );
    await once(child, 'spawn');
    const peer = new OomNotifier(async () => {
      child.kill('SIGKILL');
      server.close();
    });
    server.on('connection', (socket) => {
      let text = '';
      socket.on('data', (chunk) => {
        text += chunk;
      });
      socket.on('error', () => {});
      socket.on('close', () => {
        const event = JSON.parse(text.slice(text.indexOf('{'), text.lastIndexOf('}') + 1));
        peer.commandLines.set(Number(event.pid), event.cmdline);
      });
    });
    return peer;
  }

  /** Waits until it has told so many kills, or for three of its rounds. */
  async settle(count: number): Promise<void> {
    for (let round = 0; round < 30 && this.commandLines.size < count; round++) await sleep(100);
  }

  stop(): Promise<void> {
    return this.#stop();
  }
}
