/** inotify(7) through libc: its descriptor stands beside others in one poll(2), which `fs.watch` cannot. */
import { readSync } from 'node:fs';
import { loadFunctions, SOCK_CLOEXEC, SOCK_NONBLOCK } from './libc.ts';

const IN_MODIFY = 0x2;
const IN_ATTRIB = 0x4;
const IN_MOVED_TO = 0x80;
const IN_CREATE = 0x100;
const IN_MOVE_SELF = 0x800;
const IN_ONESHOT = 0x80000000;
/** IN_NONBLOCK and IN_CLOEXEC are those of sockets. */
const FLAGS = SOCK_NONBLOCK | SOCK_CLOEXEC;

const signatures = {
  inotify_init1: { arguments: ['i32'], return: 'i32' },
  inotify_add_watch: { arguments: ['i32', 'pointer', 'u32'], return: 'i32' },
  close: { arguments: ['i32'], return: 'i32' },
} as const;

interface Calls {
  inotify_init1(flags: number): number;
  inotify_add_watch(fd: number, path: NodeJS.ArrayBufferView, mask: number): number;
  close(fd: number): number;
}

/** Tells that something happened; what it was, whoever is woken sees by looking. */
export class Inotify {
  readonly fd: number;
  readonly #calls: Calls;
  /** A watched folder's events have a name of up to 255 bytes. */
  readonly #buffer = Buffer.allocUnsafeSlow(8 << 10);

  /** @returns undefined where it is not to be had: an older Node.js, another libc, the limit of instances */
  static open(): Inotify | undefined {
    const loaded = loadFunctions<Calls>(signatures);
    if ('missing' in loaded) return undefined;
    const fd = loaded.functions.inotify_init1(FLAGS);
    return fd < 0 ? undefined : new Inotify(fd, loaded.functions);
  }

  private constructor(fd: number, calls: Calls) {
    this.fd = fd;
    this.#calls = calls;
  }

  /**
   * The next change of the file, once: a log that is written to a thousand times a second must not wake us as often.
   *
   * @returns false where it cannot be watched
   */
  watchOnce(path: string): boolean {
    return this.#watch(path, IN_MODIFY | IN_ATTRIB | IN_MOVE_SELF | IN_ONESHOT);
  }

  /** Files that come into the folder. */
  watchFolder(path: string): boolean {
    return this.#watch(path, IN_CREATE | IN_MOVED_TO);
  }

  /** Forgets what has happened until now. */
  drain(): void {
    try {
      while (readSync(this.fd, this.#buffer, 0, this.#buffer.length, null) === this.#buffer.length);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'EAGAIN' && code !== 'EINTR') throw error;
    }
  }

  close(): void {
    this.#calls.close(this.fd);
  }

  #watch(path: string, mask: number): boolean {
    return this.#calls.inotify_add_watch(this.fd, Buffer.from(`${path}\0`), mask >>> 0) >= 0;
  }
}
