import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { type TestContext, test } from 'node:test';
import * as v from 'valibot';
import { open, options, settings } from '../../sinks/syslog.ts';
import { OptionError } from '../../src/config/option.ts';
import type { EventFormat } from '../../src/event-format.ts';
import { loadUnixDatagram } from '../../src/kernel/unix-datagram.ts';
import type { Outcome, Sink, SinkContext } from '../../src/sink.ts';
import { makeCertificates } from '../fixtures/tls.ts';
import { containerKill, delivery, groupKill, HOST, KERNEL_VERSION_LINE, storm } from '../incidents.ts';
import { PORT_OF_NOBODY } from '../servers/free-ports.ts';
import {
  receiveNothing,
  receiveStream,
  receiveUdp,
  receiveUnix,
  type SyslogReceiver,
} from '../servers/syslog-receiver.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import { type SinkFixture, testSinkContract, until } from './contract.ts';

const NEVER = new AbortController().signal;
const NOW = Date.UTC(2026, 10, 21, 3, 14, 16);
const noUnix = 'missing' in loadUnixDatagram() && 'this Node.js has no node:ffi';

/** As main does it: each text through its option's schema. */
function parsed(texts: Readonly<Record<string, string>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(texts).map(([name, text]) => {
      const option = options.find((known) => known.name === `syslog-${name}`);
      assert.ok(option, `no option syslog-${name}`);
      return [option.name, v.parse(option.schema, text)];
    }),
  );
}

function openSink(
  texts: Readonly<Record<string, string>>,
  eventFormat: EventFormat = 'incident',
  now = () => NOW,
): Promise<Sink> {
  const context: SinkContext = {
    host: HOST,
    kernelVersionLine: KERNEL_VERSION_LINE,
    eventFormat,
    now,
    stdout: new Writable(),
    onReopen: () => () => {},
    log: () => {},
  };
  const chosen = settings(parsed(texts));
  assert.ok(chosen);
  return open(chosen, context);
}

function incidentIds(messages: readonly string[]): string[] {
  return messages.map((message) => {
    const id = /\[incident@\d+ id="([^"]+)"/.exec(message) ?? /\(incident ([^)]+)\)/.exec(message);
    assert.ok(id, `no incident id in ${message.slice(0, 300)}`);
    return id[1]!;
  });
}

function overNetwork(
  texts: Readonly<Record<string, string>>,
  receive: (t: TestContext) => Promise<SyslogReceiver>,
): (t: TestContext) => Promise<SinkFixture> {
  return async (t) => {
    const receiver = await receive(t);
    const to = (port: number) => openSink({ ...texts, server: `127.0.0.1:${port}` });
    return {
      open: () => to(receiver.port),
      openAgainstNothing: async () => to(PORT_OF_NOBODY),
      openAgainstSilence: async () => to(await receiveNothing(t)),
      received: async () => incidentIds(receiver.messages),
      restart: () => receiver.restart(),
    };
  };
}

for (const format of ['rfc5424', 'rfc3164'] as const) {
  testSinkContract(`syslog ${format} over udp`, overNetwork({ format, proto: 'udp' }, receiveUdp), {
    datagram: true,
  });
  for (const framing of ['octet-counting', 'newline'] as const)
    testSinkContract(
      `syslog ${format} over tcp, ${framing}`,
      overNetwork({ format, framing, proto: 'tcp' }, receiveStream),
    );
}

testSinkContract('syslog rfc5424 over tls', async (t) => {
  const { ca, serverCert, serverKey, clientCert, clientKey } = makeCertificates(t);
  const server = {
    ca: readFileSync(ca),
    cert: readFileSync(serverCert),
    key: readFileSync(serverKey),
    requestCert: true,
  };
  const texts = { proto: 'tls', ca, cert: clientCert, key: clientKey };
  return overNetwork(texts, () => receiveStream(t, server))(t);
});

if (!noUnix)
  testSinkContract('syslog rfc5424 over unix', async (t) => {
    const folder = temporaryFolder(t, 'oom-witness-syslog');
    const path = join(folder, 'log');
    const receiver = receiveUnix(t, path);
    const silent = join(folder, 'silent');
    receiveUnix(t, silent).pause();
    const at = (socket: string) => openSink({ proto: 'unix', socket });
    return {
      open: () => at(path),
      openAgainstNothing: () => at(join(folder, 'nobody')),
      openAgainstSilence: () => at(silent),
      received: async () => incidentIds(receiver.read()),
      restart: async () => receiver.restart(),
    };
  });

