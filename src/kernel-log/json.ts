import { KERN } from '../kernel/kmsg-record.ts';
import { visibleText } from '../kernel/visible-text.ts';
import { type Decoder, type LogRecord, NEEDLES } from './decoder.ts';
import { facility, level } from './dmesg.ts';

const LONGEST_OBJECT = 256 << 10;

/** `dmesg --json` (one document) and `journalctl -o json`, `json-pretty` or `json-seq` (one object after another). */
export class JsonDecoder implements Decoder {
  // A message that is not UTF-8 is an array of bytes in journalctl's JSON.
  readonly needles = [...NEEDLES, '"MESSAGE":[', '"MESSAGE" : ['];
  readonly linesBefore = 64;
  #object: string | undefined;

  line(line: string, at: number): LogRecord | undefined {
    const text = line.replace(/^\u001e/, '').trim();
    if (text.startsWith('{') && text.endsWith('}')) return this.#record(text, at);
    const opens = text.endsWith('{');
    const closes = text.startsWith('}');
    const object = this.#object;
    if (closes || opens) {
      this.#object = opens ? '{' : undefined;
      return closes && object !== undefined ? this.#record(`${object}}`, at) : undefined;
    }
    if (object !== undefined)
      this.#object = object.length + text.length > LONGEST_OBJECT ? undefined : `${object}${text}\n`;
    return undefined;
  }

  flush(): LogRecord | undefined {
    return undefined;
  }

  skipped(): void {
    this.#object = undefined;
  }

  #record(json: string, at: number): LogRecord | undefined {
    let entry: unknown;
    try {
      entry = JSON.parse(json);
    } catch {
      return undefined;
    }
    if (typeof entry !== 'object' || entry === null) return undefined;
    const fields = entry as Readonly<Record<string, unknown>>;
    return 'msg' in fields ? dmesgEntry(fields, at) : journalEntry(fields, at);
  }
}

function dmesgEntry(fields: Readonly<Record<string, unknown>>, sequence: number): LogRecord | undefined {
  const { fac, pri, time, msg } = fields;
  if (typeof msg !== 'string') return undefined;
  const timestampUs = typeof time === 'number' ? Math.round(time * 1e6) : undefined;
  return {
    facility: typeof fac === 'string' ? facility(fac) : KERN,
    level: typeof pri === 'number' ? pri & 7 : level(typeof pri === 'string' ? pri : undefined),
    sequence,
    ...(Number.isSafeInteger(timestampUs) && { timestampUs }),
    text: msg.replace(/^\[ *[TC]\d+\] /, ''),
  };
}

/** Fields with an underscore are journald's own word; a program can set the others (systemd.journal-fields(7)). */
function journalEntry(fields: Readonly<Record<string, unknown>>, sequence: number): LogRecord | undefined {
  const text = message(fields.MESSAGE);
  if (text === undefined || fields._TRANSPORT !== 'kernel') return undefined;
  const number = (name: string) => {
    const value = Number(fields[name]);
    return typeof fields[name] === 'string' && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
  };
  const string = (name: string) => (typeof fields[name] === 'string' ? (fields[name] as string) : undefined);
  const timestampUs = number('_SOURCE_MONOTONIC_TIMESTAMP');
  const realtime = number('_SOURCE_REALTIME_TIMESTAMP') ?? number('__REALTIME_TIMESTAMP');
  return {
    facility: number('SYSLOG_FACILITY') ?? KERN,
    level: number('PRIORITY') ?? 6,
    sequence,
    timestampUs,
    wallTime: realtime === undefined ? undefined : Math.floor(realtime / 1000),
    host: string('_HOSTNAME'),
    bootId: string('_BOOT_ID'),
    text,
  };
}

function message(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  if (!Array.isArray(value) || !value.every((byte) => Number.isInteger(byte) && byte >= 0 && byte < 256))
    return undefined;
  return visibleText(Buffer.from(value as number[]));
}
