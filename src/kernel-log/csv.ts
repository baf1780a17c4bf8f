import { type DecodedLine, type DecodeLine, LineDecoder } from './decoder.ts';
import { shippedEntry, TEXT } from './json.ts';

const DELIMITERS = [',', ';', '\t'];

/**
 * Tables as log shippers and their web pages export them (RFC 4180, or with semicolons or tabulators): the first line names the
 * columns, one of which is the text. Lines of a text below its first are lost.
 */
export class CsvFormat {
  readonly #delimiter: string;
  readonly #columns: readonly string[];

  private constructor(delimiter: string, columns: readonly string[]) {
    this.#delimiter = delimiter;
    this.#columns = columns;
  }

  /** @returns undefined when the first line of a log is no such head */
  static of(head: string): CsvFormat | undefined {
    for (const delimiter of DELIMITERS) {
      const columns = fieldsOf(head, delimiter).map((name) => name.toLowerCase());
      if (columns.length > 1 && columns.some((name) => TEXT.includes(name)))
        return new CsvFormat(delimiter, columns);
    }
    return undefined;
  }

  /** @param plain reads the text */
  decoder(plain: DecodeLine): LineDecoder {
    return new LineDecoder((line, at) => this.#row(line, at, plain));
  }

  #row(line: string, at: number, plain: DecodeLine): DecodedLine | undefined {
    const fields = fieldsOf(line, this.#delimiter);
    if (fields.length !== this.#columns.length) return undefined;
    return shippedEntry(new Map(this.#columns.map((name, index) => [name, fields[index]])), at, plain);
  }
}

/** The fields of a row: one in quotes can hold delimiters, and quotes doubled. */
function fieldsOf(line: string, delimiter: string): string[] {
  const fields: string[] = [];
  const quoted = /"((?:[^"]|"")*)"/y;
  for (let at = 0; at <= line.length; ) {
    quoted.lastIndex = at;
    const text = quoted.exec(line)?.[1];
    const next = line.indexOf(delimiter, text === undefined ? at : quoted.lastIndex);
    const end = next < 0 ? line.length : next;
    const isWhole = text !== undefined && end === quoted.lastIndex;
    fields.push(isWhole ? text.replaceAll('""', '"') : line.slice(at, end).trim());
    at = end + 1;
  }
  return fields;
}