test('unix without node:ffi says what is missing and what still works', {
  skip: !noUnix && 'this Node.js has node:ffi',
}, async () => {
  await assert.rejects(openSink({ proto: 'unix' }), (error) => {
    assert.ok(error instanceof OptionError);
    assert.match(error.message, /node:ffi.*Use udp, tcp or tls/);
    return true;
  });
});

test('a server that has not read everything when it dies: a wish to retry', async () => {
  const { promise: stopping, resolve: onStop } = Promise.withResolvers<() => void | Promise<void>>();
  const port = await receiveNothing({ after: onStop });
  const sink = await openSink({ proto: 'tcp', server: `127.0.0.1:${port}` });
  const pending = sink.deliver(storm(2), NEVER);
  const early = await Promise.race([pending, new Promise((resolve) => setTimeout(resolve, 200, 'none'))]);
  assert.equal(early, 'none', 'delivered, although nobody has read it');
  const stop = await stopping;
  await stop();
  assertAllRetry(await pending);
});

test('a server that refuses by closing: a wish to retry', async (t) => {
  // However late it does.
  t.mock.timers.enable({ apis: ['setTimeout'] });
  for (const proto of ['tcp', 'tls']) {
    const certificates = makeCertificates(t);
    const refusing = await receiveStream(
      t,
      proto === 'tls'
        ? { cert: readFileSync(certificates.serverCert), key: readFileSync(certificates.serverKey) }
        : undefined,
      (socket) => socket.end(),
    );
    const tls: Record<string, string> = proto === 'tls' ? { ca: certificates.ca } : {};
    const sink = await openSink({ proto, ...tls, server: `127.0.0.1:${refusing.port}` });
    assertAllRetry(await sink.deliver(storm(2), NEVER), /closed the connection/);
  }
});

test('TLS: a client certificate that is missing or a server that is not the right one: never delivered', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { ca, strangerCa, serverCert, serverKey, clientCert, clientKey } = makeCertificates(t);
  const receiver = await receiveStream(t, {
    ca: readFileSync(ca),
    cert: readFileSync(serverCert),
    key: readFileSync(serverKey),
    requestCert: true,
  });
  const good = { proto: 'tls', server: `127.0.0.1:${receiver.port}`, ca, cert: clientCert, key: clientKey };
  const { cert, key, ...anonymous } = good;
  const reasons: [Record<string, string>, RegExp][] = [
    [anonymous, /certificate required|closed|ECONNRESET|EPIPE/i],
    [{ ...good, ca: strangerCa }, /unable to verify|self.signed|issuer/i],
    [{ ...good, 'server-name': 'wrong.example' }, /wrong\.example/],
  ];
  for (const [texts, reason] of reasons) {
    const sink = await openSink(texts);
    assertAllRetry(await sink.deliver(storm(1), NEVER), reason);
  }
  assert.deepEqual(receiver.messages, []);
});

test('TLS: renewed certificates are used without a restart', async (t) => {
  const { ca, strangerCa, folder, serverCert, serverKey } = makeCertificates(t);
  const trusted = join(folder, 'trusted.pem');
  writeFileSync(trusted, readFileSync(strangerCa));
  const receiver = await receiveStream(t, { cert: readFileSync(serverCert), key: readFileSync(serverKey) });
  const sink = await openSink({ proto: 'tls', server: `localhost:${receiver.port}`, ca: trusted });
  assertAllRetry(await sink.deliver(storm(1), NEVER));
  writeFileSync(trusted, readFileSync(ca));
  assert.deepEqual(await sink.deliver(storm(1), NEVER), [{ kind: 'delivered' }]);
});

test('UDP: a closed port is noticed', async () => {
  const sink = await openSink({ proto: 'udp', server: `127.0.0.1:${PORT_OF_NOBODY}` });
  assertAllRetry(await sink.deliver(storm(1), NEVER), /ECONNREFUSED/);
});

