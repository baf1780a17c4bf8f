/** A real syslog-ng from Debian's package, with every source that the syslog sink can talk to. */
import { rmSync, writeFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Certificates } from '../fixtures/tls.ts';
import { freshFolder } from '../temporary-folder.ts';
import { libraryPath, type UnpackedPackages, unpackPackages } from './apt.ts';
import { freePorts } from './free-ports.ts';
import { startServer } from './process.ts';
import { listens } from './rsyslog.ts';
import { type SyslogServer, syslogServer, type UnderstoodMessage } from './syslog-server.ts';

export function syslogNgPackages(): Promise<UnpackedPackages> {
  return unpackPackages('syslog-ng', [
    ...['syslog-ng-core', 'libivykis0', 'libnet1', 'libpcre3', 'libwrap0'],
  ]);
}

/** Not yet started. TLS wants a client certificate of the authority. */
export async function syslogNg(
  t: { after(clean: () => Promise<void>): void },
  root: string,
  certificates: Certificates,
): Promise<SyslogServer> {
  const folder = freshFolder('oom-witness-syslog-ng');
  const [udp, octetCounting, newline, tls] = (await freePorts(4)) as [number, number, number, number];
  const ports = { udp, octetCounting, newline, tls };
  const socket = join(folder, 'log');
  const output = join(folder, 'out.jsonl');
  const configuration = join(folder, 'syslog-ng.conf');
  writeFileSync(
    configuration,
    `@version: 3.38
options { keep-hostname(yes); use-dns(no); chain-hostnames(no); stats-freq(0); keep-timestamp(yes); frac-digits(3); };
source s_all {
  network(transport("udp") ip("127.0.0.1") port(${ports.udp}) flags(syslog-protocol));
  network(transport("tcp") ip("127.0.0.1") port(${ports.newline}) flags(syslog-protocol));
  syslog(transport("tcp") ip("127.0.0.1") port(${ports.octetCounting}));
  syslog(transport("tls") ip("127.0.0.1") port(${ports.tls})
    tls(key-file("${certificates.serverKey}") cert-file("${certificates.serverCert}") ca-file("${certificates.ca}") peer-verify(required-trusted)));
  unix-dgram("${socket}" flags(syslog-protocol));
};
destination d_all {
  file("${output}" template("$(format-json --scope rfc5424 --scope nv-pairs --key ISODATE --key .SDATA.*)\\n") flush-lines(1));
};
log { source(s_all); destination(d_all); };
`,
  );
  const server = syslogServer({ ports, socket }, output, understand, () => {
    const control = join(folder, 'control');
    rmSync(control, { force: true });
    rmSync(socket, { force: true });
    return startServer({
      command: join(root, 'usr/sbin/syslog-ng'),
      args: [
        ...['-F', '--no-caps', `--module-path=${join(root, 'usr/lib/syslog-ng/3.38')}`, '-f', configuration],
        ...['-R', join(folder, 'persist'), '-c', control, '-p', join(folder, 'pid')],
      ],
      env: { LD_LIBRARY_PATH: libraryPath(root, 'usr/lib/syslog-ng') },
      probe: async () => {
        const files = await readdir(folder);
        const open = await Promise.all([ports.octetCounting, ports.newline, ports.tls].map(listens));
        return files.includes('log') && files.includes('control') && open.every(Boolean);
      },
    });
  });
  t.after(async () => {
    await server[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
  });
  return server;
}

function understand(record: Record<string, unknown>): UnderstoodMessage {
  const text = (key: string) => String(record[key] ?? '-');
  return {
    facility: text('FACILITY'),
    severity: text('PRIORITY'),
    timestamp: text('ISODATE'),
    hostname: text('HOST'),
    app: text('PROGRAM'),
    procid: text('PID'),
    msgid: text('MSGID'),
    structuredData: (record._SDATA ?? {}) as UnderstoodMessage['structuredData'],
    message: text('MESSAGE'),
  };
}
