/**
 * The wire format of Protocol Buffers (https://protobuf.dev/programming-guides/encoding/), as far as a dozen small messages need
 * it: protobufjs would cost 3.4 MB of anonymous memory for them.
 */

const VARINT = 0;
const FIXED64 = 1;
const LENGTH_DELIMITED = 2;
const FIXED32 = 5;
/** Bytes: 64 bits, seven at a time. */
const LONGEST_VARINT = 10;

/** The fields of one message, in the order in which they came; of a repeated one all, of another the last counts. */
export class Message {
  readonly #numbers = new Map<number, number>();
  readonly #bytes = new Map<number, Buffer[]>();

  /**
   * @param wanted numbers of the fields that are kept
   * @throws RangeError where it ends too early or has what no message can have
   */
  constructor(bytes: Buffer, wanted: readonly number[]) {
    const reader = new Reader(bytes);
    while (reader.hasMore()) {
      const tag = reader.varint();
      const field = Math.floor(tag / 8);
      switch (tag % 8) {
        case VARINT: {
          const value = reader.varint();
          if (wanted.includes(field)) this.#numbers.set(field, value);
          break;
        }
        case LENGTH_DELIMITED: {
          const value = reader.take(reader.varint());
          if (!wanted.includes(field)) break;
          const known = this.#bytes.get(field);
          if (known === undefined) this.#bytes.set(field, [value]);
          else known.push(value);
          break;
        }
        case FIXED64:
          reader.take(8);
          break;
        case FIXED32:
          reader.take(4);
          break;
        default:
          throw new RangeError('not a message');
      }
    }
  }

  /** 0 where it is absent, as the format has it. Above 2^53 it is rounded. */
  number(field: number): number {
    return this.#numbers.get(field) ?? 0;
  }

  /** Empty where it is absent. */
  text(field: number): string {
    return this.#bytes.get(field)?.at(-1)?.toString('utf8') ?? '';
  }

  bytes(field: number): Buffer | undefined {
    return this.#bytes.get(field)?.at(-1);
  }

  repeated(field: number): readonly Buffer[] {
    return this.#bytes.get(field) ?? [];
  }
}

class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  hasMore(): boolean {
    return this.#at < this.#bytes.length;
  }

  varint(): number {
    let value = 0;
    for (let index = 0; index < LONGEST_VARINT; index++) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined) throw new RangeError('ends within a number');
      value += (byte & 0x7f) * 2 ** (7 * index);
      if (byte < 0x80) return value;
    }
    throw new RangeError('a number of more than 10 bytes');
  }

  take(length: number): Buffer {
    const end = this.#at + length;
    if (end > this.#bytes.length) throw new RangeError('ends within a field');
    const taken = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return taken;
  }
}

/** A message that has nothing but texts. */
export function textsMessage(fields: readonly (readonly [field: number, text: string])[]): Buffer {
  return Buffer.concat(
    fields.flatMap(([field, text]) => {
      const bytes = Buffer.from(text);
      return [varint(field * 8 + LENGTH_DELIMITED), varint(bytes.length), bytes];
    }),
  );
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  return Buffer.from([...bytes, rest]);
}
