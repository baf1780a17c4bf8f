/**
 * The lines of a stream without their ends, as UTF-8. Bounded: of a line that is longer than `most` bytes nothing is given;
 * `tooLong` is called once for it.
 */
export async function* readLines(
  stream: AsyncIterable<Buffer>,
  most: number,
  tooLong: () => void,
): AsyncGenerator<string> {
  let parts: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream) {
    let start = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      const line = chunk.subarray(start, end);
      if (size + line.length <= most) yield Buffer.concat([...parts, line]).toString('utf8');
      else if (size <= most) tooLong();
      parts = [];
      size = 0;
      start = end + 1;
    }
    const rest = chunk.subarray(start);
    if (size > most) continue;
    size += rest.length;
    if (size > most) {
      parts = [];
      tooLong();
    } else parts.push(rest);
  }
}
