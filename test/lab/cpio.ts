/** An initramfs: cpio in the newc format (Documentation/driver-api/early-userspace/buffer-format.rst). */
import { appendFileSync, closeSync, copyFileSync, openSync, readFileSync, writeSync } from 'node:fs';

const FOLDER = 0o040755;
const REGULAR = 0o100000;
/** Archives that follow each other in one initramfs are looked for at multiples of 4. */
const ALIGNMENT = 512;

export class CpioWriter {
  readonly #fd: number;
  readonly #folders = new Set<string>();
  #size = 0;
  #inode = 1;

  constructor(path: string) {
    this.#fd = openSync(path, 'w');
  }

  /** @param path in the guest, absolute; its folders are made */
  file(path: string, contents: Buffer | string, permissions = 0o755): void {
    const name = path.replace(/^\/+/, '');
    const parts = name.split('/');
    for (let i = 1; i < parts.length; i++) this.folder(parts.slice(0, i).join('/'));
    this.#entry(name, REGULAR | permissions, Buffer.from(contents));
  }

  copy(from: string, path: string): void {
    this.file(path, readFileSync(from));
  }

  folder(path: string): void {
    const name = path.replace(/^\/+/, '');
    if (this.#folders.has(name)) return;
    this.#folders.add(name);
    this.#entry(name, FOLDER, Buffer.alloc(0));
  }

  close(): void {
    this.#entry('TRAILER!!!', 0, Buffer.alloc(0));
    this.#pad(ALIGNMENT);
    closeSync(this.#fd);
  }

  #entry(name: string, mode: number, contents: Buffer): void {
    const links = 1;
    const numbers = [this.#inode++, mode, 0, 0, links, 0, contents.length, 0, 0, 0, 0, name.length + 1, 0];
    const header = `070701${numbers.map((value) => value.toString(16).padStart(8, '0')).join('')}`;
    this.#write(Buffer.from(`${header}${name}\0`));
    this.#pad(4);
    this.#write(contents);
    this.#pad(4);
  }

  #pad(to: number): void {
    this.#write(Buffer.alloc((to - (this.#size % to)) % to));
  }

  #write(bytes: Buffer): void {
    for (let from = 0; from < bytes.length; ) from += writeSync(this.#fd, bytes, from);
    this.#size += bytes.length;
  }
}

/** The kernel unpacks one archive after the other. */
export function concatenate(archives: readonly string[], to: string): void {
  const [first, ...rest] = archives;
  copyFileSync(first as string, to);
  for (const archive of rest) appendFileSync(to, readFileSync(archive));
}
