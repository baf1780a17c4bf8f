/** The BSD format of RFC 3164, and the form of it that oom-notifier writes. */
import { pid } from 'node:process';
import { encodeEvents } from '../event-format.ts';
import { shown } from '../format.ts';
import type { Incident } from '../incident.ts';
import { visibleJson } from '../json-line.ts';
import { fitCommand } from '../message/fit.ts';
import { messageOf } from '../message.ts';
import type { Delivery } from '../sink.ts';
import { APP_NAME, headerField, priority, severity } from './header.ts';
import type { PlainMessage, SyslogMessage } from './message.ts';

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/**
 * `<27>Nov 21 03:14:15 node-7 oom-witness[812]: OOM kill: … (incident 6b0c…:48213): java -Xmx2g …`. The time is this
 * machine's local one, as everybody's in this format. It knows no structured data, so the id is part of the text.
 *
 * @param maxBytes RFC 3164 ends messages at 1024 bytes, which cuts most command lines of Java; receivers of today take
 *   8 KiB (rsyslog) or 64 KiB (syslog-ng) in this format too
 */
export function rfc3164(
  { incident, recurrence }: Delivery,
  facility: number,
  maxBytes: number,
): SyslogMessage {
  const message = messageOf(incident, recurrence, 'local');
  const { command, note } = message.died;
  const plain = (text: string): PlainMessage => ({
    facility,
    severity: severity(incident, message.nodeWide),
    time: new Date(incident.time),
    hostname: headerField(incident.host.name, 255),
    content: `${APP_NAME}[${pid}]: ${text}`,
  });
  const start = `${message.sentence} (incident ${shown(incident.id, 100)})`;
  const room = maxBytes - encode(plain(`${start}: `)).length;
  const rest = command === undefined ? note : fitCommand(command, room, Buffer.byteLength);
  const whole = plain(rest === undefined ? start : `${start}: ${rest}`);
  return { bytes: encode(whole), plain: whole };
}

function encode({ facility, severity, time, hostname, content }: PlainMessage): Buffer {
  return Buffer.from(`${priority(facility, severity)}${timestamp(time)} ${hostname} ${content}`);
}

/** RFC 3164, 4.1.2: the day of the month is padded with a blank. */
export function timestamp(time: Date): string {
  const two = (value: number) => String(value).padStart(2, '0');
  const clock = [time.getHours(), time.getMinutes(), time.getSeconds()].map(two).join(':');
  return `${MONTHS[time.getMonth()]} ${String(time.getDate()).padStart(2)} ${clock}`;
}

/**
 * What oom-notifier writes, for each victim: `<11>Nov 21 03:14:15 oom-notifier[812]: {json}`, without a host name. Its
 * parsers want whole JSON, so only `cmdline` gives way where a message would become larger than `maxBytes`.
 */
export function oomNotifierMessages(
  incident: Incident,
  kernelVersionLine: string,
  facility: number,
  maxBytes: number,
): SyslogMessage[] {
  const head = `${priority(facility, severity(incident, false))}${timestamp(new Date(incident.time))} oom-notifier[${pid}]: `;
  return encodeEvents(incident, 'oom-notifier', kernelVersionLine).map(({ body }) => {
    const line = (cmdline: string) => Buffer.from(head + visibleJson(JSON.stringify({ ...body, cmdline })));
    const whole = String(body.cmdline);
    if (line(whole).length <= maxBytes) return { bytes: line(whole) };
    const room = maxBytes - line('').length;
    return { bytes: line(fitCommand(whole, room, (text) => line(text).length - line('').length) ?? '') };
  });
}
