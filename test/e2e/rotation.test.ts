/** Certificates and secrets are replaced while the agent runs. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { signature } from '../../sinks/webhook.ts';
import { AgentProcess } from '../agent-process.ts';
import { until } from '../sinks/contract.ts';
import { type ReceivedRequest, Receiver } from '../sinks/receiver.ts';
import { KillLog } from './kill-log.ts';
import { MountedSecret } from './mounted-secret.ts';

const ARRIVAL_MS = 60_000;

function isSignedWith(secret: string, { headers, body }: ReceivedRequest): boolean {
  const [, seconds, hmac] = /^t=(\d+),v1=(\w+)$/.exec(String(headers['x-oom-witness-signature'])) ?? [];
  return hmac === signature(secret, Number(seconds), body);
}

describe('files that are replaced while the agent runs', () => {
  it('are used from the next delivery on; what is no use for a moment is waited for', async (t) => {
    const secret = new MountedSecret(t);
    const receiver = await Receiver.start(t, { tls: secret.issue('first') });
    const log = new KillLog(t);
    const agent = await AgentProcess.start(t, {
      args: [
        ...['--log-file', log.file, '--webhook-url', receiver.url, '--webhook-ca', secret.path('ca.crt')],
        ...['--webhook-cert', secret.path('tls.crt'), '--webhook-key', secret.path('tls.key')],
        ...['--webhook-secret-file', secret.path('password')],
      ],
    });
    const arrived = async (count: number, password: string) => {
      await until(() => receiver.requests.length === count, `${count} incidents`, ARRIVAL_MS);
      const last = receiver.requests.at(-1)!;
      assert.deepEqual([last.clientAuthorized, isSignedWith(password, last)], [true, true]);
    };
    log.kill();
    await arrived(1, 'first');

    await receiver.restart(secret.issue('second'));
    log.kill();
    await arrived(2, 'second');
    assert.deepEqual(
      agent.log.filter(({ sink }) => sink === 'webhook').map(({ msg }) => msg),
      ['its files were replaced, opening the sink anew'],
    );

    // In place, as `cp` writes it.
    const key = readFileSync(secret.path('tls.key'), 'utf8');
    writeFileSync(secret.path('tls.key'), key.slice(0, 60));
    log.kill();
    const said = () => agent.log.find(({ msg }) => msg === 'sink cannot be opened, trying again');
    await agent.until(() => said() !== undefined, 'saying what is wrong');
    assert.match(String(said()!.reason), /^--webhook-cert: not usable PEM: /);
    assert.equal(receiver.requests.length, 2);
    writeFileSync(secret.path('tls.key'), key);
    await arrived(3, 'second');
    assert.equal(await agent.terminate(), 0);
  });

  it('the API takes a new token from the next request on, and the one before while there is none', async (t) => {
    const secret = new MountedSecret(t);
    secret.issue('first');
    const agent = await AgentProcess.start(t, {
      args: [
        ...['--log-file', new KillLog(t).file, '--listen', '127.0.0.1:0'],
        ...['--api-token-file', secret.path('password')],
      ],
    });
    const listening = () => agent.log.find(({ msg }) => msg === 'listening');
    await agent.until(() => listening() !== undefined, 'listening');
    const status = async (token: string) => {
      const authorization = `Basic ${Buffer.from(`any:${token}`).toString('base64')}`;
      return (await fetch(String(listening()!.url), { headers: { authorization } })).status;
    };
    assert.deepEqual([await status('first'), await status('second')], [200, 401]);
    secret.issue('second');
    assert.deepEqual([await status('first'), await status('second')], [401, 200]);

    // In place, as `cp` does: empty at first.
    writeFileSync(secret.path('password'), '');
    assert.deepEqual([await status(''), await status('second')], [401, 200]);
    const said = () => agent.log.find(({ msg }) => String(msg).startsWith('API token not renewed'));
    await agent.until(() => said() !== undefined, 'saying why');
    assert.match(String(said()!.reason), /^--api-token-file: .* is empty\./);
    writeFileSync(secret.path('password'), 'third');
    assert.deepEqual([await status('second'), await status('third')], [401, 200]);
  });
});