test('when a delivery fails, what was taken within the last 5 s is sent again with the next', async (t) => {
  const receiver = await receiveStream(t);
  let now = NOW;
  const sink = await openSink({ proto: 'tcp', server: `127.0.0.1:${receiver.port}` }, 'incident', () => now);
  const [old, recent, failing, last] = storm(4);
  const ids = [old, recent, failing, last].map((each) => each!.incident.id);
  await sink.deliver([old!], NEVER);
  now += 6000;
  await sink.deliver([recent!], NEVER);
  now += 1000;
  assertAllRetry(await sink.deliver([failing!], AbortSignal.abort()));
  await sink.deliver([failing!], NEVER);
  await sink.deliver([last!], NEVER);
  assert.deepEqual(incidentIds(receiver.messages), [ids[0], ids[1], ids[1], ids[2], ids[3]]);
});

test('octet counting and newline frame messages as RFC 6587 says', async (t) => {
  for (const [framing, expected] of [
    ['octet-counting', /^\d+ <27>1 [^\n]*$/],
    ['newline', /^<27>1 [^\n]*\n$/],
  ] as const) {
    const receiver = await receiveStream(t);
    const sink = await openSink({ proto: 'tcp', framing, server: `127.0.0.1:${receiver.port}` });
    await sink.deliver([delivery(containerKill())], NEVER);
    await until(() => receiver.connections.length === 1, 'the end of the connection');
    assert.match(receiver.connections[0]!, expected);
  }
});

test("--event-format oom-notifier: that program's bytes, a connection for each victim", async (t) => {
  const receiver = await receiveStream(t);
  const server = `127.0.0.1:${receiver.port}`;
  const sink = await openSink({ proto: 'tcp', server }, 'oom-notifier');
  const incident = groupKill();
  assert.ok(incident.victims.length > 1);
  await sink.deliver([delivery(incident)], NEVER);
  await until(() => receiver.connections.length === incident.victims.length, 'all connections');
  for (const [index, bytes] of receiver.connections.entries()) {
    const [, date, pid, json] = /^<11>(\w{3} [ \d]\d \d\d:\d\d:\d\d) oom-notifier\[(\d+)\]: (\{.*\})$/.exec(
      bytes,
    )!;
    const { process: victim } = incident.victims[index]!;
    assert.equal(pid, String(process.pid));
    assert.equal(new Date(`${date} 2026`).getTime(), Math.floor(Date.parse(incident.time) / 1000) * 1000);
    assert.equal(
      json,
      JSON.stringify({
        cmdline: victim.command_line ?? '',
        hostname: HOST.name,
        kernel: KERNEL_VERSION_LINE,
        pid: String(victim.pid),
        time: String(Date.parse(incident.time)),
      }),
    );
  }
});

