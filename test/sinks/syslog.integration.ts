/** The syslog sink against a real rsyslog and a real syslog-ng, each over every protocol. */
import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { type TestContext, test } from 'node:test';
import * as v from 'valibot';
import { open, options, settings } from '../../sinks/syslog.ts';
import type { EventFormat } from '../../src/event-format.ts';
import type { Incident } from '../../src/incident.ts';
import { loadUnixDatagram } from '../../src/kernel/unix-datagram.ts';
import type { Sink } from '../../src/sink.ts';
import { type Certificates, makeCertificates } from '../fixtures/tls.ts';
import {
  containerKill,
  delivery,
  groupKill,
  HOST,
  hostileKills,
  KERNEL_VERSION_LINE,
  nodeKill,
  numbered,
  storm,
} from '../incidents.ts';
import { PATIENCE_MS } from '../patience.ts';
import { rsyslog, rsyslogPackages } from '../servers/rsyslog.ts';
import { syslogNg, syslogNgPackages } from '../servers/syslog-ng.ts';
import type { SyslogServer, UnderstoodMessage } from '../servers/syslog-server.ts';
import { longer, until } from './contract.ts';

const packages = { rsyslog: await rsyslogPackages(), 'syslog-ng': await syslogNgPackages() };
const missing = Object.values(packages).flatMap((found) => ('missing' in found ? [found.missing] : []));
const skip = missing.length > 0 && missing.join('; ');
const noUnix = 'missing' in loadUnixDatagram();

const WAYS = ['udp', 'tcp, octet-counting', 'tcp, newline', 'tls', 'unix'] as const;
type WayName = (typeof WAYS)[number];
const SERVERS = ['rsyslog', 'syslog-ng'] as const;

const FIRST_TRY_MS = 500;

async function startedServer(
  t: TestContext,
  name: (typeof SERVERS)[number],
  certificates: Certificates,
  maxMessageSize?: number,
): Promise<SyslogServer> {
  const found = packages[name];
  assert.ok('root' in found);
  const server =
    name === 'rsyslog'
      ? await rsyslog(t, found.root, certificates, maxMessageSize)
      : await syslogNg(t, found.root, certificates);
  await server.start();
  return server;
}

function wayTo(server: SyslogServer, name: WayName, { ca, clientCert, clientKey }: Certificates) {
  const at = (port: number) => `127.0.0.1:${port}`;
  const ways: Record<WayName, Record<string, string>> = {
    udp: { proto: 'udp', server: at(server.ports.udp) },
    'tcp, octet-counting': { proto: 'tcp', server: at(server.ports.octetCounting) },
    'tcp, newline': { proto: 'tcp', framing: 'newline', server: at(server.ports.newline) },
    tls: { proto: 'tls', server: at(server.ports.tls), ca, cert: clientCert, key: clientKey },
    unix: { proto: 'unix', socket: server.socket },
  };
  return ways[name];
}

async function openSink(
  t: TestContext,
  texts: Readonly<Record<string, string>>,
  eventFormat: EventFormat = 'incident',
): Promise<Sink> {
  const values = Object.entries(texts).map(([key, text]) => {
    const option = options.find(({ name }) => name === `syslog-${key}`);
    return [option!.name, v.parse(option!.schema, text)];
  });
  const chosen = settings(Object.fromEntries(values));
  const sink = await open(chosen!, {
    host: HOST,
    kernelVersionLine: KERNEL_VERSION_LINE,
    eventFormat,
    now: Date.now,
    stdout: new Writable(),
    onReopen: () => () => {},
    log: () => {},
  });
  t.after(() => sink.close());
  return sink;
}

async function deliverAll(sink: Sink, incidents: readonly Incident[]): Promise<void> {
  const outcomes = await sink.deliver(
    incidents.map((incident) => delivery(incident)),
    AbortSignal.timeout(PATIENCE_MS),
  );
  assert.deepEqual(
    [...new Set(outcomes.map((outcome) => JSON.stringify(outcome)))],
    ['{"kind":"delivered"}'],
  );
}

