/** RFC 5424 with structured data: what machines need as parameters, the sentence for people as the message. */
import { pid } from 'node:process';
import { printable, shown } from '../format.ts';
import type { Incident, IncidentKind } from '../incident.ts';
import { fitCommand } from '../message/fit.ts';
import { messageOf } from '../message.ts';
import type { Delivery } from '../sink.ts';
import { APP_NAME, headerField, priority, severity } from './header.ts';
import type { SyslogMessage } from './message.ts';

const MESSAGE_ID: Readonly<Record<IncidentKind, string>> = {
  oom_kill: 'OOMKILL',
  oom_warning: 'OOMWARNING',
  oom_unseen: 'OOMUNSEEN',
  oom_restart: 'OOMRESTART',
};

/** Enough for every name that Kubernetes allows (253); hostile ones get less the longer they are. */
const VALUE_LIMITS = [256, 64, 16];
const COMMAND_IN_TEXT = 256;
const MOST_OTHER_PIDS = 32;

type Values = Readonly<Record<string, string | number | undefined>>;

/**
 * `<27>1 2026-11-21T03:14:15.926Z node-7 oom-witness 812 OOMKILL [process@32473 pid="4243" …][k8s@32473 …][oom@32473 …]
 * [incident@32473 id="…"] OOM kill: …`
 *
 * `process.command_line` is whole where it fits, else cut in the middle (`command_line_cut="true"`); the text has a
 * short form of it. No byte order mark stands before the text, although 6.4 wants one for UTF-8: rsyslog keeps it as
 * part of the message, where it breaks every filter for its beginning; without it both rsyslog and syslog-ng take
 * UTF-8.
 *
 * @param enterprise the private enterprise number behind the @ of each SD-ID (7.2.2)
 * @param maxBytes never exceeded
 */
export function rfc5424(
  { incident, recurrence }: Delivery,
  facility: number,
  enterprise: string,
  maxBytes: number,
): SyslogMessage {
  const message = messageOf(incident, recurrence, 'utc');
  const head = [
    `${priority(facility, severity(incident, message.nodeWide))}1`,
    headerField(incident.time, 32),
    headerField(incident.host.name, 255),
    APP_NAME,
    String(pid),
    MESSAGE_ID[incident.kind],
  ].join(' ');
  const { command, note } = message.died;
  const short = command === undefined ? note : shown(command, COMMAND_IN_TEXT);
  const text = short === undefined ? message.sentence : `${message.sentence}: ${short}`;

  let line = '';
  for (const limit of VALUE_LIMITS) {
    const withCommand = (values: Values) =>
      `${head} ${structuredData(incident, enterprise, limit, values)} ${text}`;
    const room = maxBytes - Buffer.byteLength(withCommand({ command_line: '', command_line_cut: 'true' }));
    line = withCommand(command === undefined ? {} : commandValues(command, room));
    if (Buffer.byteLength(line) <= maxBytes) break;
  }
  return { bytes: wholeCharacters(Buffer.from(line), maxBytes) };
}

function commandValues(command: string, room: number): Values {
  const fitting = fitCommand(command, room, (text) => Buffer.byteLength(escapeValue(text)));
  const cut = fitting !== printable(command);
  return { command_line: fitting, command_line_cut: cut ? 'true' : undefined };
}

function structuredData(incident: Incident, enterprise: string, limit: number, command: Values): string {
  const { process, victims, oom, k8s, container, systemd } = incident;
  const element = (id: string, values: Values, longest = limit) => {
    const parameters = Object.entries(values)
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => {
        const text = name === 'command_line' ? String(value) : shown(String(value), longest);
        return ` ${name}="${escapeValue(text)}"`;
      });
    return parameters.length > 0 ? `[${id}@${enterprise}${parameters.join('')}]` : '';
  };
  const others = victims.slice(1, 1 + MOST_OTHER_PIDS).map((victim) => victim.process.pid);
  return [
    element('process', {
      pid: process.pid,
      name: process.name,
      parent_pid: process.parent_pid,
      executable: process.executable?.path,
      user: process.user?.name ?? process.user?.id,
      ...command,
    }),
    element('k8s', {
      namespace: k8s?.namespace?.name,
      pod: k8s?.pod?.name,
      container: k8s?.container?.name,
      deployment: k8s?.deployment?.name,
      node: k8s?.node?.name,
    }),
    element('container', {
      id: container?.id,
      name: container?.name,
      runtime: container?.runtime,
      image: container?.image?.name,
    }),
    element('systemd', { unit: systemd?.unit, slice: systemd?.slice }),
    element('oom', {
      scope: oom.scope,
      limit_owner: oom.limit_owner,
      limit: oom.limit,
      usage: oom.usage,
      group_kill: oom.group_kill ? 'true' : undefined,
      victims: victims.length > 1 ? victims.length : undefined,
      other_pids: others.length > 0 ? others.join(' ') : undefined,
    }),
    element('incident', { id: incident.id, kind: incident.kind }, VALUE_LIMITS[0]), // half an id is none
  ].join('');
}

/** RFC 5424, 6.3.3. Control characters are gone before, by `shown`. */
function escapeValue(text: string): string {
  return text.replace(/["\\\]]/g, '\\$&');
}

/** At most `limit` bytes, without a part of a character at the end. */
function wholeCharacters(bytes: Buffer, limit: number): Buffer {
  if (bytes.length <= limit) return bytes;
  let end = limit;
  while (end > 0 && (bytes[end]! & 0xc0) === 0x80) end--;
  return bytes.subarray(0, end);
}
