/**
 * Lines of no known format, as people hand them over: quoted, indented, coloured, with the name of the file that grep found
 * them in, or the kernel's words alone (dmesg -t, journalctl -o cat). Every line counts as the kernel's, so this is not for
 * a file that programs write to.
 */
import { KERN } from '../kernel/kmsg-record.ts';
import { type DecodedLine, type Decoder, LineDecoder } from './decoder.ts';
import { decodeDmesg } from './dmesg.ts';
import { decodeSyslog, type HeadParser, headParser, stampAt } from './syslog.ts';

const COLOUR = /\u001b\[[\d;]*m/g;
const QUOTE = /^(?:[\s>|*]+|(?:[^\s:]*\/)?(?:syslog|messages|kern|dmesg)[^\s:/]*:(?:\d+:)?)+/;
/** No word before it ends in a colon: it would be the program that says `kernel:`. */
const KERNEL = /^(?:\S*[^\s:] +){0,8}?kernel: ?/;
const INFO = 6;

export function pastedDecoder(now: () => number): Decoder {
  const headOf = headParser(now);
  return new LineDecoder((line, at) => decodePasted(line, at, headOf, now()));
}

function decodePasted(line: string, sequence: number, headOf: HeadParser, now: number): DecodedLine {
  const bare = line.replace(COLOUR, '').replace(QUOTE, '').trimEnd();
  const known = decodeDmesg(bare, sequence, now) ?? decodeSyslog(bare, sequence, headOf);
  if (known !== undefined) return known;
  const start = KERNEL.exec(bare)?.[0].length ?? 0;
  const stamp = stampAt(bare, start);
  return {
    facility: KERN,
    level: INFO,
    sequence,
    timestampUs: stamp?.timestampUs,
    text: bare.slice(stamp?.end ?? start),
  };
}
