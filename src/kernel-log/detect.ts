import { CsvFormat } from './csv.ts';
import type { DecodeLine, Decoder } from './decoder.ts';
import { decodeDmesg, dmesgDecoder } from './dmesg.ts';
import { JournalFieldsDecoder } from './journal-fields.ts';
import { JsonDecoder } from './json.ts';
import { decodeKmsg, kmsgDecoder } from './kmsg.ts';
import { decodePasted, type Known, pastedDecoder, quotedDecoder } from './pasted.ts';
import { decodeSyslog, headParser, syslogDecoder } from './syslog.ts';

export interface DetectedFormat {
  readonly decoder: Decoder;
  /** Sequence numbers are the kernel's own. */
  readonly isKmsg: boolean;
}

/** Any program's line in a syslog file, in journalctl's short forms or in OpenWrt's log. */
const SYSLOG =
  /^(?:<\d{1,3}>)?(?:1 )?(?:(?:[A-Z][a-z]{2} )?\S{2,10} [ \d]?\d \d{2}:\d{2}:\d{2}|\d{4}-\d{2}-\d{2}(?:T| (?=\d{2}:\d{2}:\d{2}))[^\s"]+|[A-Z][a-z]{2} \d{4}-\d{2}-\d{2} \S+ \S+|\d{9,11}\.\d+ )/;

/**
 * Which format the first lines are in.
 *
 * @param now milliseconds since the epoch, asked anew for each time stamp without a year
 * @param pasted somebody hands the log over: lines may be quoted, and other formats may follow
 * @returns undefined when no line is of any format
 */
export function detectFormat(
  lines: readonly string[],
  now: () => number,
  pasted: boolean,
): DetectedFormat | undefined {
  const first = lines.find((line) => line.trim() !== '');
  if (first === undefined) return undefined;
  if (/^\s*(?:(?:[\u001e[]|data:)?\s*\{|\[\s*$)/.test(first))
    return { decoder: new JsonDecoder(pasted ? plainLine(now) : undefined), isKmsg: false };
  const csv = pasted ? CsvFormat.of(first) : undefined;
  if (csv) return { decoder: csv.decoder(plainLine(now)), isKmsg: false };
  const count = (matches: (line: string) => boolean) => lines.filter(matches).length;
  if (JournalFieldsDecoder.isFormatOf(lines))
    return { decoder: new JournalFieldsDecoder(now), isKmsg: false };
  const isDmesg = (line: string) => decodeDmesg(line, 0, now()) !== undefined;
  const kmsg = count((line) => decodeKmsg(line) !== undefined);
  const dmesg = count(isDmesg);
  const headOf = headParser(now);
  const kernel = count((line) => headOf(line) !== undefined);
  const syslog = Math.max(
    kernel,
    count((line) => SYSLOG.test(line) && !isDmesg(line)),
  );
  if (kmsg > 0 && kmsg >= Math.max(dmesg, syslog)) return { decoder: kmsgDecoder(), isKmsg: true };
  if (dmesg === 0 && syslog === 0) return undefined;
  // journalctl -o short-monotonic looks like dmesg, but for the host and the program after the time.
  const likeDmesg = dmesg > syslog && kernel < dmesg / 10;
  if (!pasted) return { decoder: likeDmesg ? dmesgDecoder(now) : syslogDecoder(now), isKmsg: false };
  const known = knownFormats(now, likeDmesg);
  const decoder = lines.some(isProgram) ? quotedDecoder(known) : pastedDecoder(known);
  return { decoder, isKmsg: false };
}

/** `Nov 21 03:14:15 node-7 sshd[812]: `. A serial console or a shipper writes the kernel's priority or stamp instead of a name. */
function isProgram(line: string): boolean {
  const time = SYSLOG.exec(line);
  if (!time) return false;
  const name = /^ ?(?:(?!"|\[ *\d+\.\d)\S*[^\s:] ){0,2}([\w./@()-]+)(?:\[\d+\])?: (?!<\d{1,3}>\[)/.exec(
    line.slice(time[0].length),
  );
  return name !== null && name[1] !== 'kernel';
}

function plainLine(now: () => number): DecodeLine {
  const known = knownFormats(now, false);
  return (line, at) => decodePasted(line, at, known);
}

/** Of those formats that have a record in each line. */
export function knownFormats(now: () => number, dmesgFirst: boolean): Known {
  const headOf = headParser(now);
  const dmesg: DecodeLine = (line, at) => decodeDmesg(line, at, now());
  const syslog: DecodeLine = (line, at) => decodeSyslog(line, at, headOf);
  const [one, other] = dmesgFirst ? [dmesg, syslog] : [syslog, dmesg];
  return { decode: (line, at) => one(line, at) ?? other(line, at), headOf: headParser(now), now };
}
