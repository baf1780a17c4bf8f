import { parseKmsgRecord } from '../kernel/kmsg-record.ts';
import type { Decoder } from './decoder.ts';
import { decodeDmesg, dmesgDecoder } from './dmesg.ts';
import { JsonDecoder } from './json.ts';
import { kmsgDecoder } from './kmsg.ts';
import { headParser, syslogDecoder } from './syslog.ts';

export interface DetectedFormat {
  readonly decoder: Decoder;
  /** Sequence numbers are the kernel's own. */
  readonly isKmsg: boolean;
}

/** Any program's line in a syslog file, in journalctl's short forms or in OpenWrt's log. */
const SYSLOG =
  /^(?:<\d{1,3}>)?(?:1 )?(?:(?:[A-Z][a-z]{2} )?\S{2,10} [ \d]?\d \d{2}:\d{2}:\d{2}|\d{4}-\d{2}-\d{2}T\S+|[A-Z][a-z]{2} \d{4}-\d{2}-\d{2} |\d{9,11}\.\d+ )/;

/**
 * Which format the first lines are in.
 *
 * @param now milliseconds since the epoch, asked anew for each time stamp without a year
 * @returns undefined when no line is of any format
 */
export function detectFormat(lines: readonly string[], now: () => number): DetectedFormat | undefined {
  const first = lines.find((line) => line.trim() !== '');
  if (first === undefined) return undefined;
  if (/^\s*[\u001e{[]?\s*\{/.test(first)) return { decoder: new JsonDecoder(), isKmsg: false };
  const count = (matches: (line: string) => boolean) => lines.filter(matches).length;
  const kmsg = count((line) => parseKmsgRecord(line) !== undefined);
  const dmesg = count((line) => decodeDmesg(line, 0, now()) !== undefined);
  const headOf = headParser(now);
  const kernel = count((line) => headOf(line) !== undefined);
  const syslog = Math.max(
    kernel,
    count((line) => SYSLOG.test(line) && decodeDmesg(line, 0, now()) === undefined),
  );
  if (kmsg > 0 && kmsg >= Math.max(dmesg, syslog)) return { decoder: kmsgDecoder(), isKmsg: true };
  // journalctl -o short-monotonic looks like dmesg, but for the host and the program after the time.
  if (dmesg > 0 && dmesg > syslog && kernel < dmesg / 10)
    return { decoder: dmesgDecoder(now), isKmsg: false };
  return syslog > 0 ? { decoder: syslogDecoder(now), isKmsg: false } : undefined;
}
