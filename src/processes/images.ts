/** What processes are: read at exec, shared by forked children, bounded in all. */
import type { ProcFiles } from '../kernel/proc-files.ts';
import { detached } from '../kernel/proc-files.ts';

const MAX_BYTES = 8 << 20;
const SHORT_COMMAND = 1024;

const DROPPED = 'it had already dropped its memory when its command line was read';

/** What one exec made of a process; shared by the children that it forks. */
export interface Image {
  /** Arguments joined by NUL, secrets taken out; undefined: see `missing`. */
  readonly args: string | undefined;
  readonly missing: string | undefined;
  readonly executable: string | undefined;
  readonly cgroup: string | undefined;
  readonly truncated: boolean;
  readonly redacted: number;
  readAt: number;
  references: number;
}

export interface StoredImage {
  readonly args: readonly string[] | undefined;
  readonly executable: string | undefined;
  readonly cgroup: string | undefined;
  readonly truncated: boolean;
  readonly redacted: number;
  readonly readAt: number;
}

export interface ArgumentRedactor {
  args(args: readonly string[]): { args: readonly string[]; count: number };
}

/** Reads images without their secrets, and counts what those in use hold. */
export class Images {
  readonly #files: ProcFiles;
  readonly #redactor: ArgumentRedactor;
  #bytes = 0;

  constructor(files: ProcFiles, redactor: ArgumentRedactor) {
    this.#files = files;
    this.#redactor = redactor;
  }

  /** Of the command lines in use. */
  get bytes(): number {
    return this.#bytes;
  }

  /** @param pid a process, or a living thread of one */
  read(pid: number, now: number): Image {
    const command = this.#files.commandLine(pid);
    if (command === undefined)
      return {
        args: undefined,
        missing: DROPPED,
        executable: undefined,
        cgroup: this.#files.cgroup(pid),
        truncated: false,
        redacted: 0,
        readAt: now,
        references: 0,
      };
    // The whole is redacted before it is cut: half a secret's key would let the other half through.
    const { args, count } = this.#redactor.args(command.args);
    const joined = args.join('\0');
    const cut = this.#isTooMuch(joined);
    return {
      args: cut ? detached(joined.slice(0, SHORT_COMMAND)) : joined,
      missing: undefined,
      executable: this.#files.executable(pid),
      cgroup: this.#files.cgroup(pid),
      truncated: cut || command.truncated,
      redacted: count,
      readAt: now,
      references: 0,
    };
  }

  /** What an earlier run knew; the same bounds hold. */
  restore(record: StoredImage): Image {
    const joined = record.args?.join('\0');
    const cut = joined !== undefined && this.#isTooMuch(joined);
    return {
      args: cut ? detached(joined.slice(0, SHORT_COMMAND)) : joined,
      missing: joined === undefined ? DROPPED : undefined,
      executable: record.executable,
      cgroup: record.cgroup,
      truncated: cut || record.truncated,
      redacted: record.redacted,
      readAt: record.readAt,
      references: 0,
    };
  }

  #isTooMuch(command: string): boolean {
    return command.length > SHORT_COMMAND && this.#bytes + command.length > MAX_BYTES;
  }

  /** One more process has it. */
  retain(image: Image): Image {
    if (image.references++ === 0) this.#bytes += image.args?.length ?? 0;
    return image;
  }

  /** One process less has it. */
  release(image: Image): void {
    if (--image.references === 0) this.#bytes -= image.args?.length ?? 0;
  }
}