test('--event-format oom-notifier: too long for a datagram: still whole JSON', async (t) => {
  const receiver = await receiveUdp(t);
  const sink = await openSink({ proto: 'udp', server: `127.0.0.1:${receiver.port}` }, 'oom-notifier');
  const whole = containerKill();
  const process = { ...whole.process, command_line: `java ${'"\\'.repeat(50_000)} end` };
  const incident = { ...whole, process, victims: [{ ...whole.victims[0]!, process }] };
  assert.deepEqual(await sink.deliver([delivery(incident)], NEVER), [{ kind: 'delivered' }]);
  await until(() => receiver.messages.length === 1, 'the datagram');
  const { cmdline } = JSON.parse(receiver.messages[0]!.replace(/^[^{]*/, ''));
  assert.match(cmdline, /^java ".* … .*end$/);
  assert.ok(Buffer.byteLength(receiver.messages[0]!) > 65_000);
});

test('facility 0 and others reach the wire, in both formats', async (t) => {
  for (const format of ['rfc5424', 'rfc3164'])
    for (const [facility, priority] of [
      ['kern', 3],
      ['0', 3],
      ['local7', 187],
    ] as const) {
      const receiver = await receiveStream(t);
      const server = `127.0.0.1:${receiver.port}`;
      const sink = await openSink({ proto: 'tcp', format, facility, server });
      await sink.deliver([delivery(containerKill())], NEVER);
      assert.equal(/^<\d+>/.exec(receiver.messages[0] ?? '')?.[0], `<${priority}>`);
    }
});

test('settings: who asks for nothing gets no sink, defaults alone ask for nothing', () => {
  assert.equal(settings({}), undefined);
  assert.equal(settings(parsed({ enterprise: '32473' })), undefined);
});

test('settings: where the messages go', () => {
  const way = (texts: Record<string, string>) => settings(parsed(texts))!.way;
  assert.deepEqual(way({ server: 'log.example:1514' }), udpTo('log.example', 1514));
  assert.deepEqual(way({ server: 'log.example' }), udpTo('log.example', 514));
  assert.deepEqual(way({ server: '[::1]:1514' }), udpTo('::1', 1514));
  assert.deepEqual(way({ proto: 'unix' }), { protocol: 'unix', socket: '/dev/log' });
  // oom-notifier takes a server with unix and does not use it
  assert.deepEqual(way({ proto: 'unix', server: 'x:1', socket: '/run/log' }), {
    protocol: 'unix',
    socket: '/run/log',
  });
  const tls = way({ proto: 'tls', server: 'log.example' });
  assert.ok(tls.protocol === 'tls');
  assert.equal(tls.server.port, 6514);
});

test('settings: a mistake names the option and the mend', (t) => {
  const { ca, serverKey, clientCert, clientKey, folder } = makeCertificates(t);
  const server = 'log.example:514';
  const pipe = join(folder, 'pipe');
  execFileSync('mkfifo', [pipe]);
  const mistakes: [Record<string, string>, string, RegExp][] = [
    [{ proto: 'tcp' }, 'syslog-proto', /Add --syslog-server host:514/],
    [{ format: 'rfc3164' }, 'syslog-format', /Add --syslog-server/],
    [{ socket: '/run/log' }, 'syslog-socket', /Add --syslog-proto unix/],
    [{ server, socket: '/run/log' }, 'syslog-socket', /Set --syslog-proto unix/],
    [{ server, ca }, 'syslog-ca', /Set --syslog-proto tls/],
    [{ server, proto: 'udp', framing: 'newline' }, 'syslog-framing', /Set --syslog-proto tcp/],
    [{ server, proto: 'tls', cert: clientCert }, 'syslog-cert', /Add --syslog-key FILE/],
    [{ server, proto: 'tls', key: clientKey }, 'syslog-key', /Add --syslog-cert FILE/],
    [{ server, proto: 'tls', ca: '/nonexistent' }, 'syslog-ca', /ENOENT/],
    [{ server, proto: 'tls', ca: pipe }, 'syslog-ca', /it is a pipe, and it is read for each connection/],
    [{ server, proto: 'tls', cert: clientCert, key: ca }, 'syslog-key', /belongs to --syslog-cert/],
    [{ server, proto: 'tls', cert: clientCert, key: serverKey }, 'syslog-key', /belongs to --syslog-cert/],
  ];
  for (const [texts, option, message] of mistakes)
    assert.throws(
      () => settings(parsed(texts)),
      (error) => error instanceof OptionError && error.option === option && message.test(error.message),
      `${JSON.stringify(texts)} should be wrong in ${option}`,
    );
});

test('values that no syslog has are refused with the mend', () => {
  for (const [name, text, message] of [
    ['server', 'tcp://log:514', /HOST:PORT/],
    ['server', 'log:0', /HOST:PORT/],
    ['server', 'log:65536', /HOST:PORT/],
    ['server', '', /HOST:PORT/],
    ['proto', 'sctp', /unix, tcp, udp, tls/],
    ['format', 'json', /rfc5424, rfc3164/],
    ['facility', '24', /local7/],
    ['facility', 'demon', /daemon/],
    ['enterprise', '0', /IANA/],
    ['max-size', '2047', /from 2048/],
    ['max-size', '65508', /to 65507/],
    ['socket', `/${'x'.repeat(107)}`, /107 bytes/],
  ] as const)
    assert.throws(
      () => parsed({ [name]: text }),
      (error) => error instanceof v.ValiError && message.test(error.message),
      `${name} ${text}`,
    );
});

function udpTo(host: string, port: number) {
  return { protocol: 'udp', server: { host, port } };
}

function assertAllRetry(outcomes: readonly Outcome[], reason = /./): void {
  for (const outcome of outcomes) {
    assert.ok(outcome.kind === 'retry', JSON.stringify(outcome));
    assert.match(outcome.reason, reason);
  }
}
