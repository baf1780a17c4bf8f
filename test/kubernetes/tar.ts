/** Archives that are the same byte for byte whenever their contents are: ustar (POSIX.1-1988), no times, root's. */
const BLOCK = 512;

export type TarEntry =
  | { readonly path: string; readonly file: Buffer; readonly mode?: number }
  | { readonly path: string; readonly link: string }
  | { readonly path: string; readonly folder: true; readonly mode?: number };

export function tar(entries: readonly TarEntry[]): Buffer {
  const parts = entries.flatMap((entry) => {
    const contents = 'file' in entry ? entry.file : Buffer.alloc(0);
    return [header(entry, contents.length), contents, Buffer.alloc(-contents.length & (BLOCK - 1))];
  });
  return Buffer.concat([...parts, Buffer.alloc(2 * BLOCK)]);
}

function header(entry: TarEntry, size: number): Buffer {
  if (Buffer.byteLength(entry.path) > 100) throw new RangeError(`too long for this archive: ${entry.path}`);
  const [type, mode] =
    'link' in entry
      ? ['2', 0o777]
      : 'folder' in entry
        ? ['5', entry.mode ?? 0o755]
        : ['0', entry.mode ?? 0o755];
  const block = Buffer.alloc(BLOCK);
  const octal = (value: number, offset: number, length: number) =>
    block.write(`${value.toString(8).padStart(length - 1, '0')}\0`, offset, 'latin1');
  block.write(entry.path, 0);
  octal(mode, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(size, 124, 12);
  octal(0, 136, 12);
  block.write('        ', 148, 'latin1');
  block.write(type, 156, 'latin1');
  if ('link' in entry) block.write(entry.link, 157);
  block.write('ustar\x0000', 257, 'latin1');
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}