async function received(server: SyslogServer, count: number): Promise<readonly UnderstoodMessage[]> {
  await until(
    async () => (await server.received()).length >= count,
    () => `${count} messages; the server says:\n${server.process.log().slice(-2000)}`,
  );
  return server.received();
}

function incidentId({ structuredData, message }: UnderstoodMessage): string {
  return structuredData['incident@32473']?.id ?? /\(incident (\S+)\)/.exec(message)?.[1] ?? 'no id';
}

for (const way of WAYS) {
  const noWay = skip || (way === 'unix' && noUnix && 'this Node.js has no node:ffi');

  test(`${way}: rsyslog and syslog-ng understand every field, and the same`, { skip: noWay }, async (t) => {
    const certificates = makeCertificates(t);
    const incidents = [
      containerKill(),
      numbered(groupKill(), 2),
      numbered(nodeKill(), 3),
      ...hostileKills().map(({ incident }) => incident),
    ];
    const understood = [];
    for (const name of SERVERS) {
      const server = await startedServer(t, name, certificates);
      const sink = await openSink(t, wayTo(server, way, certificates));
      // Datagrams that find the server's buffer full are dropped.
      const batches = way === 'udp' ? incidents.map((incident) => [incident]) : [incidents];
      let sent = 0;
      for (const batch of batches) {
        await deliverAll(sink, batch);
        sent += batch.length;
        await received(server, sent);
      }
      understood.push((await received(server, incidents.length)).map(sameTimes));
    }
    const [byRsyslog, bySyslogNg] = understood;
    assert.deepEqual(byRsyslog, bySyslogNg);
    assert.deepEqual(
      byRsyslog!.map(incidentId),
      incidents.map(({ id }) => id),
    );
    assert.deepEqual(byRsyslog![0], expectedOfContainerKill());
    assert.deepEqual(
      byRsyslog!.slice(0, 3).map(({ severity }) => severity),
      ['err', 'err', 'crit'],
    );
  });

  if (way === 'udp') continue; // it cannot know what is lost

  for (const name of SERVERS)
    test(
      `${way}: ${name} is stopped, killed and frozen during deliveries: nothing lost`,
      { skip: noWay },
      (t) => nothingIsLost(t, name, way),
    );
}

test(
  'RFC 3164 over tcp (syslog-client): rsyslog is stopped, killed and frozen: nothing lost',
  { skip },
  (t) => nothingIsLost(t, 'rsyslog', 'tcp, newline', { format: 'rfc3164' }),
);

