/** What RFC 5424 and RFC 3164 have in common: the priority, and which incident gets which. */
import type { Incident } from '../incident.ts';

/** RFC 5424, table 1; the position is the code. Names as in syslog.conf(5). */
export const FACILITIES: readonly string[] = [
  ...['kern', 'user', 'mail', 'daemon', 'auth', 'syslog', 'lpr', 'news', 'uucp', 'cron', 'authpriv', 'ftp'],
  ...['ntp', 'audit', 'alert', 'clock'],
  ...['local0', 'local1', 'local2', 'local3', 'local4', 'local5', 'local6', 'local7'],
];

const CRITICAL = 2;
const ERROR = 3;
const WARNING = 4;

/** RFC 5424, table 2. A node without memory harms everything on it, a container only itself. */
export function severity({ kind }: Incident, nodeWide: boolean): number {
  if (nodeWide) return CRITICAL;
  return kind === 'oom_warning' ? WARNING : ERROR;
}

export function priority(facility: number, severity: number): string {
  return `<${facility * 8 + severity}>`;
}

/** A header field: PRINTUSASCII, at most `limit` characters, the nil value where nothing is left (RFC 5424, 6.). */
export function headerField(text: string, limit: number): string {
  return text.replace(/[^\x21-\x7e]/g, '').slice(0, limit) || '-';
}

export const APP_NAME = 'oom-witness';
