import { parseKmsgRecord } from '../kernel/kmsg-record.ts';
import { type Decoder, LineDecoder } from './decoder.ts';

/** Records as they were read from /dev/kmsg, one after another. */
export function kmsgDecoder(): Decoder {
  return new LineDecoder((line) => parseKmsgRecord(line));
}
