import assert from 'node:assert/strict';

export interface ParsedRfc5424 {
  readonly facility: number;
  readonly severity: number;
  readonly timestamp: string;
  readonly hostname: string;
  readonly app: string;
  readonly procid: string;
  readonly msgid: string;
  readonly structuredData: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly message: string;
}

const NAME = String.raw`[\x21\x23-\x3c\x3e-\x5c\x5e-\x7e]{1,32}`;
const PARAM = String.raw` ${NAME}="(?:[^"\\\]]|\\.)*"`;
const MESSAGE = new RegExp(
  String.raw`^<(\d{1,3})>1 (\S+) ([\x21-\x7e]{1,255}) ([\x21-\x7e]{1,48}) ([\x21-\x7e]{1,128}) ([\x21-\x7e]{1,32}) ((?:\[${NAME}(?:${PARAM})*\])+|-)(?: (.*))?$`,
  'su',
);

/** The grammar of RFC 5424, section 6, as an expression; fails where a message does not follow it. */
export function parseRfc5424(bytes: Buffer): ParsedRfc5424 {
  const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  const parts = MESSAGE.exec(text);
  assert.ok(parts, `not RFC 5424: ${text.slice(0, 500)}`);
  const [, priority, timestamp, hostname, app, procid, msgid, elements, message] =
    parts as unknown as string[];
  const structuredData: Record<string, Record<string, string>> = {};
  for (const [element, id] of elements!.matchAll(new RegExp(`\\[(${NAME})((?:${PARAM})*)\\]`, 'gsu'))) {
    assert.ok(!(id! in structuredData), `${id} comes twice`);
    structuredData[id!] = {};
    for (const [, name, value] of element.matchAll(
      new RegExp(` (${NAME})="((?:[^"\\\\\\]]|\\\\.)*)"`, 'gsu'),
    ))
      structuredData[id!]![name!] = value!.replace(/\\(["\\\]])/g, '$1');
  }
  return {
    facility: Number(priority) >> 3,
    severity: Number(priority) & 7,
    ...{ timestamp: timestamp!, hostname: hostname!, app: app!, procid: procid!, msgid: msgid! },
    structuredData,
    message: message ?? '',
  };
}