test('rsyslog with its default limit of 8 KiB keeps the fields of a kill whose command line is longer', {
  skip,
}, async (t) => {
  const certificates = makeCertificates(t);
  const server = await startedServer(t, 'rsyslog', certificates);
  const sink = await openSink(t, wayTo(server, 'tcp, octet-counting', certificates));
  await deliverAll(sink, [withCommandLine(commandLineOf(20_000))]);
  const [message] = await received(server, 1);
  assert.equal(message!.structuredData['process@32473']!.command_line_cut, 'true');
  assert.match(message!.structuredData['process@32473']!.command_line!, /^java "x\] .* … .* the end$/);
  assert.equal(incidentId(message!), containerKill().id);
});

test('--syslog-max-size lets a long command line through whole', { skip }, async (t) => {
  const certificates = makeCertificates(t);
  const command = commandLineOf(40_000);
  for (const name of SERVERS) {
    const server = await startedServer(t, name, certificates, 65_536);
    const ways = WAYS.filter((way) => way !== 'unix' || !noUnix);
    for (const way of ways) {
      const sink = await openSink(t, { ...wayTo(server, way, certificates), 'max-size': '65507' });
      await deliverAll(sink, [withCommandLine(command)]);
    }
    for (const message of await received(server, ways.length))
      assert.equal(message.structuredData['process@32473']!.command_line, command);
  }
});

test('RFC 3164: rsyslog finds host, tag and text', { skip }, async (t) => {
  const certificates = makeCertificates(t);
  for (const way of WAYS.filter((way) => way !== 'unix' || !noUnix)) {
    const server = await startedServer(t, 'rsyslog', certificates);
    const sink = await openSink(t, {
      ...wayTo(server, way, certificates),
      format: 'rfc3164',
      facility: 'kern',
    });
    const batch = storm(3).map(({ incident }) => incident);
    await deliverAll(sink, batch);
    const messages = await received(server, 3);
    assert.deepEqual(
      messages.map(incidentId),
      batch.map(({ id }) => id),
    );
    const { facility, severity, hostname, app, procid, message } = messages[0]!;
    assert.deepEqual(
      { facility, severity, hostname, app, procid },
      {
        facility: 'kern',
        severity: 'err',
        hostname: 'node-7',
        app: 'oom-witness',
        procid: String(process.pid),
      },
    );
    assert.match(message, /^OOM kill: java in web\/shop, .* on node-7 .*--spring\.profiles\.active=prod$/);
  }
});

test('--event-format oom-notifier: rsyslog gets its JSON', { skip }, async (t) => {
  const certificates = makeCertificates(t);
  assert.ok('root' in packages.rsyslog);
  const server = await rsyslog(t, packages.rsyslog.root, certificates);
  await server.start();
  const { udp, newline, unframed } = server.ports;
  const ways: Record<string, string>[] = [
    { proto: 'udp', server: `127.0.0.1:${udp}` },
    { proto: 'tcp', server: `127.0.0.1:${unframed}` },
    { proto: 'tcp', server: `127.0.0.1:${newline}`, framing: 'newline' },
  ];
  for (const texts of ways) await deliverAll(await openSink(t, texts, 'oom-notifier'), [containerKill()]);
  const messages = await received(server, ways.length);
  for (const { facility, severity, app, message } of messages) {
    assert.deepEqual([facility, severity, app], ['user', 'err', 'oom-notifier']);
    const { cmdline, hostname, pid } = JSON.parse(message);
    assert.deepEqual(
      { cmdline, hostname, pid },
      {
        cmdline: containerKill().process.command_line,
        hostname: HOST.name,
        pid: '4243',
      },
    );
  }
});

for (const name of SERVERS)
  test(`TLS with ${name}: who is not to be trusted gets and gives nothing`, { skip }, async (t) => {
    const certificates = makeCertificates(t);
    const server = await startedServer(t, name, certificates);
    const good = wayTo(server, 'tls', certificates);
    const { cert: _cert, key: _key, ...anonymous } = good;
    const stranger = makeCertificates(t);
    const refused: Record<string, Record<string, string>> = {
      'no client certificate': anonymous,
      'a client certificate of another authority': {
        ...good,
        cert: stranger.clientCert,
        key: stranger.clientKey,
      },
      'a server of another authority': { ...good, ca: certificates.strangerCa },
      'a server of another name': { ...good, 'server-name': 'wrong.example' },
    };
    for (const [what, texts] of Object.entries(refused)) {
      const sink = await openSink(t, texts);
      // Several tries: what is refused only after the client is connected must not slip through a race.
      for (let tries = 0; tries < 5; tries++) {
        const [outcome] = await sink.deliver([delivery(containerKill())], AbortSignal.timeout(PATIENCE_MS));
        assert.equal(outcome?.kind, 'retry', what);
      }
    }
    const last = numbered(containerKill(), 9);
    await deliverAll(await openSink(t, good), [last]);
    assert.deepEqual((await received(server, 1)).map(incidentId), [last.id]);
  });

async function nothingIsLost(
  t: TestContext,
  name: (typeof SERVERS)[number],
  way: WayName,
  texts: Readonly<Record<string, string>> = {},
): Promise<void> {
  const certificates = makeCertificates(t);
  const server = await startedServer(t, name, certificates);
  const sink = await openSink(t, { ...wayTo(server, way, certificates), ...texts });
  const courier = deliverUntilStopped(sink, () => server.process.log());
  await courier.delivers(10);

  await server.process.stop();
  await courier.retries();
  await server.start();
  await courier.delivers(10);

  await server.process.kill9();
  await courier.retries();
  await server.start();
  await courier.delivers(10);

  await server.process.freeze();
  await courier.retries();
  server.process.thaw();
  await courier.delivers(10);

  await server.process.freeze();
  await courier.retries();
  await server.process.kill9();
  await server.start();
  await courier.delivers(10);

  const delivered = await courier.stop();
  const lost = async () => {
    const arrived = new Set((await server.received()).map(incidentId));
    return delivered.filter((id) => !arrived.has(id));
  };
  await until(async () => (await lost()).length === 0, 'all that was reported as delivered').catch(() => {});
  assert.deepEqual(await lost(), [], `of ${delivered.length}`);
}

/** As a courier does it: one after the other, each until it is delivered, with more patience each time. */
function deliverUntilStopped(sink: Sink, serverLog: () => string) {
  const delivered: string[] = [];
  let retries = 0;
  let lastRetry = '';
  let stopped = false;
  const running = (async () => {
    for (let sequence = 1; !stopped; sequence++) {
      const incident = numbered(containerKill(), sequence);
      let tryMs = FIRST_TRY_MS;
      const once = async () => {
        const [outcome] = await sink.deliver([delivery(incident)], AbortSignal.timeout(tryMs));
        tryMs = longer(tryMs);
        if (outcome!.kind === 'delivered') return true;
        retries++;
        lastRetry = outcome!.reason;
        return false;
      };
      await until(once, `the delivery of number ${sequence}`);
      delivered.push(incident.id);
    }
  })();
  running.catch(() => {}); // reported by stop()
  return {
    async delivers(count: number) {
      const goal = delivered.length + count;
      await until(
        () => delivered.length >= goal,
        () => `${count} deliveries; after ${retries} failed ones, the last: ${lastRetry}\n${serverLog()}`,
      );
    },
    async retries() {
      const before = retries;
      await until(() => retries > before, 'a failed delivery');
    },
    async stop(): Promise<readonly string[]> {
      stopped = true;
      await running;
      return delivered;
    },
  };
}

function commandLineOf(length: number): string {
  return `java "x] \\ ${'-Dä=1 '.repeat(length).slice(0, length)} the end`;
}

function withCommandLine(command_line: string): Incident {
  const whole = containerKill();
  const process = { ...whole.process, command_line };
  return { ...whole, process, victims: [{ ...whole.victims[0]!, process }] };
}

/** One writes `Z`, the other `+00:00`. */
function sameTimes(message: UnderstoodMessage): UnderstoodMessage {
  return { ...message, timestamp: new Date(message.timestamp).toISOString() };
}

function expectedOfContainerKill(): UnderstoodMessage {
  const { id, time, process: java, oom, k8s, container } = containerKill();
  return {
    facility: 'daemon',
    severity: 'err',
    timestamp: time,
    hostname: 'node-7',
    app: 'oom-witness',
    procid: String(process.pid),
    msgid: 'OOMKILL',
    structuredData: {
      'process@32473': {
        pid: '4243',
        name: 'java',
        parent_pid: '4100',
        executable: '/usr/bin/java',
        user: '1000',
        command_line: java.command_line!,
      },
      'k8s@32473': {
        namespace: 'web',
        pod: k8s!.pod!.name!,
        container: 'shop',
        deployment: 'shop',
        node: 'node-7',
      },
      'container@32473': {
        id: container!.id!,
        name: 'shop',
        runtime: 'containerd',
        image: container!.image!.name!,
      },
      'oom@32473': {
        scope: 'cgroup',
        limit_owner: 'container',
        limit: '2147483648',
        usage: String(oom.usage),
      },
      'incident@32473': { id, kind: 'oom_kill' },
    },
    message: `OOM kill: java in web/shop, container limit 2.00 GiB, on node-7: ${java.command_line}`,
  };
}
