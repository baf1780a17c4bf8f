/** A real rsyslog from Debian's package, with every input that the syslog sink can talk to. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import net from 'node:net';
import { join } from 'node:path';
import tls from 'node:tls';
import type { Certificates } from '../fixtures/tls.ts';
import { freshFolder } from '../temporary-folder.ts';
import { libraryPath, type UnpackedPackages, unpackPackages } from './apt.ts';
import { freePorts } from './free-ports.ts';
import { startServer } from './process.ts';
import { type SyslogServer, syslogServer, type UnderstoodMessage } from './syslog-server.ts';

export function rsyslogPackages(): Promise<UnpackedPackages> {
  return unpackPackages('rsyslog', [
    ...['rsyslog', 'rsyslog-openssl', 'libestr0', 'libfastjson4', 'liblognorm5'],
  ]);
}

/**
 * Not yet started. TLS wants a client certificate of the authority. (It could want a certain name, but Debian's 8.2302
 * checks that in some connections and not in others.)
 *
 * @param maxMessageSize bytes; rsyslog's default is 8 KiB
 */
export async function rsyslog(
  t: { after(clean: () => Promise<void>): void },
  root: string,
  certificates: Certificates,
  maxMessageSize?: number,
): Promise<SyslogServer & { readonly ports: { readonly unframed: number } }> {
  const folder = freshFolder('oom-witness-rsyslog');
  const [udp, tcp, overTls, unframed] = (await freePorts(4)) as [number, number, number, number];
  const ports = { udp, octetCounting: tcp, newline: tcp, tls: overTls, unframed };
  const socket = join(folder, 'log');
  const output = join(folder, 'out.jsonl');
  const configuration = join(folder, 'rsyslog.conf');
  writeFileSync(
    configuration,
    `global(workDirectory="${folder}" ${maxMessageSize ? `maxMessageSize="${maxMessageSize}"` : ''}
  defaultNetstreamDriver="ossl" defaultNetstreamDriverCAFile="${certificates.ca}"
  defaultNetstreamDriverCertFile="${certificates.serverCert}" defaultNetstreamDriverKeyFile="${certificates.serverKey}")
module(load="imudp") module(load="imptcp") module(load="imuxsock" sysSock.use="off") module(load="mmpstrucdata")
module(load="imtcp" streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="x509/certvalid")
template(name="json" type="list" option.jsonf="on") {
  property(outname="facility" name="syslogfacility-text" format="jsonf")
  property(outname="severity" name="syslogseverity-text" format="jsonf")
  property(outname="timestamp" name="timereported" dateFormat="rfc3339" format="jsonf")
  property(outname="hostname" name="hostname" format="jsonf")
  property(outname="app" name="app-name" format="jsonf")
  property(outname="procid" name="procid" format="jsonf")
  property(outname="msgid" name="msgid" format="jsonf")
  property(outname="structured-data" name="$!rfc5424-sd" format="jsonf")
  property(outname="message" name="msg" format="jsonf")
}
ruleset(name="all") {
  action(type="mmpstrucdata" sd_name.lowercase="off")
  action(type="omfile" file="${output}" template="json" flushOnTXEnd="on" asyncWriting="off")
}
input(type="imudp" address="127.0.0.1" port="${ports.udp}" ruleset="all")
input(type="imptcp" address="127.0.0.1" port="${tcp}" ruleset="all")
input(type="imtcp" address="127.0.0.1" port="${ports.tls}" ruleset="all")
# Unlike imptcp it takes a message that only the end of the connection ends.
input(type="imtcp" address="127.0.0.1" port="${ports.unframed}" ruleset="all" streamDriver.name="ptcp" streamDriver.mode="0" streamDriver.authMode="anon")
# Else it takes the message apart in its own way and replaces the sender's time.
input(type="imuxsock" socket="${socket}" useSpecialParser="off" parseHostname="on" ignoreTimestamp="off" useSysTimeStamp="off" ruleset="all")
`,
  );
  const library = libraryPath(root);
  const modules = join(library.split(':')[0]!, 'rsyslog');
  const server = syslogServer({ ports, socket }, output, understand, () => {
    rmSync(join(folder, 'pid'), { force: true }); // left behind by kill -9, and then it does not start
    return startServer({
      command: join(root, 'usr/sbin/rsyslogd'),
      args: ['-n', '-i', join(folder, 'pid'), '-M', modules, '-f', configuration],
      env: { LD_LIBRARY_PATH: library },
      // The unix socket comes with the inputs, the ports with their threads.
      probe: async () =>
        (await readdir(folder)).includes('log') &&
        (await listens(tcp)) &&
        (await accepts(ports.tls, certificates)),
    });
  });
  t.after(async () => {
    await server[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
  });
  return Object.assign(server, { ports });
}

function understand(record: Record<string, unknown>): UnderstoodMessage {
  const text = (key: string) => String(record[key] ?? '-');
  return {
    facility: text('facility'),
    severity: text('severity'),
    timestamp: text('timestamp'),
    hostname: text('hostname'),
    app: text('app'),
    procid: text('procid'),
    msgid: text('msgid'),
    structuredData: JSON.parse(String(record['structured-data'] || '{}')),
    message: text('message').replace(/^ /, ''), // in RFC 3164 it counts the blank behind the tag
  };
}

/** Whether somebody takes connections there. */
export function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect({ host: '127.0.0.1', port }, () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}

/**
 * Whether a client with our certificate gets in there. Not just whether somebody listens: a connection that is cut in the middle of the
 * handshake has left Debian's 8.2302 unable to make another one for good, in one of 120 starts.
 */
function accepts(port: number, { ca, clientCert, clientKey }: Certificates): Promise<boolean> {
  const [authority, cert, key] = [ca, clientCert, clientKey].map((path) => readFileSync(path));
  return new Promise((resolve) => {
    const socket = tls.connect({ host: '127.0.0.1', port, ca: authority, cert, key }, () => socket.end());
    socket.on('error', () => resolve(false));
    socket.on('close', () => resolve(true));
    socket.resume();
  });
}
