import { type KernelRecord, parseKmsgRecord } from '../kernel/kmsg-record.ts';
import { type Decoder, LineDecoder } from './decoder.ts';

/** netconsole with `extended` and `release`: the kernel's release before each record. */
const RELEASE = /^\d+\.\d+[^,;]*,(?=\d+,\d+,\d+[,;])/;

/** Records as they were read from /dev/kmsg, one after another. */
export function kmsgDecoder(): Decoder {
  return new LineDecoder(decodeKmsg);
}

export function decodeKmsg(line: string): KernelRecord | undefined {
  return parseKmsgRecord(line.replace(RELEASE, ''));
}
