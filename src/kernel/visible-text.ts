import { isUtf8 } from 'node:buffer';

const HEX = Array.from({ length: 256 }, (_, byte) => `\\x${byte.toString(16).padStart(2, '0')}`);

/** Bytes from outside as text: UTF-8, and what is not UTF-8 stays visible as `\xNN`. */
export function visibleText(bytes: Buffer): string {
  if (isUtf8(bytes)) return bytes.toString('utf8');
  let text = '';
  let start = 0;
  for (let at = 0; at < bytes.length; ) {
    const length = characterLength(bytes, at);
    if (length > 0) {
      at += length;
      continue;
    }
    text += bytes.toString('utf8', start, at) + HEX[bytes[at] as number];
    at += 1;
    start = at;
  }
  return text + bytes.toString('utf8', start);
}

const CONTROLS = /[\u0000-\u001f\u007f-\u009f]/;
const EACH_CONTROL = new RegExp(CONTROLS, 'g');

/** Control characters (C0, DEL and C1) as the `\xNN` of their bytes, so that a terminal or a log is safe from them. */
export function escapeControls(text: string): string {
  // A replacement that finds nothing takes three times as long as a search.
  if (!CONTROLS.test(text)) return text;
  return text.replace(EACH_CONTROL, (character) => {
    const code = character.charCodeAt(0);
    return code < 0x80 ? (HEX[code] as string) : `\\xc2${HEX[code]}`;
  });
}

/** How many bytes the UTF-8 character at `at` takes; 0 when there is none. */
function characterLength(bytes: Buffer, at: number): number {
  const first = bytes[at] as number;
  const length =
    first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
  return length > 0 && at + length <= bytes.length && isUtf8(bytes.subarray(at, at + length)) ? length : 0;
}
